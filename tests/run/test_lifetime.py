"""No child outlives the process that started it, also where that is killed and can end nothing itself."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import children
import pytest
import stand_in
from compiling import EMULATOR, ROOT, compile_c
from denying import DENY

from amx._lib import lib
from amx.conformance import provoke

SLEEPER = "exec sleep 120"
SYS_GETPPID = 110
CHILD = "import amx.pytest_plugin; amx.pytest_plugin._run_child('import time; time.sleep(120)', timeout=120)"
STARTERS = {
    "amx.lifetime": """
        import subprocess
        from amx import lifetime
        subprocess.run(["sleep", "120"], preexec_fn=lifetime.tied())
    """,
    "the runner of the conformance suite": """
        from amx.conformance import provoke
        provoke.provoke("T-01", model=False, fault="", timeout=120)
    """,
    "amx_child of the pytest plugin": CHILD,
    "the tools that a trace asks": f"""
        from amx.emulation import tools
        tools.SECONDS = 120
        tools.Tools().ask("sh", "-c", "{SLEEPER}", answers=1)
    """,
    "amx emulate beside its program": f"""
        import os
        from amx.emulation import supervise
        supervise.run("/bin/sh", ["sh", "-c", "{SLEEPER}"], dict(os.environ))
    """,
    "the tests' own helper": """
        import children
        children.run(["sleep", "120"])
    """,
    "a fork of the tests' own helper": """
        import children, time
        children.fork(), time.sleep(120)
    """,
    "the tests' own helper, on a terminal": """
        import children, time
        children.fork_on_terminal(), time.sleep(120)
    """,
}


def heirs(launcher, count):
    """The processes that have come of a child, as soon as there are so many."""
    for _ in range(3000):
        found = children.descendants(launcher.pid)
        if len(found) >= count:
            return found
        assert launcher.poll() is None, "it has ended"
        time.sleep(0.01)
    raise AssertionError(f"{found}, and not {count} processes")


@pytest.mark.parametrize("who", STARTERS)
def test_a_child_dies_with_its_parent(who, tmp_path):
    program = stand_in.write(tmp_path, {"T-01": SLEEPER})
    variables = {**os.environ, "PYTHONPATH": str(children.SUPPORT), provoke.PROGRAM: str(program)}
    variables["TMPDIR"] = str(tmp_path)  # what is killed removes nothing
    code = "import sys; exec(__import__('textwrap').dedent(sys.argv[1]))"
    launcher = children.start([sys.executable, "-c", code, STARTERS[who]], env=variables)
    found = heirs(launcher, 1)
    launcher.kill()
    launcher.wait()
    assert all(children.gone(pid) for pid in found)


def test_a_child_whose_parent_is_gone_before_it_asks_dies_at_once():
    code = "from amx import lifetime; lifetime.tie(1); print('lives')"
    done = children.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (children.how_it_ended(done), done.stdout) == ("SIGKILL", "")


UNSEEN = {
    "a child process": "subprocess.run(['true'], preexec_fn=lifetime.tied()).returncode",
    "a child that probes": "lib.amx_probe_means(lib.AMX_MEANS_PTRACE, 10_000, probe) or probe.signal",
    "a provocation": "subprocess.run([provoke.program(), 'run', 'INH-01', '--model'], "
    "stdout=subprocess.DEVNULL).returncode",
}


@pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
@pytest.mark.parametrize("who", UNSEEN)
def test_a_child_that_may_not_ask_for_its_parent_lives(who):
    """A filter may deny getppid(2)."""
    code = f"""
