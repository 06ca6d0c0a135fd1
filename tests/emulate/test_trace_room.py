"""A trace without room for it: the program runs as ever, and the trace says what it lacks, and why."""

import errno
import json
import os
import stat
import sys
import textwrap

import children
import preloading
import pytest
from denying import DENY
from self_tracing import START, TRACED, executed, expected

from amx._lib import lib
from amx.emulation import scratch, trace, unrecorded
from amx.emulation.trace import Trace
from amx.emulation.unrecorded import Unrecorded

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
foreign_programs = pytest.mark.skipif(
    preloading.SANITIZED, reason="a sanitizer's runtime must be the first library"
)

NOT_KNOWN = "Whether AMX was used is not known: "
SYS_MADVISE, SYS_FALLOCATE = 28, 285
POPULATE_WRITE = 23  # of madvise
LIMIT = 500_000  # bytes of a file: enough for reports, and not for a trace

PRELUDE = TRACED + DENY + "import resource\n"
USE = """
ldtilecfg(config, 0)
for _ in range(3):
    tileloadd(data, 64)
tilestored(data, 64)
"""
USED = expected(ldtilecfg=1, tileloadd=3, tilestored=1)


def run(directory, *parts):
    """Run a script with the instructions of TRACED; what it printed. It may not die."""
    script = PRELUDE + "\n".join(textwrap.dedent(part) for part in parts)
    done = children.run_python("-c", script, directory, AMX_TEST_LANE="")
    assert children.how_it_ended(done) == 0, done.stderr
    return done.stdout


def prepared(directory):
    """A directory as `amx emulate` makes it."""
    unrecorded.prepare(str(directory))
    return directory


# ---- no room from the beginning on


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_where_no_blocks_can_be_reserved_there_is_no_file(tmp_path, error):
    said = run(tmp_path, f"deny({SYS_FALLOCATE}, {error}); print(start_traced(sys.argv[1]))")
    assert (int(said), list(tmp_path.iterdir())) == (-error, [])


def test_a_limit_on_the_size_of_files_raises_no_signal(tmp_path):
    """SIGXFSZ would end the program."""
    said = run(
        tmp_path,
        f"""
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT}))
        print(start_traced(sys.argv[1]))
        """,
    )
    assert (int(said), list(tmp_path.iterdir())) == (-errno.EFBIG, [])


def test_a_file_system_that_reserves_no_blocks_is_written_to_at_once(tmp_path):
    """ramfs, or NFS before version 4.2."""
    run(tmp_path, f"deny({SYS_FALLOCATE}, {errno.EOPNOTSUPP})", START, USE)
    found = trace.read(tmp_path)
    assert executed(found) == USED
    assert found.complete
    (file,) = tmp_path.iterdir()
    assert file.stat().st_blocks * 512 >= file.stat().st_size


# ---- no room later


def test_a_kernel_that_populates_no_pages_reserves_them_in_the_file(tmp_path):
    """Before Linux 5.14."""
    run(tmp_path, f"deny({SYS_MADVISE}, {errno.EINVAL}, {POPULATE_WRITE})", START, USE)
    found = trace.read(tmp_path)
    assert executed(found) == USED
    assert {total.unplaced for total in found.totals} == {0}


def test_what_finds_no_room_is_counted_without_its_site(tmp_path):
    deny = f"deny({SYS_MADVISE}, {errno.EFAULT}, {POPULATE_WRITE}); deny({SYS_FALLOCATE}, {errno.EDQUOT})"
    run(tmp_path, START, deny, USE)
    found = trace.read(tmp_path)
    assert executed(found) == USED
    assert {total.sites for total in found.totals} == {0}
    (process,) = found.processes
    assert process.lost.reason == f"{os.strerror(errno.EDQUOT)} (EDQUOT)"
    assert f"The table of sites could not grow, {process.lost.reason}: {found.instructions} instr" in str(
        found
    )
    assert found.intensity is None
    file = tmp_path / "trace.json"
    found.write(file)
    assert Trace.load(file) == found


