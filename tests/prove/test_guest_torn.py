"""However a log is torn, no check passes that does not pass in the whole of it."""

import zlib

import guest_log
import pytest
from guest_log import framed, ran
from stand_in import check

from amx.conformance import check as check_module
from amx.conformance import groups
from amx.conformance.check import Verdict
from amx.conformance.guest import judging, log
from amx.conformance.guest.log import LogError

TIMES = 200
GOOD = (Verdict.PASS, Verdict.INFO)
IDS = [f"AA-{number:02}" for number in range(1, 21)]
LANDMARKS = {"begin", "start", "ended", "done"}
KERNEL = [
    b"[   12.345678] usb 1-1: new high-speed USB device number 2\r\n",
    b"\x1b[0m[   13.000001] random: crng init done\x00\r\n",
    b"[   14.5] WARNING: CPU: 0 PID: 9 at kernel/x.c:1 f+0x1/0x2\n",
    b"[   14.6] WARNING: CPU: 0 PID: 9 at ker",
    b"\xff\xfe\x9b{\"end\": true}\n",
    b"AMX1 7 00000000 {\"end\": true}\n",
    b'{"ended": {"id": "PERM-03", "how": "exit 0", "seconds": 0.1, "frames": 2}}\n',
]  # fmt: skip


def touchy(seen):
    """Half of all there can be seen passes: what a damage changes shows in every second case."""
    seen.equal("parity", zlib.crc32(repr((seen.observations, seen.ending)).encode()) & 1, 0)


@pytest.fixture(autouse=True)
def catalogue(monkeypatch):
    """Checks that notice everything in the place of all."""
    known = {id: check(id, touchy, information=id in IDS[::3]) for id in IDS}
    monkeypatch.setattr(groups, "load", lambda: None)
    monkeypatch.setattr(check_module, "_checks", known)


def things(*, bad):
    """A run with rows that pass and, if `bad`, rows that fail, by what they saw and by an oops."""
    runs = {}
    for at, id in enumerate(IDS):
        seen = [{"x": number * at} for number in range(at % 5)]
        for salt in range(1000):
            objects = [*seen, {"salt": salt}]
            observations = tuple(each for one in objects for each in one.items())
            parity = zlib.crc32(repr((observations, "exit 0")).encode()) & 1
            if parity == (bad and at % 2):
                break
        oops = [{"kernel": [1, "BUG: unable to handle page fault for address: ffffffffdeadbeef"]}]
        runs[id] = ran(id, [*objects, {"end": True}], extra=oops * (bad and at % 7 == 6), seconds=at / 10)
    return guest_log.whole(runs)


def judged(*texts):
    """The verdicts and the exit status; none of a log with nothing in it."""
    try:
        found = log.read(texts)
    except LogError:
        return {}, 1
    place = judging.environment(found, source="a.log")
    selection = judging.chosen(found, [])
    results = judging.LogRunner(found, place, asked=selection.asked).run(selection.checks)
    report = judging.report(found, place, selection, results, "")
    return {result.check.id: result.verdict for result in report.results}, report.exit_status


def whole():
    verdicts, _ = judged(framed(things(bad=True)))
    assert sum(verdict in GOOD for verdict in verdicts.values()) == 9
    assert sum(verdict is Verdict.FAIL for verdict in verdicts.values()) == 11
    return verdicts


def holds(verdicts, of_whole):
    """What passes in the torn log passes in the whole one; how many those are."""
    for id, verdict in verdicts.items():
        assert verdict not in GOOD or of_whole[id] is verdict, id
    return sum(verdict in GOOD for verdict in verdicts.values())


def cut(text, rng):
    begin, end = sorted(rng.integers(0, len(text), 2))
    return text[: rng.integers(0, len(text))] if rng.random() < 0.5 else text[begin:end]


def interleave(text, rng):
    for _ in range(rng.integers(1, 9)):
        at = rng.integers(0, len(text))
        text = text[:at] + KERNEL[rng.integers(0, len(KERNEL))] + text[at:]
    return text


def lose(text, rng):
    changed = bytearray(text)
    for _ in range(rng.integers(1, 9)):
        at = int(rng.integers(0, len(changed)))
        size = int(rng.integers(1, 2 ** int(rng.integers(1, 12))))
        match int(rng.integers(0, 5)):
            case 0:
                changed[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = changed[at : at + size]
            case 3:
                changed[at : at + size] = bytes(size)
            case _:
                other = int(rng.integers(0, len(changed)))
                changed[at:at] = changed[other : other + size]
    return bytes(changed)


def lose_lines(text, rng):
    lines = text.splitlines(keepends=True)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(0, len(lines)))
        other = int(rng.integers(0, len(lines)))
        match int(rng.integers(0, 3)):
            case 0:
                del lines[at : at + int(rng.integers(1, 4))]
            case 1:
                lines.insert(at, lines[other])
            case _:
                lines[at], lines[other] = lines[other], lines[at]
    return b"".join(lines)


@pytest.mark.parametrize("harm", [cut, interleave, lose, lose_lines])
def test_a_torn_log_gives_no_pass_that_the_whole_does_not_give(harm, rng):
    text, of_whole = framed(things(bad=True)), whole()
    assert sum(holds(judged(harm(text, rng))[0], of_whole) for _ in range(TIMES)) > TIMES


@pytest.mark.parametrize("harm", [cut, interleave, lose, lose_lines])
def test_nor_do_two_torn_files_of_one_run(harm, rng):
    every, of_whole = things(bad=True), whole()
    console = b"".join(
        guest_log.frame(number, each) for number, each in enumerate(every) if {*each} & LANDMARKS
    )
    for _ in range(TIMES):
        holds(judged(harm(console, rng), harm(framed(every), rng))[0], of_whole)


def test_what_a_sound_run_has_lost_is_never_silent(rng):
    """Not even between the checks: the status is 1."""
    text = framed(things(bad=False))
    assert judged(text) == ({id: GOOD[id in IDS[::3]] for id in IDS}, 0)
    lines = text.splitlines(keepends=True)
    for _ in range(TIMES):
        assert judged(text[: rng.integers(0, len(text) - 2)])[1] == 1
        at = int(rng.integers(0, len(lines)))
        assert judged(b"".join(lines[:at] + lines[at + 1 :]))[1] == 1


def test_a_cut_log_of_lines_gives_no_such_pass_either(rng):
    """Lines have no checksum, so that only what is lost at the end can be told for certain."""
    text, of_whole = guest_log.unframed(things(bad=True)), whole()
    for _ in range(TIMES):
        holds(judged(text[: rng.integers(0, len(text))])[0], of_whole)
