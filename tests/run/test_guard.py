"""The fault guard acts on the guarded instruction in the arming thread, and on nothing else."""

import os
import signal

import children
import pytest

from amx import machine, xstate
from amx._lib import ffi, lib
from amx.machine import Step

pytestmark = pytest.mark.skipif(lib.amx_is_stub() == 1, reason="this build has no machine layer")

# What every child starts with: a page that cannot be read, and the guard by name.
PREPARE = """
import ctypes, faulthandler, mmap, os, signal, sys, tempfile, threading, time
faulthandler.disable()
from amx._lib import ffi, lib
libc = ctypes.CDLL(None, use_errno=True)

def guarded(what, address=0):
    probe = ffi.new("struct amx_probe *")
    assert lib.amx_probe_guarded(getattr(lib, "AMX_GUARD_" + what), address, probe) == 0
    return probe.step == lib.AMX_STEP_DONE, probe.signal, probe.code, probe.address

SYS_RT_SIGACTION = 13

def disposition(number):
    # As the kernel has it: handler, flags, restorer, mask.
    action = (ctypes.c_uint64 * 4)()
    assert libc.syscall(SYS_RT_SIGACTION, number, None, action, 8) == 0
    return tuple(map(hex, action))
"""
SI_KERNEL = 128


def run(code):
    # In a sanitized build the faults are the test's, not findings.
    options = os.environ.get("ASAN_OPTIONS", "") + ":handle_segv=0:handle_sigbus=0"
    return children.run_python("-c", PREPARE + code, ASAN_OPTIONS=options)


def answer(code):
    result = run(code)
    assert children.how_it_ended(result) == 0, result.stderr
    return result.stdout.strip()


def ending(code):
    result = run(code)
    return children.how_it_ended(result), result.stderr


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("'UD2'", (False, signal.SIGILL, 2)),
        ("'LOAD', 0", (False, signal.SIGSEGV, 1)),
        ("'LOAD', 4096", (False, signal.SIGSEGV, 1)),
        # Non-canonical: the same signal and code as the kernel's failed allocation of tile state.
        ("'LOAD', 1 << 63", (False, signal.SIGSEGV, SI_KERNEL)),
    ],
)
def test_a_fault_of_the_guarded_instruction_is_reported(fault, expected):
    assert answer(f"print(guarded({fault})[:3])") == str(tuple(map(int, expected))).replace("0,", "False,", 1)


def test_a_bus_error_of_the_guarded_instruction_is_reported_with_its_address():
    code = """
file = tempfile.TemporaryFile()
file.truncate(4096)
page = mmap.mmap(file.fileno(), 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
file.truncate(0)
completed, number, code, where = guarded("LOAD", address)
print(completed, number == signal.SIGBUS, where == address)
"""
    assert answer(code) == "False True True"


def test_an_instruction_that_does_not_fault_completes():
    code = "byte = ctypes.c_char(); print(guarded('LOAD', ctypes.addressof(byte)))"
    assert answer(code) == "(True, 0, 0, 0)"


def test_the_guard_works_again_and_again():
    code = "print({guarded('UD2')[1] for _ in range(1000)} == {signal.SIGILL})"
    assert answer(code) == "True"


@pytest.mark.parametrize("where", ["BEFORE", "AFTER"])
def test_a_fault_next_to_the_guarded_instruction_kills_as_by_default(where):
    assert ending(f"guarded('LOAD_{where}', 4096)")[0] == "SIGSEGV"


def test_a_breakpoint_is_not_the_guards_business():
    assert ending("guarded('INT3')")[0] == "SIGTRAP"


def test_a_fault_next_to_the_guarded_instruction_reaches_the_previous_handler():
    how, text = ending("faulthandler.enable(); guarded('LOAD_BEFORE', 4096)")
    assert how == "SIGSEGV"
    assert "Fatal Python error: Segmentation fault" in text


IN_A_THREAD = """
window = threading.Thread(target=guarded, args=("SPIN", 2 * 10**9))
before = disposition(signal.SIGSEGV)
window.start()
while disposition(signal.SIGSEGV) == before:
    time.sleep(0.001)
"""


def test_another_threads_fault_kills_as_by_default_while_the_window_is_open():
    assert ending(IN_A_THREAD + "ctypes.string_at(4096)")[0] == "SIGSEGV"


def test_another_threads_fault_reaches_the_previous_handler_while_the_window_is_open():
    how, text = ending("faulthandler.enable()" + IN_A_THREAD + "ctypes.string_at(4096)")
    assert how == "SIGSEGV"
    assert "Fatal Python error: Segmentation fault" in text


def test_a_signal_that_is_sent_kills_as_by_default_while_the_window_is_open():
    assert ending(IN_A_THREAD + "os.kill(os.getpid(), signal.SIGSEGV); time.sleep(5)")[0] == "SIGSEGV"