import ctypes, subprocess
from amx import lifetime
from amx._lib import ffi, lib
from amx.conformance import provoke
{DENY}
deny({SYS_GETPPID}, 1)
probe = ffi.new("struct amx_probe *")
print({UNSEEN[who]})
"""
    done = children.run_python("-c", code)
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize("how", ["fork", "clone"])
def test_children_of_a_provocation_die_with_it(how, tmp_path):
    """Also those that share its memory."""
    sources = [source for source in ROOT.glob("csrc/provoke/*/*.c") if source.parent.name != "guest"]
    sources += [
        ROOT / "csrc/kernel_model/kernel_model.c",
        *(each for each in EMULATOR if each.name != "binding.c"),
    ]
    flags = ["-march=x86-64", "-mno-avx"]  # as csrc/CMakeLists.txt has it for this program
    program = compile_c(tmp_path / "child", [ROOT / "tests/c/provoke_child.c", *sources], *flags)
    launcher = children.start([program, how])
    found = heirs(launcher, 1)
    launcher.kill()
    launcher.wait()
    assert all(children.gone(pid) for pid in found)


# A supervisor that answers no request, in a process of its own that stays when the one that probes is killed.
HANGS = """
import os, time
import under_seccomp
from amx._lib import ffi, lib
ready, go = os.pipe()
under_seccomp.install("listen", [0x1023])
if os.fork() == 0:
    os.write(go, b"x")
    time.sleep(20)
    os._exit(0)
os.read(ready, 1)
lib.amx_probe_child(lib.AMX_CHILD_REQUEST, 0x1023, 18, 120_000, ffi.new("struct amx_probe *"))
"""


@pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
def test_a_probe_that_hangs_dies_with_its_parent():
    variables = {**os.environ, "PYTHONPATH": str(children.SUPPORT)}
    launcher = children.start([sys.executable, "-c", HANGS], env=variables)
    supervisor, probe = sorted(heirs(launcher, 2))
    launcher.kill()
    launcher.wait()
    assert children.gone(probe)
    os.kill(supervisor, signal.SIGKILL)


def test_what_runs_out_of_time_is_killed_with_what_it_has_started():
    """In the tests' own helper: grandchildren that keep the pipes open too."""
    with pytest.raises(subprocess.TimeoutExpired) as late:
        children.run(["sh", "-c", "echo $$; sleep 120 & echo $!; wait"], capture_output=True, timeout=1)
    pids = [int(word) for word in late.value.output.split()]
    assert len(pids) == 2
    assert all(children.gone(pid) for pid in pids)


def test_what_a_test_leaves_running_is_killed_after_it():
    left = children.start(["sh", "-c", SLEEPER])
    children.end_all()
    assert left.returncode == -signal.SIGKILL


IGNORED = """
    import contextlib, signal, threading
    from amx import lifetime, pytest_plugin
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    def ends():
        try:
            found.append(lifetime.run(["sh", "-c", "exit 3"]).returncode)
            found.append(pytest_plugin._run_child("import os; os.abort()").signal)
        except ChildProcessError as error:
            found.append(error.strerror)
    found = []
    ends()
    assert found == [3, signal.SIGABRT], found
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    for amid in contextlib.nullcontext(), lifetime.statuses_are_kept():  # of the main thread's own
        found = []
        thread = threading.Thread(target=ends)
        with amid:
            thread.start(), thread.join()
        assert found != [3, signal.SIGABRT] and "SIGCHLD is ignored" in found[0], found
"""


def test_how_a_child_ends_is_known_or_refused_where_sigchld_is_ignored():
    """`subprocess` takes it to have succeeded there, and children of a test that failed would pass."""
    done = children.run_python("-c", textwrap.dedent(IGNORED))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD])
def test_children_of_tests_have_default_actions_wherever_the_tests_were_started(number):
    """As in the background of a shell without job control, where SIGINT is ignored."""
    show = (
        f"import signal; print(signal.getsignal({number:d}) is signal.SIG_IGN, signal.pthread_sigmask(0, []))"
    )
    code = f"""
import children, signal
signal.signal({number:d}, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [{number:d}])
print(children.run_python("-c", {show!r}).stdout)
"""
    assert children.run_python("-c", code).stdout.split() == ["False", "set()"]
