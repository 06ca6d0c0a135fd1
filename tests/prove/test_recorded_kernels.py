"""The judges on what real kernels with AMX answered to `amx check --optional`: tests/data/kernels/."""

import json
from pathlib import Path

import pytest

from amx.conformance import verdict
from amx.conformance.check import Verdict
from amx.conformance.groups import checks
from amx.conformance.provoke import Run

CATALOGUE = {check.id: check for check in checks()}
KERNELS = sorted((Path(__file__).parents[1] / "data/kernels").glob("*.json"))
RECORDS = {path.stem: json.loads(path.read_text()) for path in KERNELS}
MADE = [
    pytest.param(record, id=f"{kernel}-{record['id']}")
    for kernel, found in RECORDS.items()
    for record in found["checks"]
    if record["ending"]
]
LIFE_04 = [record for found in RECORDS.values() for record in found["checks"] if record["id"] == "LIFE-04"]


def judged(record, *more):
    """The result of a recorded run, with more observations behind its own."""
    seen = tuple((key, value) for each in (*record["observations"], *more) for key, value in each.items())
    cannot = record["reason"] if record["ending"] == "exit 77" else ""
    run = Run(seen, record["ending"], complete=not cannot, cannot=cannot)
    return verdict.judge(CATALOGUE[record["id"]], run)


def test_three_kernels_are_recorded_in_whole():
    assert set(RECORDS) == {"linux-6.1-smp", "linux-6.12-up", "linux-7.2-up"}
    assert all(len(found["checks"]) == 85 for found in RECORDS.values())


@pytest.mark.parametrize("record", [each for each in MADE if each.values[0]["id"] != "LIFE-04"])
def test_real_kernels_are_judged_as_recorded(record):
    result = judged(record)
    assert (result.verdict.value, result.reason) == (record["verdict"], record["reason"])


# LIFE-04 was recorded with a thread of 16 KiB alone, which had 11,872 bytes left behind glibc's static TLS.
KERNELS_NUMBERS = {"minsigstksz": 11952, "xsave": 11008, "taken": 11640, "enough": 128 + 11952 + 1024}
EXACT = {
    "exact.stack": 17728,
    "exact.room": 13120,
    "exact.hung": 0,
    "exact.handled": 1,
    "exact.ending": {"exit": 0},
}
SMALL = {"small.stack": 16384, "small.room": 11872, "small.hung": 0}
KILLED = {"small.ending": {"signal": 11, "core": False}}
SURVIVED = {"small.handled": 1, "small.ending": {"exit": 0}}


@pytest.mark.parametrize("record", LIFE_04)
def test_that_libc_leaves_too_little_of_a_small_stack_is_no_fault_of_the_kernel(record):
    (ending,) = (each["ending"] for each in record["observations"] if "ending" in each)
    result = judged(record, KERNELS_NUMBERS, EXACT, SMALL, {"small.ending": ending})
    assert (ending["signal"], record["verdict"]) == (11, "FAIL")
    assert (result.verdict, result.reason) == (Verdict.PASS, "")
    assert any("libc has 11872 of 16384 bytes left" in note for note in result.notes)


@pytest.mark.parametrize(
    ("altered", "reason"),
    [
        ({"taken": 128 + 11952 + 1}, "bytes taken by the frame and the red zone"),
        ({"taken": 128 + 11008}, "bytes taken by the frame and the red zone"),
        ({"exact.ending": {"signal": 11, "core": False}}, "exact stack, 13120 of 17728 bytes left: the proc"),
        ({"exact.handled": 0}, "exact stack, 13120 of 17728 bytes left: the handler ran"),
        ({"exact.room": 13000}, "exact stack: bytes left"),
        ({"exact.hung": 1}, "exact stack: hung"),
        ({"small.room": 13200}, "small stack, 13200 of 16384 bytes left: the process's end"),
        ({"small.room": 11500, **SURVIVED}, "small stack, 11500 of 16384 bytes left: the signal"),
    ],
)
def test_what_is_the_kernels_doing_fails(altered, reason):
    """A frame of the wrong size, one that does not arrive where it fits, one that arrives where it cannot."""
    seen = KERNELS_NUMBERS | EXACT | SMALL | KILLED | altered
    record = {"id": "LIFE-04", "observations": [seen], "ending": "exit 0", "reason": ""}
    result = judged(record)
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith(reason)


def test_a_process_that_ends_before_the_signal_fails():
    seen = KERNELS_NUMBERS | {
        f"{stack}.{key}": value
        for stack in ("exact", "small")
        for key, value in (("stack", 16384), ("hung", 0), ("ending", {"signal": 9, "core": False}))
    }
    result = judged({"id": "LIFE-04", "observations": [seen], "ending": "exit 0", "reason": ""})
    assert result.verdict is Verdict.FAIL
    assert "exact stack: the process's end, before the signal" in result.reason
