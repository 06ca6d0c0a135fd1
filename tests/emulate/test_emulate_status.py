"""`amx emulate` ends with the program's status, whatever becomes of the reports."""

import json
import os
import signal
import subprocess
import sys
import time

import children
import preloading
import pytest

from amx import cli, lifetime
from amx._lib import lib
from amx.emulation import traced
from amx.emulation.counts import Counts
from amx.emulation.unrecorded import Unrecorded

pytestmark = [
    pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer"),
    pytest.mark.skipif(preloading.SANITIZED, reason="a sanitizer's runtime must be the first library"),
]

AMX = [sys.executable, "-c", "import sys; from amx import cli; sys.exit(cli.main())", "emulate"]


def amx(*words, way=(), **options):
    """Run it; the output is text."""
    done = children.run(
        [*AMX, *way, *map(str, words)],
        env={**os.environ, "AMX_BACKEND": ""},
        stdin=subprocess.DEVNULL,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        text=True,
        timeout=60,
    )
    if "could not be traced" in (done.stderr or ""):
        pytest.skip(done.stderr)
    return done


@pytest.fixture(params=[(), ("--ptrace",)], ids=["preloaded", "traced"])
def way(request):
    return request.param


def could_not(done, file, reason):
    """Whether both reports were said not to be written."""
    said = done.stderr.splitlines()
    return all(
        f"amx emulate: {option} {file} could not be written: {reason}" in said
        for option in ("--stats-file", "--trace")
    )


@pytest.mark.parametrize(("ending", "status"), [("exit 7", 7), ("kill -KILL $$", 137), ("exit 0", 0)])
def test_a_full_disk_is_said(way, ending, status):
    full = "/dev/full"
    done = amx("--stats-file", full, "--trace", full, "--", "/bin/sh", "-c", ending, way=way)
    assert done.returncode == status
    assert could_not(done, full, "No space left on device"), done.stderr


def test_one_report_that_cannot_be_written_does_not_drop_the_others(way, tmp_path):
    trace, full = tmp_path / "trace.json", "/dev/full"
    done = amx("--stats", "--stats-file", full, "--trace", trace, "--", "/bin/sh", "-c", "exit 7", way=way)
    assert done.returncode == 7
    assert f"amx emulate: --stats-file {full} could not be written: No space left on device" in done.stderr
    assert json.loads(trace.read_text())["schema"] == 1
    assert "unpatchable" in done.stderr  # the heading of --stats


@pytest.mark.parametrize(
    ("becomes", "reason"),
    [
        ('rmdir "$0"', "No such file or directory"),
        ('mkdir "$0/file"', "Is a directory"),
        ('rmdir "$0"; : > "$0"', "Not a directory"),
    ],
)
def test_a_place_that_vanishes_meanwhile_is_said(way, tmp_path, becomes, reason):
    place = tmp_path / "place"
    place.mkdir()
    file = place / "file"
    script = f"{becomes}; exit 7"
    done = amx("--stats-file", file, "--trace", file, "--", "/bin/sh", "-c", script, place, way=way)
    assert done.returncode == 7
    assert could_not(done, file, reason), done.stderr


def test_records_that_vanish_meanwhile_are_said(tmp_path):
    stats = tmp_path / "stats.json"
    script = 'rm -r "${AMX_EMULATE_REPORT%/*}"; exit 7'
    done = amx("--stats-file", stats, "--trace", tmp_path / "trace.json", "--", "/bin/sh", "-c", script)
    assert done.returncode == 7
    assert "amx emulate: the trace could not be read: There is no directory" in done.stderr
    assert json.loads(stats.read_text())["unrecorded"]["processes"] is None


def test_a_place_that_may_not_be_written_is_refused_before_anything_runs(tmp_path):
    """As the kernel says; root may write everywhere but on what is mounted to be only read."""
    code = "import os; may = os.access; os.access = lambda p, m, **k: not m & os.W_OK and may(p, m, **k)\n"
    done = children.run_python(
        "-c", code + AMX[2], "emulate", "--trace", tmp_path / "file", "--", "/bin/sh", "-c", "echo it ran",
        AMX_TEST_LANE="",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--trace {tmp_path / 'file'}: it may not be written" in done.stderr


def test_a_reader_gets_the_counts_through_a_fifo(way, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with children.start(["cat", fifo], stdout=subprocess.PIPE) as reader:
        done = amx("--stats-file", fifo, "--", "/bin/sh", "-c", "exit 7", way=way)
        assert done.returncode == 7
        assert json.loads(reader.stdout.read())["exit_status"] == 7


def test_a_reader_that_goes_away_changes_nothing(tmp_path):
    """It has the fifo open for a moment only."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with children.start(["/bin/sh", "-c", ': < "$0"', fifo]):
        done = amx("--stats-file", fifo, "--", "/bin/sh", "-c", "exit 7")
    assert done.returncode == 7


@pytest.mark.parametrize("stream", ["full", "broken"])
def test_standard_error_that_takes_nothing_changes_nothing(way, tmp_path, stream):
    stats = tmp_path / "stats.json"
    if stream == "full":
        stderr = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, stderr = os.pipe()
        os.close(reader)
    done = amx("--stats", "--stats-file", stats, "--", "/bin/sh", "-c", "exit 7", way=way, stderr=stderr)
    os.close(stderr)
    assert done.returncode == 7
    assert json.loads(stats.read_text())["exit_status"] == 7


def test_a_tracer_that_fails_has_killed_the_program(monkeypatch, tmp_path, capfd):
    """125 would say that nothing ran."""
    stats = tmp_path / "stats.json"
    ended = traced.Ended(137, Counts(instructions=5), Unrecorded(), "Input/output error")
    monkeypatch.setattr(traced, "run", lambda *_, **__: ended)
    assert cli.main(["emulate", "--ptrace", "--stats-file", str(stats), "--", "/bin/sh"]) == 137
    said = "amx emulate: the tracer failed, and killed /bin/sh: Input/output error\n"
    assert capfd.readouterr().err == said
    assert json.loads(stats.read_text())["total"]["instructions"] == 5


def test_an_interrupt_ends_the_waiting_for_a_reader(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    tie = lifetime.tied()

    def begin():
        tie()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever ignores it

    command = [*AMX, "--stats-file", fifo, "--", "/bin/sh", "-c", "echo $$; exit 7"]
    with children.start(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=begin,
    ) as launcher:
        try:
            wait_until_it_sleeps(launcher.pid, without=int(launcher.stdout.readline()))
            launcher.send_signal(signal.SIGINT)
            _, said = launcher.communicate(timeout=60)
        finally:
            launcher.kill()
    assert children.how_it_ended(launcher) == 7
    assert said == f"amx emulate: --stats-file {fifo} could not be written: interrupted\n"


def wait_until_it_sleeps(pid, without):
    """In one call that does not return, after the process `without` was reaped."""
    slept = 0
    end = time.monotonic() + 60
    while slept < 20 and time.monotonic() < end:
        time.sleep(0.01)
        with open(f"/proc/{pid}/stat") as stat:
            sleeps = stat.read().rpartition(")")[2].split()[0] == "S"
        slept = slept + 1 if sleeps and not os.path.exists(f"/proc/{without}") else 0
    assert slept == 20
