"""The real machine answers as the system's own interfaces do; recordings replay what was recorded."""

import ctypes
import errno
import json
import os
import re
import signal
import struct

import children
import machines
import pytest

import amx
from amx import machine, recording
from amx._lib import ffi, lib
from amx.machine import ChildAction, Step

needs_layer = pytest.mark.skipif(lib.amx_is_stub() == 1, reason="this build has no machine layer")
SYS_ARCH_PRCTL = 158


def facts(name):
    return json.loads((machines.DIRECTORY / f"{name}.json").read_text())


def test_there_are_enough_machines_and_each_says_what_it_is():
    assert len(machines.NAMES) >= 12
    kinds = {facts(name)["kind"] for name in machines.NAMES}
    assert kinds == {"recorded", "constructed"}
    assert all(facts(name)["title"] and facts(name)["source"] for name in machines.NAMES)


def test_steps_and_actions_are_those_of_c():
    for step in Step:
        assert getattr(lib, f"AMX_STEP_{step.name}") == step
    for action in ChildAction:
        assert getattr(lib, f"AMX_CHILD_{action.name}") == action


@needs_layer
def test_cpuid_names_the_vendor_that_proc_cpuinfo_names():
    with open("/proc/cpuinfo") as lines:
        vendor = next(line.split(":")[1].strip() for line in lines if line.startswith("vendor_id"))
    leaf = machine.Real().cpuid(0)
    assert struct.pack("<3I", leaf.ebx, leaf.edx, leaf.ecx).decode() == vendor


@needs_layer
def test_arch_prctl_answers_as_the_bare_system_call():
    libc = ctypes.CDLL(None, use_errno=True)
    value = ctypes.c_uint64()
    for op in (0x1021, 0x1022, 0x1024):
        result = libc.syscall(SYS_ARCH_PRCTL, op, ctypes.byref(value))
        expected = (0, value.value) if result == 0 else (-ctypes.get_errno(), 0)
        reply = machine.Real().arch_prctl_get(op)
        assert (reply.result, reply.value) == expected


@needs_layer
def test_an_unknown_operation_is_einval():
    assert machine.Real().arch_prctl(0x1020, 18) == -errno.EINVAL


def test_the_auxiliary_vector_is_that_of_proc():
    with open("/proc/self/auxv", "rb") as file:
        entries = dict(struct.iter_unpack("=QQ", file.read()))
    assert machine.Real().getauxval(51) == entries.get(51, 0)
    assert machine.Real().getauxval(6) == entries[6] == os.sysconf("SC_PAGESIZE")


def test_sysconf_is_none_for_what_libc_does_not_know():
    assert machine.Real().sysconf(os.sysconf_names["SC_PAGESIZE"]) == os.sysconf("SC_PAGESIZE")
    assert machine.Real().sysconf(100_000) is None


@needs_layer
def test_the_alternate_stack_is_the_threads_own():
    code = """
import ctypes, threading
from amx.machine import Real

class Stack(ctypes.Structure):
    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

memory = ctypes.create_string_buffer(61_000)
def install():
    stack = Stack(ctypes.addressof(memory), 0, 61_000)
    assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
    found = Real().altstack()
    print(found.size, found.address == ctypes.addressof(memory), found.flags)

before = Real().altstack()
thread = threading.Thread(target=install)
thread.start()
thread.join()
print(Real().altstack() == before)
"""
    result = children.run_python("-c", code)
    assert result.stdout.splitlines() == ["61000 True 0", "True"], result.stderr


@needs_layer
def test_a_probing_child_is_not_seen_by_anybody():
    code = """
import os, signal
from amx.machine import ChildAction, Real, Step
seen = []
signal.signal(signal.SIGCHLD, lambda number, frame: seen.append(number))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
forked = []
os.register_at_fork(before=lambda: forked.append(1))
print(Real().probe_child(ChildAction.GET, 0x1022).step is Step.DONE, seen, forked)
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no child left")
print(signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR1})
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print(Real().probe_child(ChildAction.GET, 0x1022).step is Step.DONE)
"""
    result = children.run_python("-c", code)
    assert result.stdout.splitlines() == ["True [] []", "no child left", "True", "True"], result.stderr


@needs_layer
def test_a_request_in_a_child_leaves_the_parents_permission_alone():
    code = """
from amx.machine import ChildAction, Real
before = Real().arch_prctl_get(0x1022)
Real().probe_child(ChildAction.REQUEST, 0x1023, 18)
print(Real().arch_prctl_get(0x1022) == before)
"""
    result = children.run_python("-c", code)
    assert result.stdout == "True\n", result.stderr


@needs_layer
def test_a_child_reads_what_the_parent_reads():
    real = machine.Real()
    child, own = real.probe_child(ChildAction.GET, 0x1022), real.arch_prctl_get(0x1022)
    assert (child.step, child.result, child.value) == (Step.DONE, own.result, own.value)


@needs_layer
def test_a_fault_in_a_child_is_reported_and_stays_there():
    probe = machine.Real().probe_child(ChildAction.TILEZERO)
    assert (probe.step is Step.DONE) == (probe.signal == 0)
    assert probe.signal in (0, signal.SIGILL, signal.SIGSEGV)


