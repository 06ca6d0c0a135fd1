"""One guest of ci/zoo as a process of qemu: boots it, compiles for it, ends it at its time limit."""

import os
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from guests import MEMORY_MIB, PROCESSORS, Guest

CHECKOUT = Path(__file__).parents[2]
FACTS = """\
uname -r >/run/host/kernel
nproc >/run/host/processors
grep -m1 ^flags /proc/cpuinfo >/run/host/flags
"""


@dataclass(frozen=True)
class Files:
    """What a kernel package gives: the kernel, and an initramfs with its modules."""

    kernel: Path
    initramfs: Path


def accelerator(guest: Guest, files: Files, folder: Path) -> str:
    """`kvm` where it boots this guest's kernel with this guest's CPU, else `tcg`.

    A device that opens says little: qemu aborts, or nothing ever runs, where KVM is itself emulated; and a CPU may be
    asked for that the host cannot give.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    run(guest, files, folder, "kvm", "exit 0\n", seconds=15)
    return "tcg" if differences(guest, folder) else "kvm"


def differences(guest: Guest, folder: Path) -> str:
    """In what the guest that ran is not the one that was asked for; empty if it is."""
    try:
        kernel = (folder / "kernel").read_text().strip()
        flags = set((folder / "flags").read_text().split())
    except FileNotFoundError:
        return "it did not boot"
    found = [] if kernel.startswith(guest.kernel + ".") else [f"its kernel is {kernel}, not {guest.kernel}"]
    found += [f"its CPU lacks {flag}" for flag in sorted(guest.has - flags)]
    found += [f"its CPU has {flag}" for flag in sorted(guest.lacks & flags)]
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
                _compile(request)
            time.sleep(0.1)
        return True
    finally:
        qemu.kill()
        qemu.wait()


def _qemu(guest: Guest, files: Files, folder: Path, accelerated_by: str) -> list[str]:
    """The command line; the guest dies with this process, whatever that dies of."""
    share = "local,security_model=none,multidevs=remap"
    words = f"""
        setpriv --pdeathsig KILL qemu-system-x86_64 -accel {accelerated_by} -cpu {guest.cpu} -smp {PROCESSORS} -m {MEMORY_MIB}
        -nodefaults -no-user-config -display none -no-reboot -append console=ttyS0\\ panic=-1\\ quiet
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


def _compile(request: Path) -> None:
    """Do what ci/guest/cc asks for, into a file of the shared folder."""
    arguments = [word.decode() for word in request.read_bytes().split(b"\0")[:-1]]
    arguments[arguments.index("-o") + 1] = str(request.with_suffix(".output"))
    with request.with_suffix(".messages").open("w") as messages:
        command = [*shlex.split(os.environ.get("CC", "cc")), *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages, check=False
        )
    request.unlink()
    status = request.with_suffix(".new-status")
    status.write_text(f"{done.returncode}\n")
    status.rename(request.with_suffix(".status"))
