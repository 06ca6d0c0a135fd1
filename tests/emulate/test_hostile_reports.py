"""Programs that write what they like where they report: the launcher ends with their status, and soon."""

import json
import os
import subprocess
import sys

import children
import preloading
import pytest
from preloading import LINES

from amx import foreign_file
from amx._lib import lib
from amx.emulation import report, trace, unrecorded
from amx.emulation.unrecorded import Unrecorded

needs_programs = pytest.mark.skipif(
    bool(lib.amx_is_stub()) or preloading.SANITIZED, reason="no library of this build can be preloaded"
)

AMX = [sys.executable, "-c", "import sys; from amx import cli; sys.exit(cli.main())", "emulate"]
GIGABYTES = 2**33

# ---- a report


@pytest.mark.parametrize(
    "line",
    [
        b'{"pid": "x"}',
        b'{"pid": 1e999}',
        b'{"pid": true}',
        b'{"pid": null}',
        b'{"pid": 1.5}',
        b'{"pid": -1}',
        b'{"pid": 1, "traps": 18446744073709551616}',
        b'{"pid": 1, "traps": ' + b"9" * 900 + b"}",
        b'{"pid": 1, "traps": ' + b"9" * 5000 + b"}",
        b'{"pid": 1, "traps": []}',
        b'{"pid": 1, "program": 7}',
        b'{"pid": ' + b"[" * 1010,
        b"[" * 100_000,
        b'{"pid": 1, "program": "' + b"x" * 2000 + b'"}',
        b"\xff\xfe{",
        b"null",
        b"NaN",
    ],
    ids=lambda line: line[:24].decode(errors="replace"),
)
def test_a_line_that_is_none_of_ours_is_left_out_and_said(line, tmp_path):
    (tmp_path / "report").write_bytes(LINES.encode() + line + b"\n")
    found, missing = report.read(str(tmp_path / "report"))
    assert [process.pid for process in found] == [12, 13]
    assert missing == Unrecorded(None, "1 line of the report is not as the emulation writes them")
    assert "Not counted: an unknown number of processes: 1 line" in report.table(found, missing)
    json.dumps(report.as_json(found, missing, cpu="spr", status=0), allow_nan=False)


def test_a_report_of_any_length_is_read_as_far_as_processes_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "PROCESSES", 2)
    path = tmp_path / "report"
    path.write_text(LINES)
    with path.open("r+b") as file:
        file.truncate(GIGABYTES)
    found, missing = report.read(str(path))
    assert [process.pid for process in found] == [12, 13]
    assert missing == Unrecorded(None, "the report has more than 2 lines")


@pytest.mark.parametrize(
    ("more", "missing"), [(0, Unrecorded()), (1, Unrecorded(None, "the report has more than 2 lines"))]
)
def test_a_report_as_long_as_can_be_is_no_longer_one(tmp_path, monkeypatch, more, missing):
    monkeypatch.setattr(report, "PROCESSES", 2)
    (tmp_path / "report").write_text(LINES.ljust(2 * report.LINE + more, "\n"))
    assert report.read(str(tmp_path / "report"))[1] == missing


def test_a_report_that_is_cut_short_when_it_is_open_is_no_longer_one(tmp_path, monkeypatch):
    """What is wrong with the lines that it has is said."""
    path = tmp_path / "report"
    path.write_text(f"{LINES}wrong\nmore\n")
    read = foreign_file.ForeignFile.read

    def cut(file, offset, size):
        os.truncate(path, len(LINES) + 6)
        return read(file, offset, size)

    monkeypatch.setattr(foreign_file.ForeignFile, "read", cut)
    _, missing = report.read(str(path))
    assert missing == Unrecorded(None, "1 line of the report is not as the emulation writes them")


def test_the_name_of_a_program_is_printed_as_text(tmp_path):
    line = {"pid": 1, "program": "/tmp/\x1b[2J\x9b\nx"}
    (tmp_path / "report").write_text(json.dumps(line))
    found, _ = report.read(str(tmp_path / "report"))
    assert report.table(found).splitlines()[1].endswith(r"  /tmp/\x1b[2J\x9b\nx")