def test_in_a_build_without_machine_layer_every_call_explains_itself(monkeypatch):
    class Stubs:
        def __getattr__(self, name):
            return lambda *arguments: 1 if name == "amx_is_stub" else -errno.ENOSYS

    monkeypatch.setattr(machine, "lib", Stubs())
    real = machine.Real()
    calls = [
        lambda: real.cpuid(0),
        lambda: real.xgetbv(0),
        lambda: real.arch_prctl_get(0x1022),
        lambda: real.arch_prctl(0x1023, 18),
        real.altstack,
        real.probe_tilezero,
        lambda: real.probe_child(ChildAction.TILEZERO),
    ]
    for call in calls:
        with pytest.raises(amx.errors.AmxUnavailableError, match="no machine layer"):
            call()


def test_use_puts_the_machine_back():
    real, replayed = machine.current(), machines.load("gvisor")
    with machine.use(replayed):
        assert machine.current() is replayed
    assert machine.current() is real


@pytest.mark.parametrize("name", machines.NAMES)
def test_a_replayed_machine_records_to_what_explains_alike(name):
    original = machines.load(name)
    again = recording.Recorded(json.loads(recording.record(machines.load(name), title="t", source="s")))
    diagnoses = []
    for each in (original, again):
        with machine.use(each):
            diagnoses.append(amx.explain(probe=True))
    assert diagnoses[0] == diagnoses[1]


def test_a_recorded_machine_records_to_the_same_file():
    text = (machines.DIRECTORY / "zen5-kvm.json").read_text()
    known = json.loads(text)
    assert recording.record(machines.load("zen5-kvm"), title=known["title"], source=known["source"]) == text


@needs_layer
def test_a_recording_has_no_host_name_and_explains_as_the_machine_does():
    text = recording.record(machine.Real(), title="t", source="s")
    found = json.loads(text)
    assert set(found["kernel"]) == {"sysname", "release", "version", "architecture"}
    with machine.use(recording.Recorded(found)):
        replayed = amx.explain(probe=True)
    assert (replayed.usable, replayed.cause) == (
        amx.explain(probe=True).usable,
        amx.explain(probe=True).cause,
    )


def test_a_call_that_ends_the_process_does_not_pass_for_an_answer():
    with pytest.raises(recording.ProcessEndedError):
        machines.load("seccomp-trap").arch_prctl_get(0x1021)


def test_a_probe_is_read_from_c():
    c = ffi.new("struct amx_probe *", {"step": 6, "signal": 11, "code": 128, "address": 7})
    assert machine._probe(c) == machine.Probe(Step.TILEZERO, signal=11, code=128, address=7)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "It has schema 2, and this version reads 1"),
        ({"cpuid": {"0.0": "1 2 3"}}, "Its cpuid is {'0.0': '1 2 3'}"),
        ({"xcr0": 7}, "Its xcr0 is 7"),
        ({"xinuse": "0x1ffffffffffffffff"}, "Its xinuse is "),
        ({"arch_prctl": {}}, "Its arch_prctl is {}"),
        ({"child": {"tilezero": {"step": []}, "tdpfp16ps": {}}}, "Its child is "),
        ({"auxv": {"51": -1}}, "Its auxv is "),
        ({"altstack": None}, "Its altstack is None"),
        ({"cpuinfo_flags": "fpu \x1b[31m"}, "Its cpuinfo_flags is "),
        ({"kernel": {"sysname": "Linux"}}, "Its kernel is "),
    ],
)
def test_a_file_that_is_no_record_is_refused_by_what_is_wrong(tmp_path, change, said):
    known = json.loads((machines.DIRECTORY / "zen5-kvm.json").read_text())
    (tmp_path / "file").write_text(json.dumps({**known, **change}))
    with pytest.raises(amx.errors.RecordError, match=re.escape(said)):
        recording.load(tmp_path / "file")


@pytest.mark.parametrize("name", ["kernel", "child", "sysconf"])
def test_a_record_without_some_of_its_facts_is_refused(tmp_path, name):
    known = json.loads((machines.DIRECTORY / "zen5-kvm.json").read_text())
    del known[name]
    (tmp_path / "file").write_text(json.dumps(known))
    with pytest.raises(amx.errors.RecordError, match=f"There is no {name}"):
        recording.load(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"[", b"[" * 100_000, b"\xff", b"[]", b"null"])
def test_what_is_no_json_object_is_no_record(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(amx.errors.RecordError, match="is no record of a machine"):
        recording.load(tmp_path / "file")


def test_a_file_that_is_no_record_is_named_as_text(tmp_path):
    (tmp_path / "\x1b[2J").write_bytes(b"[]")
    with pytest.raises(amx.errors.RecordError, match=re.escape(r"/\x1b[2J is no record of a machine")):
        recording.load(tmp_path / "\x1b[2J")


def test_a_fifo_is_no_record(tmp_path):
    """And is not waited for."""
    os.mkfifo(tmp_path / "file")
    with pytest.raises(OSError, match="no regular file"):
        recording.load(tmp_path / "file")
