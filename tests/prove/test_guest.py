"""amx-provoke makes whole runs by itself: what hangs, dies or babbles is told as that."""

import json
import os
import re
import struct
import subprocess
import sys
import zlib

import children
import pytest
from compiling import BASELINE, PROVOKE, ROOT, compile_c, objects

import amx
from amx.conformance import provoke

try:
    PROGRAM = provoke.program()
except FileNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)

STATIC = os.path.join(os.path.dirname(PROGRAM), "amx-provoke-static")
FACTS = {"cpuid", "xcr0", "xinuse", "arch_prctl", "child", "auxv", "sysconf", "altstack"}
FACTS |= {"cpuinfo_flags", "kernel"}
FRAME = re.compile(rb"AMX1 ([0-9]+) ([0-9a-f]{8}) (\{.*\})")
PT_LOAD, PT_INTERP = 1, 3  # elf.h
LARGEST = 16384  # bytes of an object


def run(*arguments, program=PROGRAM, **more):
    """Bytes come back."""
    more = {"stdout": subprocess.PIPE, **more}
    return children.run([program, *arguments], stderr=subprocess.PIPE, timeout=120, **more)


def planned(directory, text):
    plan = directory / "plan"
    plan.write_text(text)
    return ["--plan", plan]


def framed(output):
    """The objects, of lines that are nothing but frames; each is what its number and checksum say."""
    found = []
    for number, line in enumerate(output.splitlines()):
        sequence, crc, text = FRAME.fullmatch(line).groups()
        assert int(sequence) == number
        assert int(crc, 16) == zlib.crc32(sequence + b" " + text)
        assert len(text) <= LARGEST
        found.append(json.loads(text.decode("ascii")))
    assert all(len(each) == 1 for each in found)
    return found


def of_key(key, objects_said):
    return [each[key] for each in objects_said if key in each]


def between(objects_said, id):
    """What was said of one provocation, without its start and its end."""
    first = objects_said.index({"start": id})
    (last,) = (i for i, each in enumerate(objects_said) if each.get("ended", {}).get("id") == id)
    assert objects_said[last]["ended"]["frames"] == last - first + 1
    return objects_said[first + 1 : last], objects_said[last]["ended"]["how"]


def test_a_run_says_what_it_is_the_machine_the_place_and_each_provocation(tmp_path):
    done = run("all", "--frames", "--model", *planned(tmp_path, "PERM-02 60\nDISC-01 60.5\n"))
    said = framed(done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
    begin = {
        "format": 1,
        "version": amx.__version__,
        "plan": ["PERM-02", "DISC-01"],
        "fault": "",
        "model": True,
    }
    assert said[0] == {"begin": begin}
    keys = [key for each in said for key in each]
    last_fact = len(keys) - 1 - keys[::-1].index("machine")
    assert set(keys[1 : last_fact + 1]) == {"machine"}
    assert keys[last_fact + 1 : last_fact + 3] == ["place", "start"]
    assert of_key("start", said) == ["PERM-02", "DISC-01"]
    assert said[-1] == {"done": {"runs": 2}}


def test_the_version_is_the_packages(tmp_path):
    from amx.version import __version__

    done = run("all", "--model", *planned(tmp_path, "DISC-01 60"))
    assert json.loads(done.stdout.splitlines()[0])["begin"]["version"] == __version__


def test_what_is_seen_is_what_a_run_by_itself_sees(tmp_path):
    alone = [json.loads(line) for line in run("run", "INH-01", "--model").stdout.splitlines()]
    said = framed(run("all", "--frames", "--model", *planned(tmp_path, "INH-01 60")).stdout)
    seen, how = between(said, "INH-01")
    assert how == "exit 0"
    assert alone == [{"start": "INH-01"}, *of_key("seen", seen)]


def test_without_frames_what_is_seen_comes_as_it_is(tmp_path):
    alone = run("run", "DISC-01", "--model").stdout.splitlines()
    done = run("all", "--model", *planned(tmp_path, "DISC-01 60")).stdout.splitlines()
    first = done.index(alone[0])
    assert done[first : first + len(alone)] == alone
    assert json.loads(done[first + len(alone)])["ended"]["how"] == "exit 0"


def test_a_fault_reaches_every_provocation(tmp_path):
    known = [json.loads(line)["fault"] for line in run("faults").stdout.splitlines()]
    fault = known[0]
    options = ["--model", "--fault", fault]
    alone = [json.loads(line) for line in run("run", "PERM-02", *options).stdout.splitlines()]
    said = framed(run("all", "--frames", *options, *planned(tmp_path, "PERM-02 60")).stdout)
    assert said[0]["begin"]["fault"] == fault
    assert of_key("seen", between(said, "PERM-02")[0]) == alone[1:]


def test_without_a_plan_all_are_made_but_the_one_that_takes_a_cpu_away():
    listed = [json.loads(line)["id"] for line in run("list").stdout.splitlines()]
    said = framed(run("all", "--frames", "--model").stdout)
    assert of_key("start", said) == [id for id in listed if id != "LIFE-03"]
    assert said[-1] == {"done": {"runs": len(listed) - 1}}
    assert {each["how"] for each in of_key("ended", said)} <= {"exit 0", "exit 77"}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("NONE-01 5", "line 1 of .*plan: no provocation NONE-01; `amx-provoke list` names them"),
        ("DISC-01 5\n\nDISC-02", "line 3 of .*plan: what follows DISC-02 is no time limit"),
        ("DISC-01 0", "what follows DISC-01 is no time limit"),
        ("DISC-01 -1", "what follows DISC-01 is no time limit"),
        ("DISC-01 nan", "what follows DISC-01 is no time limit"),
        ("DISC-01 0x5", "what follows DISC-01 is no time limit"),
        ("DISC-01 86401", "what follows DISC-01 is no time limit"),
        ("DISC-01 5 6", "what follows DISC-01 is no time limit"),
        ("DISC-01 5\nDISC-01 5", "line 2 of .*plan: DISC-01 stands there twice"),
        ("", "plan is empty"),
        ("DISC-01 5\n" + " " * 20000, "plan is larger than"),
    ],
)
def test_a_plan_that_is_none_is_refused_with_its_line(tmp_path, plan, words):
    done = run("all", "--frames", *planned(tmp_path, plan))
    assert (done.returncode, done.stdout) == (2, b"")
    assert re.fullmatch(f"amx-provoke: .*{words}.*\n", done.stderr.decode())