def test_a_process_that_became_another_user_goes_on_recording(tmp_path):
    """Its file is closed to it by name; what is mapped is not."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    run(tmp_path, START, "os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)", USE)
    found = trace.read(tmp_path)
    assert executed(found) == USED


def test_a_file_that_is_cut_short_meanwhile_does_not_end_the_process(tmp_path):
    prepared(tmp_path)
    run(
        tmp_path, START, USE, 'os.truncate(f"{sys.argv[1]}/{os.getpid()}.trace", 0)', USE, "tilerelease(0, 0)"
    )
    found = trace.read(tmp_path)
    assert (found.processes, len(found.unreadable)) == ((), 1)
    assert found.verdicts[0].startswith(NOT_KNOWN)
    assert unrecorded.read(tmp_path)[0] == Unrecorded(1, "Input/output error (EIO)")


def test_forked_children_without_a_file_are_counted(tmp_path):
    """Wherever their root directory is: the place to count is inherited."""
    run(
        prepared(tmp_path),
        START,
        f"""
        resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, resource.RLIM_INFINITY))
        for _ in range(3):
            if os.fork() == 0:
                tilerelease(0, 0)
                os._exit(0)
            assert os.wait()[1] == 0
        """,
    )
    found = trace.read(tmp_path)
    assert found.unrecorded == ("3 processes or more: File too large (EFBIG)",)
    assert found.verdicts[0] == f"{NOT_KNOWN}0 instructions in 1 process, and others were not recorded."
    assert found.verdicts[-1] == f"Not recorded: {found.unrecorded[0]}."
    file = tmp_path / "trace.json"
    found.write(file)
    assert Trace.load(file) == found


@foreign_programs
def test_programs_of_another_user_are_counted():
    """They can neither write nor count where the others do: who executes them counts them."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with scratch.directory("a test") as directory:  # pytest's own are closed to others
        script = """
        import os
        os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
        os.execv("/bin/true", ["true"])
        """
        done = preloading.run_python(script, directory, trace=True)
        found = trace.read(directory)
    if "cannot be preloaded" in done.stderr:
        pytest.skip("another user cannot read the library")
    assert children.how_it_ended(done) == 0, done.stderr
    assert found.unrecorded == ("1 process or more: Permission denied (EACCES)",)
    assert found.verdicts[0].startswith(NOT_KNOWN)


@foreign_programs
def test_programs_of_another_user_that_were_not_executed_are_not_counted():
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with scratch.directory("a test") as directory:
        script = """
        import contextlib, os
        os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
        with contextlib.suppress(FileNotFoundError):
            os.execv("/no/such/program", ["program"])
        """
        done = preloading.run_python(script, directory, trace=True)
        assert children.how_it_ended(done) == 0, done.stderr
        assert unrecorded.read(directory) == (Unrecorded(), Unrecorded())


@foreign_programs
def test_nobody_else_reaches_what_is_recorded():
    before = os.umask(0)
    try:
        with scratch.directory("a test") as directory:
            done = preloading.run_python("import os; os.umask(0); os.fork()", directory, trace=True)
            assert children.how_it_ended(done) == 0, done.stderr
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in os.scandir(directory)}
            assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    finally:
        os.umask(before)
    assert {"report", "unrecorded"} < set(modes)
    assert len(modes) >= 4
    assert set(modes.values()) == {0o600}
    assert not os.path.exists(directory)


def test_without_room_for_the_count_it_is_unknown(tmp_path):
    (tmp_path / "unrecorded").touch()
    assert trace.read(tmp_path).verdicts[0].startswith(NOT_KNOWN)


def test_without_the_count_nothing_is_claimed_of_others(tmp_path):
    assert unrecorded.read(tmp_path) == (Unrecorded(), Unrecorded())
    assert trace.read(tmp_path).complete


def test_a_trace_of_before_can_still_be_read(tmp_path):
    """Its JSON has nothing of what was not recorded."""
    content = json.loads(Trace(()).to_json())
    del content["unrecorded"]
    (tmp_path / "trace.json").write_text(json.dumps(content))
    assert Trace.load(tmp_path / "trace.json") == Trace(())


# ---- a disk that is really full

NAMESPACE = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount"]


