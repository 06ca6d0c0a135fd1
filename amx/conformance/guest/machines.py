"""What guests run in: QEMU, by KVM where that works and else by itself, or a command of the user's."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

from amx import foreign_file
from amx.conformance.guest.boot import CONSOLE, KILLED, NEVER, PORT, Boot, Guest, run
from amx.errors import GuestError
from amx.printable import printable

__all__ = ["Settings", "boot", "check"]

QEMU = "qemu-system-x86_64"
SILENCE = 10.0  # seconds; by KVM a kernel is at its first process in two
KVM, STANDSTILL = "/dev/kvm", b"KVM internal error"
# Where boot protocol 2.00 and newer has its mark (Documentation/arch/x86/boot.rst).
MARK, MARK_AT, ENTRY = b"HdrS", 0x202, 0x1FE
PLACE = re.compile(r"\{(kernel|initrd|append|console)\}")
INITRD = "initrd"

Progress = tuple[Callable[[str], None], Callable[[], None]]
_broken_kvm: list[str] = []  # why it is not tried again


@dataclass(frozen=True, slots=True)
class Settings:
    """How a guest is run.

    accel: QEMU's, "kvm" or "tcg"; without one that which works.
    cpu, smp, memory (MiB): as QEMU takes them; without a CPU all that the emulator or the host has.
    append: for the kernel's command line, behind what is there. timeout: seconds for all of it.
    fault, model: of amx-provoke. runner: a command in the place of QEMU; none: QEMU.
    """

    accel: str = ""
    cpu: str = ""
    smp: int = 1
    memory: int = 512
    append: str = ""
    timeout: float = 120.0
    fault: str = ""
    model: bool = False
    runner: str | None = None


def boot(kernel: str, initramfs: bytes, settings: Settings, progress: Progress) -> Boot:
    """Boot a kernel with an initramfs, and wait until its guest has ended.

    Raises
    ------
    GuestError: it cannot be booted here.
    """
    check(kernel, settings)
    with tempfile.TemporaryDirectory(prefix="amx-boot-") as directory:
        initrd = os.path.join(directory, INITRD)
        _write(initrd, initramfs)
        if settings.runner is not None:
            guest = _of_runner(os.path.abspath(kernel), initrd, os.path.join(directory, "log"), settings)
            return run(guest, settings.timeout, *progress)
        return _by_qemu(os.path.abspath(kernel), directory, settings, progress)


def _write(path: str, content: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        raise GuestError(
            f"{printable(path)} cannot be written",
            cause=error.strerror or str(error),
            remedy="Set TMPDIR to a directory with room for the initramfs and what the guest says",
            errno=error.errno,
        ) from None


def check(kernel: str, settings: Settings) -> None:
    """Refuse what cannot be booted, before the first one is.

    Raises
    ------
    GuestError: this one.
    """
    if settings.runner is not None:
        _readable(kernel).close()
        _words(settings.runner)
        return
    _bootable(kernel)
    if shutil.which(QEMU) is None:
        raise GuestError(
            f"{QEMU} is not installed",
            cause="--boot runs the kernel in it",
            remedy="Install it (Debian, Ubuntu: apt install qemu-system-x86; Fedora: dnf install "
            "qemu-system-x86-core), or name another emulator by --runner",
        )


def _readable(kernel: str) -> foreign_file.ForeignFile:
    try:
        return foreign_file.opened(kernel)
    except OSError as error:
        raise GuestError(
            f"{printable(kernel)} cannot be booted", cause=error.strerror or str(error)
        ) from None


def _bootable(kernel: str) -> None:
    """Whether QEMU's own loader takes it."""
    with _readable(kernel) as file:
        head = file.read(0, MARK_AT + len(MARK))
    if head[MARK_AT:] == MARK and head[ENTRY : ENTRY + 2] == b"\x55\xaa":
        return
    if head.startswith(b"\x7fELF"):
        cause = "It is an ELF file (vmlinux?), which QEMU boots only by an entry for PVH"
    else:
        cause = "It has no header of a bzImage"
    raise GuestError(
        f"{printable(kernel)} is no bzImage",
        cause=cause,
        remedy="Pass arch/x86/boot/bzImage of a built kernel, or a distribution's /boot/vmlinuz-*",
    )


def _command_line(settings: Settings, *more: str) -> str:
    words = ["console=ttyS0", "panic=-1", *more]
    if settings.fault:
        words.append(f"amx.fault={settings.fault}")
    if settings.model:
        words.append("amx.model=1")
    return " ".join([*words, *([settings.append] if settings.append else [])])