def test_a_plan_that_cannot_be_read_is_refused(tmp_path):
    done = run("all", "--plan", tmp_path / "none")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"cannot be read: No such file or directory" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["all", "--plan"], ["all", "x"], ["record", "x"], ["all", "--fault", "x"]]
)
def test_wrong_usage_is_2(arguments):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"amx-provoke" in done.stderr


@pytest.mark.parametrize("arguments", [["record"], ["all", "--model"]])
def test_output_that_cannot_be_written_is_no_success(arguments):
    with open("/dev/full", "w") as full:
        assert run(*arguments, stdout=full).returncode == 70


# The record.


def recorded(program):
    facts = {}
    for line in run("record", program=program).stdout.splitlines():
        for name, value in json.loads(line).get("machine", {}).items():
            facts[name] = {**facts[name], **value} if isinstance(facts.get(name), dict) else value
    return facts


@pytest.mark.parametrize("program", [PROGRAM, STATIC])
def test_the_machine_is_the_one_that_python_records(program):
    """But for XINUSE, which is of the process: what its registers hold at the moment."""
    if not os.path.exists(program):
        pytest.skip("the toolchain does not link statically")
    done = children.run(
        [sys.executable, "-m", "amx", "info", "--record", "-"], capture_output=True, check=True
    )
    expected = {name: value for name, value in json.loads(done.stdout).items() if name in FACTS}
    facts = recorded(program)
    assert facts.keys() == expected.keys() == FACTS
    for name in FACTS - {"xinuse"}:
        assert facts[name] == expected[name], name
    if expected["xinuse"] is None:
        assert facts["xinuse"] is None
    else:
        assert int(facts["xinuse"], 16) & ~int(facts["xcr0"], 16) == 0


def test_a_record_can_be_replayed(tmp_path):
    from amx import recording

    facts = {"schema": 1, "kind": "recorded", "title": "t", "source": "s", **recorded(PROGRAM)}
    (tmp_path / "machine").write_text(json.dumps(facts))
    assert recording.load(tmp_path / "machine").kernel().release == os.uname().release


def test_the_place_is_this_one():
    (place,) = of_key("place", [json.loads(line) for line in run("record").stdout.splitlines()])
    assert list(place) == ["uid", "seccomp", "yama", "core_pattern", "core_limit", "kvm", "cmdline"]
    assert place["uid"] == os.geteuid()
    assert place["kvm"] == (
        "usable" if os.access("/dev/kvm", os.R_OK | os.W_OK)
        else "denied" if os.path.exists("/dev/kvm") else "absent"
    )  # fmt: skip


