"""One guest of ci/zoo as a process of qemu: boots it, compiles for it, ends it at its time limit."""

import functools
import os
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import compiler
from guests import MEMORY_MIB, PROCESSORS, Guest

FACTS = """\
uname -r >/run/host/kernel
grep -m1 ^flags /proc/cpuinfo >/run/host/flags
"""
PROBE_S = 15  # a guest boots in 3 with KVM


@dataclass(frozen=True)
class Files:
    """What a kernel package gives: the kernel, and an initramfs with its modules."""

    kernel: Path
    initramfs: Path


def accelerator(guest: Guest, files: Files, folder: Path) -> str:
    """`kvm` where it boots this kernel, and with the CPU that this guest is to have; else `tcg`."""
    if not kvm_boots(files):
        return "tcg"
    run(guest, files, folder, "kvm", "exit 0\n", seconds=PROBE_S)
    return "tcg" if differences(guest, folder) else "kvm"


@functools.cache
def kvm_boots(files: Files) -> bool:
    """Found out by booting a plain CPU.

    Where KVM is itself emulated its device opens, and then qemu aborts or the guest never begins.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    folder = files.kernel.with_name("probe")
    plain = Guest("plain", "qemu64", "", "", "that KVM works")
    run(plain, files, folder, "kvm", "exit 0\n", seconds=PROBE_S)
    return (folder / "status").exists()


def differences(guest: Guest, folder: Path) -> str:
    """In what the guest that ran is not the one that was asked for; empty if it is."""
    try:
        kernel = (folder / "kernel").read_text().strip()
        flags = set((folder / "flags").read_text().split())
    except FileNotFoundError:
        return "it did not boot"
    found = [] if kernel.startswith(f"{guest.kernel}.") else [f"its kernel is {kernel}, not {guest.kernel}"]
    for flag in guest.flags.split():
        if flag.startswith("-") and flag[1:] in flags:
            found.append(f"its CPU has {flag[1:]}")
        elif not flag.startswith("-") and flag not in flags:
            found.append(f"its CPU lacks {flag}")
    return ", ".join(found)


def run(
    guest: Guest, files: Files, folder: Path, accelerated_by: str, command: str, *, seconds: float
) -> bool:
    """Run a shell script as root of the guest, with `folder` as its /run/host; False if its time was over."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "command").write_text(FACTS + command)
    end = time.monotonic() + seconds
    with (folder / "qemu").open("w") as messages:
        qemu = subprocess.Popen(
            _qemu(guest, files, folder, accelerated_by),
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
        )
    try:
        while qemu.poll() is None:
            if time.monotonic() > end:
                return False
            for request in folder.glob("compile-*.arguments"):
                compiler.answer(request)
            time.sleep(0.1)
        return True
    finally:
        qemu.kill()
        qemu.wait()


def _qemu(guest: Guest, files: Files, folder: Path, accelerated_by: str) -> list[str]:
    """The command line; the guest dies with this process, whatever that dies of."""
    # By -icount a second is so many instructions: tests run out of time neither on a slow nor on a busy host.
    acceleration = {"kvm": "-accel kvm", "tcg": "-accel tcg -icount shift=1"}[accelerated_by]
    share = "local,security_model=none,multidevs=remap"
    words = f"""
        setpriv --pdeathsig KILL qemu-system-x86_64 {acceleration}
        -cpu {guest.cpu} -smp {PROCESSORS} -m {MEMORY_MIB} -nodefaults -no-user-config
        -display none -no-reboot -append console=ttyS0\\ panic=-1\\ quiet
        -device virtio-9p-pci,fsdev=root,mount_tag=root -device virtio-9p-pci,fsdev=host,mount_tag=host
    """
    return [
        *shlex.split(words),
        *("-kernel", str(files.kernel), "-initrd", str(files.initramfs)),
        *("-serial", "file:" + _escaped(folder / "console")),
        *("-fsdev", f"{share},id=root,readonly=on,path=/"),
        *("-fsdev", f"{share},id=host,path={_escaped(folder)}"),
    ]


def _escaped(path: Path) -> str:
    """As a value in an option of qemu, where a comma ends it."""
    return str(path).replace(",", ",,")