def _words(runner: str) -> list[str]:
    try:
        words = shlex.split(runner)
    except ValueError as error:
        raise GuestError(f"--runner {printable(runner)} is no command", cause=str(error)) from None
    if not words:
        raise GuestError(
            "--runner is empty", remedy="Name a command, with {kernel}, {initrd} and {append} in it"
        )
    if not any("{kernel}" in word for word in words):
        raise GuestError(
            f"--runner {printable(runner)} has no {{kernel}} in it",
            cause="It would boot another one",
            remedy="Write {kernel}, {initrd} and {append} where the command takes these",
        )
    if shutil.which(words[0]) is None:
        raise GuestError(f"--runner: there is no program {printable(words[0])}")
    return words


def _of_runner(kernel: str, initrd: str, log: str, settings: Settings) -> Guest:
    words = _words(settings.runner or "")
    values = {"kernel": kernel, "initrd": initrd, "append": _command_line(settings), "console": log}
    command = [PLACE.sub(lambda found: values[found[1]], word) for word in words]
    has_file = any("{console}" in word for word in words)
    return Guest(tuple(command), printable(words[0]), reaped=True, files={CONSOLE: log} if has_file else {})


def _by_qemu(kernel: str, directory: str, settings: Settings, progress: Progress) -> Boot:
    """By KVM; where that does not get as far as the first process, by QEMU's own translation (TCG)."""
    if settings.accel:
        return _started(run(_qemu(kernel, directory, settings, settings.accel), settings.timeout, *progress))
    if not _broken_kvm and (why := _no_kvm()):
        _broken_kvm.append(why)
    if not _broken_kvm:
        booted = run(_qemu(kernel, directory, settings, "kvm", SILENCE), settings.timeout, *progress)
        why = _refusal_of_kvm(booted)
        if not why:
            return booted
        _broken_kvm.append(why)
        for name in (CONSOLE, PORT):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, name))
    booted = _started(run(_qemu(kernel, directory, settings, "tcg"), settings.timeout, *progress))
    return replace(booted, notes=(f"not by KVM: {_broken_kvm[0]}",))


def _started(booted: Boot) -> Boot:
    """The same, unless QEMU has refused what it was asked for: that says nothing about the kernel."""
    if any(booted.logs.values()) or booted.status in ("exit 0", KILLED):
        return booted
    raise GuestError(
        f"{booted.by} ended with {booted.status} before the guest said a word",
        cause=booted.messages[-1] if booted.messages else "It does not say why",
        remedy="Ask for another --cpu, --smp, --memory or --accel, or leave them to it",
    )


def _no_kvm() -> str:
    if os.access(KVM, os.R_OK | os.W_OK):
        return ""
    return f"{KVM} may not be used by this user" if os.path.exists(KVM) else f"there is no {KVM}"


def _refusal_of_kvm(booted: Boot) -> str:
    """Why a boot by KVM says nothing about the kernel; empty where it does."""
    if booted.has_begun:
        return ""
    last = booted.messages[-1] if booted.messages else ""
    if booted.status not in ("exit 0", KILLED):
        return f"QEMU ended with {booted.status}{last and f' ({last})'}"
    if booted.said_standstill:
        return f"QEMU said {STANDSTILL.decode()}"
    return f"the guest stood still for {SILENCE:g} s while it booted" if booted.was_silent else ""


def _qemu(
    kernel: str, directory: str, settings: Settings, accel: str, silence: float = float("inf")
) -> Guest:
    """Two serial ports: the kernel writes its messages to one, amx-provoke what it sees to the other."""
    cpu = settings.cpu or ("host" if accel == "kvm" else "max")
    early = "earlyprintk=ttyS0,115200"  # what ends a kernel before it has a console is said, too
    command = (
        *(QEMU, "-accel", accel, "-cpu", cpu),
        *("-smp", str(settings.smp), "-m", str(settings.memory)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-serial", f"file:{CONSOLE}", "-serial", f"file:{PORT}"),
        *("-kernel", kernel, "-initrd", INITRD, "-append", _command_line(settings, early, "amx.port=ttyS1")),
    )
    return Guest(
        command,
        f"QEMU by {accel.upper()}",
        False,
        directory,
        {name: os.path.join(directory, name) for name in (CONSOLE, PORT)},
        silence,
        STANDSTILL if accel == "kvm" else NEVER,
    )