def test_the_static_program_needs_no_other_file():
    if not os.path.exists(STATIC):
        pytest.skip("the toolchain does not link statically")
    with open(STATIC, "rb") as file:
        content = file.read()
    first, size, count = struct.unpack_from("<32xQ14xHH", content)  # e_phoff, e_phentsize, e_phnum
    kinds = {struct.unpack_from("<I", content, first + i * size)[0] for i in range(count)}
    assert PT_LOAD in kinds
    assert PT_INTERP not in kinds
    assert run("list", program=STATIC).stdout == run("list").stdout


# What a kernel may make of a provocation.


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """The program with provocations of the tests' own."""
    sources = [
        ROOT / "tests/c/guest_provocations.c",
        *(each for each in PROVOKE if each.name != "groups.c"),
    ]
    return compile_c(tmp_path_factory.mktemp("guest") / "amx-provoke", objects(sources, *BASELINE))


def test_what_hangs_or_dies_is_told_and_the_others_follow(others, tmp_path):
    plan = planned(tmp_path, "HANG-01 0.2\nCRASH-01 60\nERR-01 60\n")
    done = run("all", "--frames", *plan, program=others)
    said = framed(done.stdout)
    assert done.returncode == 0
    assert between(said, "HANG-01") == ([{"seen": {"before": 1}}], "hung")
    assert between(said, "CRASH-01") == ([], "SIGILL")
    seen, how = between(said, "ERR-01")
    assert how == "exit 0"
    assert seen == [
        {"seen": {"written": 1}}, {"seen": {"end": True}}, {"errors": ("wrong " * 10000)[:4096].strip()},
    ]  # fmt: skip


def test_lines_that_are_no_objects_are_text(others, tmp_path):
    said = framed(run("all", "--frames", *planned(tmp_path, "BABBLE-01 60"), program=others).stdout)
    seen, how = between(said, "BABBLE-01")
    assert how == "exit 0"
    assert seen[:6] == [
        {"text": "no object"},
        {"text": '{"a": 1, "b": 2}'},
        {"text": '{"torn": [1, '},
        {"seen": {"name": "é\N{GRINNING FACE}"}},
        {"text": "bad \ufffd\ufffd \ufffd\ufffd\ufffd"},
        {"text": ""},
    ]
    assert [set(each["text"]) for each in seen[6:-1]] == [{"x"}] * 3 + [{"\ufffd"}]
    assert sum(each["text"].count("x") for each in seen[6:]) == 8999
    assert seen[-1] == {"text": "unfinished"}


def test_what_never_ends_to_speak_is_not_listened_to_for_ever(others, tmp_path):
    said = framed(run("all", "--frames", *planned(tmp_path, "FLOOD-01 1"), program=others).stdout)
    seen, how = between(said, "FLOOD-01")
    assert how == "hung"
    assert seen[0] == {"seen": {"x": 1}}
    assert len(seen) <= 65536 + 4096  # and what was read at once


def test_what_a_provocation_leaves_is_removed(others, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    environment = {**os.environ, "AMX_PROVOKE_TMPDIR": str(place)}
    plan = planned(tmp_path, "LEAVE-01 60")
    said = framed(run("all", "--frames", *plan, program=others, env=environment).stdout)
    seen = {key: value for each in of_key("seen", said) for key, value in each.items()}
    assert seen["directory"] == seen["here"]
    assert os.path.dirname(seen["here"]) == str(place)
    assert (seen["session"], seen["input"]) == (1, 1)
    assert list(place.iterdir()) == []
    assert children.gone(seen["child"])


def test_a_run_without_a_place_for_files_goes_on(others, tmp_path):
    environment = {**os.environ, "AMX_PROVOKE_TMPDIR": str(tmp_path / "none")}
    said = framed(
        run("all", "--frames", *planned(tmp_path, "CRASH-01 60"), program=others, env=environment).stdout
    )
    assert between(said, "CRASH-01") == ([], "SIGILL")


def test_who_is_told_to_end_ends_by_it_and_leaves_nothing(others, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    child = children.start(
        [others, "all", *planned(tmp_path, "HANG-01 600")],
        stdout=subprocess.PIPE,
        env={**os.environ, "AMX_PROVOKE_TMPDIR": str(place)},
    )
    for line in child.stdout:
        if json.loads(line) == {"before": 1}:
            break
    below = children.descendants(child.pid)
    child.terminate()
    assert child.wait() == -15
    child.stdout.close()
    assert list(place.iterdir()) == []
    assert all(children.gone(pid) for pid in below)