def test_a_signal_that_is_sent_is_ignored_as_before_while_the_window_is_open():
    code = "signal.signal(signal.SIGSEGV, signal.SIG_IGN)" + IN_A_THREAD
    assert answer(code + "os.kill(os.getpid(), signal.SIGSEGV); window.join(); print('alive')") == "alive"


def test_a_fault_of_an_ignored_signal_kills_while_the_window_is_open():
    code = "signal.signal(signal.SIGSEGV, signal.SIG_IGN)" + IN_A_THREAD
    assert ending(code + "ctypes.string_at(4096)")[0] == "SIGSEGV"


@pytest.mark.parametrize("thread", ["threading.main_thread()", "window"])  # the latter is at the instruction
def test_a_handler_runs_for_a_signal_that_is_sent_while_the_window_is_open(thread):
    code = "seen = []; signal.signal(signal.SIGBUS, lambda number, frame: seen.append(number))" + IN_A_THREAD
    code += f"signal.pthread_kill({thread}.ident, signal.SIGBUS); window.join(); print(seen)"
    assert answer(code) == str([int(signal.SIGBUS)])


def test_the_previous_dispositions_are_restored_exactly():
    code = """
faulthandler.enable()                                # SIGSEGV, SIGBUS, SIGILL with SA_ONSTACK
signal.signal(signal.SIGBUS, signal.SIG_IGN)
numbers = (signal.SIGSEGV, signal.SIGILL, signal.SIGBUS)
before = [disposition(number) for number in numbers]
for what in ("UD2", "LOAD", "SPIN"):
    guarded(what, 1)
    print([disposition(number) for number in numbers] == before)
probe = ffi.new("struct amx_probe *")
lib.amx_probe_tilezero(probe)
print([disposition(number) for number in numbers] == before)
"""
    assert answer(code).split() == ["True"] * 4


def test_a_handler_installed_while_the_window_is_open_stays():
    code = (
        IN_A_THREAD
        + """
handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: None)
libc.signal.restype = libc.signal.argtypes = None
libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.signal.restype = ctypes.c_void_p
libc.signal(signal.SIGSEGV, ctypes.cast(handler, ctypes.c_void_p))
theirs = disposition(signal.SIGSEGV)
window.join()
print(disposition(signal.SIGSEGV) == theirs)
"""
    )
    assert answer(code) == "True"


def test_blocked_signals_are_caught_and_stay_blocked():
    code = """
blocked = {signal.SIGSEGV, signal.SIGILL, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
print(guarded("UD2")[1] == signal.SIGILL, signal.pthread_sigmask(signal.SIG_BLOCK, []) == blocked)
"""
    assert answer(code) == "True True"


def test_threads_take_turns():
    code = """
before = disposition(signal.SIGILL)
wrong = []
def work(what, expected):
    for _ in range(300):
        if guarded(what)[1] != expected:
            wrong.append(what)
threads = [threading.Thread(target=work, args=pair)
           for pair in (("UD2", signal.SIGILL), ("LOAD", signal.SIGSEGV)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(wrong, disposition(signal.SIGILL) == before)
"""
    assert answer(code) == "[] True"


def test_a_process_forked_while_the_window_is_open_has_the_previous_dispositions_and_a_working_guard():
    code = (
        "original = disposition(signal.SIGSEGV)"
        + IN_A_THREAD
        + """
child = os.fork()
if child == 0:
    os._exit(disposition(signal.SIGSEGV) == original and guarded("UD2")[1] == signal.SIGILL)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    assert answer(code) == "1"


def test_an_alternate_stack_of_the_previous_handler_is_used():
    code = """
faulthandler.enable()
threading.Thread(target=guarded, args=("SPIN", 4 * 10**9)).start()
time.sleep(0.2)
faulthandler._stack_overflow()
"""
    how, text = ending(code)
    assert how == "SIGSEGV"
    assert "Fatal Python error: Segmentation fault" in text


def test_tilezero_completes_or_faults_but_never_ends_the_process():
    probe = machine.Real().probe_tilezero()
    assert (probe.step is Step.DONE) == (probe.signal == 0)
    if probe.signal:
        assert probe.step in (Step.STTILECFG, Step.LDTILECFG, Step.TILEZERO)


@pytest.mark.skipif(lib.amx_is_stub() == 1 or not xstate.layout().enabled, reason="needs AMX enabled in XCR0")
def test_a_configuration_that_was_loaded_is_loaded_again():
    config = bytes([1] + [0] * 15 + [64, 0] + [0] * 30 + [16] + [0] * 15)
    found = ffi.new("uint8_t[64]")
    assert lib.amx_ldtilecfg(lib.AMX_NATIVE, ffi.from_buffer("uint8_t[]", config)) == 0
    try:
        machine.Real().probe_tilezero()
        lib.amx_sttilecfg(lib.AMX_NATIVE, found)
    finally:
        lib.amx_tilerelease(lib.AMX_NATIVE)
    assert bytes(ffi.buffer(found)) == config


def test_an_unknown_fault_is_refused():
    assert lib.amx_probe_guarded(99, 0, ffi.new("struct amx_probe *")) < 0
