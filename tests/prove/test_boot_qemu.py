"""QEMU, by a stand-in: what it is told, and that it boots without KVM where that does not work."""

import os

import guest_log
import guest_program
import pytest

from amx.conformance.guest import machines
from amx.conformance.guest.boot import CONSOLE, PORT
from amx.conformance.guest.machines import Settings
from amx.errors import GuestError

BEGUN = guest_log.framed(guest_log.whole({id: [{"x": 1}] for id in ("XS-02", "XS-05")}))
NOTHING = (lambda id: None, lambda: None)
QEMU = """#!/bin/sh
echo "$*" >>"{directory}/calls"
case "$*" in
*"-accel kvm"*) {kvm} ;;
*) cat "{directory}/log" >port; echo booting >console ;;
esac
"""


@pytest.fixture
def qemu(tmp_path, monkeypatch):
    """Boots by a stand-in for QEMU that does this where KVM is asked for: what came of it, and the calls."""

    def run(kvm, usable=True, **settings):
        (tmp_path / "log").write_bytes(BEGUN)
        (tmp_path / "bzImage").write_bytes(guest_program.bzimage())
        program = tmp_path / "bin" / "qemu-system-x86_64"
        program.parent.mkdir(exist_ok=True)
        program.write_text(QEMU.format(directory=tmp_path, kvm=kvm))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        if usable:
            monkeypatch.setattr(machines, "_no_kvm", lambda: "")
        else:
            monkeypatch.setattr(machines, "KVM", str(tmp_path / "kvm"))
        monkeypatch.setattr(machines, "SILENCE", 0.2)
        booted = machines.boot(str(tmp_path / "bzImage"), b"", Settings(**settings), NOTHING)
        return booted, (tmp_path / "calls").read_text().splitlines()

    monkeypatch.setattr(machines, "_broken_kvm", [])
    return run


def test_by_kvm_where_it_works(qemu, tmp_path):
    booted, calls = qemu(f'cat "{tmp_path}/log" >port')
    assert (booted.by, booted.notes, booted.logs[PORT]) == ("QEMU by KVM", (), BEGUN)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("kvm", "why"),
    [
        ("echo kvm_buf_set_msrs >&2; kill -ABRT $$", "QEMU ended with SIGABRT (kvm_buf_set_msrs)"),
        ("exit 1", "QEMU ended with exit 1"),
        ("exec sleep 1000", "the guest stood still for 0.2 s while it booted"),
        (
            "echo booting >console; echo KVM internal error. >&2; exec sleep 1000",
            "QEMU said KVM internal error",
        ),
    ],
)
def test_where_kvm_does_not_work_qemu_boots_without_and_says_why(qemu, kvm, why):
    booted, calls = qemu(kvm)
    assert (booted.by, booted.notes) == ("QEMU by TCG", (f"not by KVM: {why}",))
    assert booted.logs == {CONSOLE: b"booting\n", PORT: BEGUN}
    assert len(calls) == 2


def test_kvm_that_failed_is_not_tried_again(qemu):
    qemu("exit 1")
    booted, calls = qemu("exit 1")
    assert booted.notes == ("not by KVM: QEMU ended with exit 1",)
    assert len(calls) == 3


def test_a_kernel_that_fails_by_kvm_is_not_booted_again(qemu):
    booted, calls = qemu("echo booting >console")
    assert booted.stopped.startswith("it ended by itself")
    assert len(calls) == 1


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
def test_what_is_asked_for_is_used_and_nothing_else(qemu, accel):
    booted, calls = qemu("echo Booting >console; exit 1", accel=accel)
    assert (booted.by, booted.notes) == (f"QEMU by {accel.upper()}", ())
    assert len(calls) == 1


def test_what_qemu_refuses_says_nothing_about_the_kernel(qemu):
    with pytest.raises(GuestError, match=r"exit 1 before the guest said a word\. No such CPU\."):
        qemu("echo no such CPU >&2; exit 1", accel="kvm")


def test_without_kvm_qemu_boots_without(qemu, tmp_path):
    booted, calls = qemu("exit 1", usable=False)
    assert booted.notes == (f"not by KVM: there is no {tmp_path / 'kvm'}",)
    assert len(calls) == 1


def test_what_qemu_is_told(qemu, tmp_path):
    _, (call,) = qemu("", usable=False, cpu="Haswell", smp=2, memory=256, append="x", timeout=9.0)
    line = "console=ttyS0 panic=-1 earlyprintk=ttyS0,115200 amx.port=ttyS1 x"
    assert call == (
        "-accel tcg -cpu Haswell -smp 2 -m 256 -nodefaults -no-user-config -display none -no-reboot "
        f"-serial file:console -serial file:port -kernel {tmp_path}/bzImage -initrd initrd -append {line}"
    )