# ---- the count of what was not recorded


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
        (lambda path: path.mkdir(), "it is no regular file"),
        (lambda path: (path.touch(), os.truncate(path, GIGABYTES)), "it has more than 4,096 bytes"),
    ],
    ids=["fifo", "zero", "directory", "sparse"],
)
def test_a_count_that_is_no_file_of_ours_is_unknown(tmp_path, make, reason):
    make(tmp_path / "unrecorded")
    unknown = Unrecorded(None, f"the file that counts them cannot be read: {reason}")
    assert unrecorded.read(tmp_path) == (unknown, unknown)


def test_an_errno_that_there_is_not_is_said_as_it_is(tmp_path):
    (tmp_path / "unrecorded").write_bytes(b"\xff" * 4096)
    traces, _ = unrecorded.read(tmp_path)
    assert (traces.processes, traces.reason) == (2**32 - 1, "Unknown error -1 (-1)")


# ---- a trace


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
        (lambda path: (path.touch(), os.truncate(path, GIGABYTES)), "it has more than 4,194,304 bytes"),
    ],
    ids=["fifo", "zero", "sparse"],
)
def test_a_trace_that_is_no_file_of_ours_is_named(tmp_path, make, reason):
    make(tmp_path / "1.trace")
    found = trace.read(tmp_path)
    assert (found.processes, len(found.unreadable)) == ((), 1)
    assert reason in found.unreadable[0]
    assert found.verdicts[0].startswith("Whether AMX was used is not known")


# ---- amx emulate


def emulate(tmp_path, program, *arguments, **environment):
    """All reports of a program that ends with 7; the standard error and the counts."""
    stats = tmp_path / "stats.json"
    done = children.run(
        [
            *AMX,
            "--stats",
            "--stats-file",
            stats,
            "--trace",
            tmp_path / "trace.json",
            "--",
            program,
            *arguments,
        ],
        env={**os.environ, "AMX_BACKEND": "", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr, json.loads(stats.read_text())


DIRECTORY = "d=${AMX_EMULATE_REPORT%/*}; cd /; "
DAMAGE = {
    "lines": (
        """printf '%s\\n' '{"pid":"x"}' '{"pid":1e999}' >> $d/report""",
        "2 lines of the report are not as the emulation writes them",
    ),
    "no end": ("ln -sf /dev/zero $d/report", "the report cannot be read: it is no regular file"),
    "fifo": (
        "mkfifo $d/1.trace; ln -f $d/1.trace $d/report; ln -f $d/1.trace $d/unrecorded",
        "the file that counts them cannot be read: it is no regular file; "
        "the report cannot be read: it is no regular file",
    ),
    "sparse": (
        "truncate -s 8G $d/unrecorded $d/1.trace",
        "the file that counts them cannot be read: it has more than 4,096 bytes",
    ),
    "link": (
        "trap 'rm -r $d.away' EXIT; mv $d $d.away; ln -s $d.away $d",
        "What was recorded in it was removed while the program ran",
    ),
    "file": ("rm -r $d; : > $d", "What was recorded in it was removed while the program ran"),
}


@needs_programs
@pytest.mark.parametrize(("commands", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_the_launcher_ends_with_the_status_of_a_program_that_damaged_its_reports(tmp_path, commands, reason):
    said, counts = emulate(tmp_path, "/bin/sh", "-c", f"{DIRECTORY}{commands}; exit 7")
    assert counts["exit_status"] == 7
    assert counts["unrecorded"] == {"processes": None, "reason": reason}
    assert reason in said


DEEP = """
import os, sys
os.chdir(os.path.dirname(os.environ["AMX_EMULATE_REPORT"]))
for _ in range(3000):
    os.mkdir("d"), os.chdir("d")
sys.exit(7)
"""


@needs_programs
def test_directories_too_deep_to_be_removed_do_not_change_the_status(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    try:
        _, counts = emulate(tmp_path, sys.executable, "-c", DEEP, TMPDIR=str(place))
        assert (counts["exit_status"], counts["unrecorded"]) == (7, None)
    finally:
        children.run(["rm", "-rf", place], check=True)