def mounts(directory):
    """Whether a small file system can be mounted there, seen by a child alone."""
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=16k", "none", directory]
    try:
        return children.run(list(map(str, command)), capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


READ = """
from amx.emulation import trace
trace.read(sys.argv[1]).write(sys.argv[2])
"""


@pytest.mark.parametrize("pages", [4, 5, 6, 8, 64])
def test_a_full_disk_does_not_end_the_process(tmp_path, pages):
    """With room for the header alone, for some of the tables, for all: everything executed is counted.

    Whether 8 pages suffice is chance: sites lie in their table by their address, and two may share a page.
    """
    place = tmp_path / "disk"
    place.mkdir()
    if not mounts(place):
        pytest.skip("no file system can be mounted here")
    script = tmp_path / "script"
    script.write_text(PRELUDE + START + USE + READ)
    mount = f'mount -t tmpfs -o size={4 * pages}k,mode=700 none "$1" && exec "$2" "$3" "$1" "$4"'
    command = [*NAMESPACE, "sh", "-c", mount, "sh", place, sys.executable, script, tmp_path / "trace.json"]
    environment = {**os.environ, "PYTHONPATH": str(children.SUPPORT), "AMX_TEST_LANE": ""}
    done = children.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=60)
    assert children.how_it_ended(done) == 0, done.stderr
    found = Trace.load(tmp_path / "trace.json")
    assert executed(found) == USED
    (process,) = found.processes
    lacked = process.lost.reason
    assert lacked in ("", "No space left on device (ENOSPC)")
    assert pages == 8 or bool(lacked) == (pages < 8)
    assert any(total.unplaced for total in found.totals) == bool(lacked)


# ---- amx emulate


def emulate(tmp_path, *options, limit=LIMIT):
    """`amx emulate --trace` of a small product, where no file grows beyond a limit."""
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from amx import cli; sys.exit(cli.main())"
    )
    product = "import sys, amx, numpy as np; amx.matmul(np.ones((4, 4), np.int8), np.ones((4, 4), np.int8))"
    done = children.run_python(
        "-c", code, "emulate", *options, "--trace", tmp_path / "trace.json", "--stats-file",
        tmp_path / "stats.json", "--", sys.executable, "-c", f"{product}; sys.exit(7)",
        AMX_TEST_LANE="", AMX_BACKEND="native",
    )  # fmt: skip
    if "could not be traced" in done.stderr:
        pytest.skip(done.stderr)
    return done


@foreign_programs
@pytest.mark.parametrize("options", [(), ("--ptrace",)], ids=["preloaded", "traced"])
def test_a_limit_on_files_changes_neither_the_program_nor_its_status(tmp_path, options):
    done = emulate(tmp_path, *options)
    assert done.returncode == 7
    assert "Not recorded: 1 process or more: File too large (EFBIG)" in done.stderr
    assert json.loads((tmp_path / "trace.json").read_text())["verdicts"][0].startswith(NOT_KNOWN)
    assert json.loads((tmp_path / "stats.json").read_text())["total"]["instructions"] > 0


@foreign_programs
def test_a_limit_that_leaves_no_room_for_counts_is_said(tmp_path):
    """A report's line is longer than that."""
    done = emulate(tmp_path, limit=4096)
    assert done.returncode == 7
    assert "This process is not recorded" in done.stderr
    assert f"--trace {tmp_path / 'trace.json'} could not be written" not in done.stderr
    assert json.loads((tmp_path / "stats.json").read_text())["unrecorded"] == {
        "processes": 1,
        "reason": "File too large (EFBIG)",
    }


@foreign_programs
def test_a_report_that_is_cut_short_meanwhile_does_not_end_the_program(tmp_path):
    """Its line is mapped; and it is brought up to date at the end at the latest."""
    script = f"import os; os.truncate({str(tmp_path / 'report')!r}, 0)"
    done = preloading.run_python(script, prepared(tmp_path))
    assert children.how_it_ended(done) == 0, done.stderr
    assert unrecorded.read(tmp_path)[1] == Unrecorded(1, "Input/output error (EIO)")
