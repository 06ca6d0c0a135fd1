"""Every command with standard streams and surroundings that are not as usual; coreutils are the model."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios

import children
import numpy as np
import pytest
from preloading import SANITIZED

from amx._lib import lib
from amx.cli import COMMANDS

preloaded = pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime must be the first library")

AMX = [sys.executable, "-c", "import sys; from amx import cli; sys.exit(cli.main())"]
STUB = bool(lib.amx_is_stub())
BENCH = ["bench", "--quick", "--peers=none", "8x8x8:int8"]
# What is written to the standard output, form by form; the status where all is well.
OUTPUTS = [
    (["--help"], {0}),
    (["--version"], {0}),
    *(([name, "--help"], {0}) for name in COMMANDS),
    (["info"], {0}),
    (["info", "--json"], {0}),
    (["info", "--record=-"], {0}),
    (["info", "--nfd"], {0}),
    (["explain", "--no-probe"], {0, 1}),
    (["explain", "--json"], {0, 1}),
    (["explain", "--issue"], {0, 1}),
    (["matmul", "a.npy", "b.npy", "-o", "c.npy"], {0}),
    (["matmul", "a.npy", "b.npy", "-o", "c.npy", "--json"], {0}),
    (["matmul", "a.npy", "b.npy", "-o", "-"], {0}),
    (["check", "--list"], {0}),
    (["check", "DISC-01"], {0, 1, 77}),
    *(
        ([("check"), "DISC-01", f"--{report}=-"], {0, 1, 77})
        for report in ("json", "ktap", "html", "markdown")
    ),
    (["emulate", "--probe"], {0, 1}),
    (["emulate", "--probe", "--json"], {0, 1}),
    (["ci", "--", "true"], {0, 125}),
    (BENCH, {0}),
    (["demo"], {0}),
]
# The same text each time, to be compared.
STEADY = [
    ["--help"],
    ["bench", "--help"],
    ["info"],
    ["explain", "--no-probe"],
    ["check", "--list"],
    ["emulate", "--probe"],
]
WRONG_USAGE = [
    ["no-such-command"],
    ["info", "--no-such-option"],
    ["explain", "surplus"],
    ["matmul", "a.npy", "no.npy", "-o", "c.npy"],
    ["matmul", "-", "-", "-o", "c.npy"],
    ["check", "ZZ"],
    ["check", "--compare", "one.json"],
    ["emulate"],
    ["emulate", "--stats-file=-", "--trace=-", "--", "true"],
    ["ci", "--trace=/no/such/directory/x", "--", "true"],
    ["bench", "cube"],
    ["bench", "--plot", "/no/such/directory/x.png"],
]
pytestmark = pytest.mark.skipif(STUB, reason="this build has no machine layer: commands tell of little else")


def ids(rows):
    return [" ".join(row[0] if isinstance(row, tuple) else row) for row in rows]


@pytest.fixture
def place(tmp_path):
    """A directory with operands."""
    np.save(tmp_path / "a.npy", np.ones((3, 5), np.int8))
    np.save(tmp_path / "b.npy", np.ones((5, 4), np.int8))
    return tmp_path


def amx(words, place, prefix=(), **more):
    """Run a command in a directory: standard streams are `more`'s, else a pipe each."""
    environment = {**os.environ, "AMX_BACKEND": "emulated", **more.pop("environment", {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return children.run([*prefix, *AMX, *words], cwd=place, env=environment, timeout=120, **streams)


def closing(*descriptors):
    """A command's beginning that closes standard streams as a shell does: `>&-`."""
    return ["/bin/sh", "-c", 'exec "$@" ' + " ".join(f"{each}>&-" for each in descriptors), "sh"]


# ---- the standard output -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "_"), OUTPUTS, ids=ids(OUTPUTS))
def test_what_cannot_be_written_is_one_line_and_status_2(place, words, _):
    """On a full device and on a closed stream, where no other file comes to stand in its place."""
    with open("/dev/full", "wb") as full:
        done = amx(words, place, stdout=full)
    closed = amx(words, place, closing(1))
    for result, reason in ((done, b"No space left on device"), (closed, b"Bad file descriptor")):
        assert result.returncode == 2, result
        assert result.stderr.splitlines()[-1].endswith(b": write error: " + reason), result
        assert b"Traceback" not in result.stderr
    if "--json=-" not in words and not {"-", "--ktap=-", "--html=-", "--markdown=-"} & set(words):
        assert len(closed.stderr.splitlines()) == len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("words", "_"), OUTPUTS, ids=ids(OUTPUTS))
def test_a_reader_that_has_seen_enough_ends_a_command_as_it_ends_others(place, words, _):
    """By SIGPIPE, without a word: `amx explain | head -1` is neither a verdict nor an error."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = amx(words, place, stdout=writing)
    finally:
        os.close(writing)
    assert done.returncode == -signal.SIGPIPE, done
    assert b"Traceback" not in done.stderr
    assert b"rror" not in done.stderr


def test_output_without_a_buffer_is_lost_as_little(place):
    with open("/dev/full", "wb") as full:
        done = amx(["explain", "--json"], place, stdout=full, environment={"PYTHONUNBUFFERED": "1"})
    assert (done.returncode, done.stderr) == (2, b"amx explain: write error: No space left on device\n")


def test_a_pipe_that_does_not_wait_loses_nothing_silently(place):
    """What does not fit into it is an error."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    try:
        done = amx(["check", "--list"], place, stdout=writing)
    finally:
        os.close(writing)
        os.close(reading)
    assert done.returncode == 2
    assert done.stderr.startswith(b"amx check: write error: ")


# ---- the standard error and input --------------------------------------------------------------------------


@pytest.mark.parametrize("words", WRONG_USAGE, ids=ids(WRONG_USAGE))
def test_wrong_usage_is_status_2_whatever_the_standard_error_is(place, words):
    """And what is meant for it never comes to the standard output, nor into a file."""
    usual = amx(words, place)
    with open("/dev/full", "wb") as full:
        results = [usual, amx(words, place, stderr=full), amx(words, place, closing(2))]
    assert [(result.returncode, result.stdout) for result in results] == [(2, b"")] * 3
    assert usual.stderr
    assert sorted(path.name for path in place.iterdir()) == ["a.npy", "b.npy"]


def test_a_report_that_nobody_was_told_of_is_no_success(place):
    """The output is whole then."""
    words = ["matmul", "a.npy", "b.npy", "-o", "-"]
    with open("/dev/full", "wb") as full:
        results = [amx(words, place, closing(2)), amx(words, place, stderr=full)]
    for done in results:
        assert done.returncode == 2
        assert done.stdout.startswith(b"\x93NUMPY")


@preloaded
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_a_program_that_is_emulated_finds_closed_what_was_closed(place, closed):
    program = (
        "import os, sys\n"
        "def is_open(number):\n"
        "    try: os.fstat(number)\n"
        "    except OSError: return False\n"
        "    return True\n"
        "closed = str([n for n in range(3) if not is_open(n)])\n"
        "open(sys.argv[1], 'w').write(closed)\n"
    )
    seen = place / "seen"
    words = ["emulate", "--", sys.executable, "-c", program, str(seen)]
    done = amx(words, place, closing(*closed))
    assert done.returncode == 0, done
    assert seen.read_text() == str(list(closed))


@preloaded
def test_the_status_of_a_program_stays_its_own_without_a_standard_error(place):
    done = amx(["emulate", "--stats", "--", "/bin/sh", "-c", "exit 0"], place, closing(2))
    assert done.returncode == 0


@pytest.mark.parametrize("option", ["--stats-file=-", "--trace=-"])
@pytest.mark.parametrize("way", [pytest.param([], marks=preloaded), ["--ptrace"]], ids=["preload", "ptrace"])
def test_reports_of_an_emulated_program_can_go_to_the_standard_output(place, option, way):
    """After what the program wrote; where that fails, the status is still the program's."""
    words = ["emulate", *way, option, "--", "/bin/sh", "-c", "echo first; exit 3"]
    done = amx(words, place)
    first, report = done.stdout.split(b"\n", 1)
    assert (done.returncode, first) == (3, b"first")
    assert json.loads(report)["schema"] >= 1
    words[-1] = "exit 3"
    with open("/dev/full", "wb") as full:
        done = amx(words, place, stdout=full)
    assert done.returncode == 3
    assert done.stderr.count(b"No space left on device") == 1


@pytest.mark.parametrize("how", ["pipe", "file"])
def test_operands_come_from_the_standard_input_and_the_product_goes_to_the_standard_output(place, how):
    a = (place / "a.npy").read_bytes()
    for words in (
        ["matmul", "-", "b.npy", "-o", "-"],
        ["matmul", "/dev/stdin", "b.npy", "-o", "/dev/stdout"],
    ):
        if how == "pipe":
            done = amx(words, place, input=a)
        else:
            with (place / "a.npy").open("rb") as file:
                done = amx(words, place, stdin=file)
        assert done.returncode == 0, done
        (place / "c.npy").write_bytes(done.stdout[: 128 + 48])
        np.testing.assert_array_equal(np.load(place / "c.npy"), np.full((3, 4), 5, np.int32))
        assert b"GOP/s" in (done.stderr if "-" in words else done.stdout)


def test_a_closed_standard_input_is_an_error_where_it_is_read(place):
    done = amx(["matmul", "-", "b.npy", "-o", "c.npy"], place, ["/bin/sh", "-c", 'exec "$@" <&-', "sh"])
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"amx matmul: cannot read the standard input: Bad file descriptor\n"


# ---- surroundings ------------------------------------------------------------------------------------------

NARROW = {"COLUMNS": "20", "LINES": "0", "TERM": "", "HOME": "/no/such/directory"}
ENCODINGS = {
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
    "ascii": {"PYTHONIOENCODING": "ascii", "PYTHONOPTIMIZE": "2", "PYTHONSAFEPATH": "1", **NARROW},
    "latin-1": {"PYTHONIOENCODING": "latin-1:strict", **NARROW, "COLUMNS": "0"},
    "utf-8": {"PYTHONIOENCODING": "utf-8:strict", **NARROW, "NO_COLOR": "1"},
}


@pytest.mark.parametrize("words", STEADY, ids=ids(STEADY))
def test_the_text_is_the_same_in_any_surroundings(place, words):
    """Apart from blanks, and from characters that an encoding lacks, which are escaped."""
    usual = amx(words, place)
    for name, environment in ENCODINGS.items():
        done = amx(words, place, environment=environment)
        assert (done.returncode, done.stderr) == (usual.returncode, b""), name
        encoding = "ascii" if name == "the C locale" else name
        want = usual.stdout.decode().encode(encoding, "backslashreplace").decode(encoding)
        assert "".join(done.stdout.decode(encoding).split()) == "".join(want.split()), name


def test_a_benchmark_can_be_printed_in_ascii(place):
    """Its times are in microseconds, which have a letter that ASCII lacks."""
    done = amx(BENCH, place, environment=ENCODINGS["ascii"])
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"GOP/s" in done.stdout


def nowhere(place):
    """A command's beginning in a working directory that is no more."""
    (place / "gone").mkdir(exist_ok=True)
    return ["/bin/sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh"]


NAMES_NO_FILE = [
    ["--help"],
    ["explain", "--no-probe"],
    ["check", "DISC-01"],
    ["emulate", "--probe"],
    ["bench", "cube"],
]


@pytest.mark.parametrize("words", NAMES_NO_FILE, ids=ids(NAMES_NO_FILE))
def test_a_working_directory_that_is_no_more_changes_nothing(place, words):
    usual, done = amx(words, place), amx(words, place, nowhere(place))
    without_time = [re.sub(rb"in [\d.]+ ?\w*s", b"", each.stdout) for each in (usual, done)]
    assert without_time[0] == without_time[1]
    assert (done.returncode, done.stderr) == (usual.returncode, usual.stderr)


def test_a_file_in_a_directory_that_is_no_more_is_an_error(place):
    a, b = str(place / "a.npy"), str(place / "b.npy")
    for words, what in (
        (["info", "--record=x"], b"cannot write x"),
        (["matmul", a, b, "-o", "x"], b"cannot write x"),
        (["matmul", "x", b, "-o", a], b"cannot read x"),
    ):
        done = amx(words, place, nowhere(place))
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.endswith(what + b": No such file or directory\n")


def without_proc():
    """A command's beginning for a place without /proc; None where this user cannot make one."""
    if not shutil.which("unshare"):
        return None
    hidden = 'mount -t tmpfs none /proc && exec "$@"'
    for options in (["-m"], ["-rm"]):
        prefix = ["unshare", *options, "/bin/sh", "-c", hidden, "sh"]
        if children.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            return prefix
    return None


@pytest.fixture(scope="module")
def no_proc():
    return without_proc() or pytest.skip(
        "mounts cannot be made here (unshare -m), and so /proc not be hidden"
    )


WITHOUT_PROC = [row for row in OUTPUTS if not {"--help", "demo", "--html=-"} & set(row[0])]


@pytest.mark.parametrize(("words", "statuses"), WITHOUT_PROC, ids=ids(WITHOUT_PROC))
def test_without_proc_every_command_says_what_it_can(place, no_proc, words, statuses):
    done = amx(words, place, no_proc)
    assert done.returncode in statuses, done
    assert b"Traceback" not in done.stderr
    assert done.stdout


def test_without_proc_programs_are_emulated(place, no_proc):
    done = amx(["emulate", "--", "/bin/sh", "-c", "echo there; exit 7"], place, no_proc)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"there\n", b"")


# ---- a terminal --------------------------------------------------------------------------------------------


def on_a_terminal(words, columns, **environment):
    """What a command writes on a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST  # no carriage returns
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    child = children.start(
        [*AMX, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    output = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(ours, 1 << 16):
            output += piece
    os.close(ours)
    return child.wait(timeout=60), output


TABLES = [["explain", "--no-probe"], ["emulate", "--probe"], ["check", "DISC-01"]]


@pytest.mark.parametrize("words", TABLES, ids=ids(TABLES))
def test_on_a_narrow_terminal_no_word_is_cut_and_none_is_missing(place, words):
    """A column is at least as wide as its longest word."""
    usual = amx(words, place)
    widths = {
        "20": on_a_terminal(words, 20),
        "80": on_a_terminal(words, 80),
        "unknown": on_a_terminal(words, 0),
        "COLUMNS=0": on_a_terminal(words, 60, COLUMNS="0"),
    }
    want = sorted(re.sub(rb"in [\d.]+ ?\w*s", b"", usual.stdout).split())
    for name, (status, output) in widths.items():
        plain = re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", output)
        seen = sorted(re.sub(rb"in [\d.]+ ?\w*s", b"", plain).split())
        assert status == usual.returncode
        assert set(want) - set(seen) == set(), name
        assert "\N{HORIZONTAL ELLIPSIS}".encode() not in output


def test_a_terminal_has_colours_unless_they_are_not_wanted():
    coloured = re.compile(rb"\x1b\[(\d;)*3\d")
    assert coloured.search(on_a_terminal(["explain", "--no-probe"], 80)[1])
    assert not coloured.search(on_a_terminal(["explain", "--no-probe"], 80, NO_COLOR="1")[1])
    assert b"\x1b" not in on_a_terminal(["explain", "--no-probe"], 80, TERM="dumb")[1]


def test_an_interrupt_ends_a_command_without_a_word(place):
    """As it ends a program that does nothing about it."""
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from amx import cli, diagnosis\n"
        "diagnosis.Diagnosis.usable = property(lambda _: os.kill(os.getpid(), signal.SIGINT))\n"
        "sys.exit(cli.main())\n"
    )
    done = children.run(
        [sys.executable, "-c", code, "explain", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
