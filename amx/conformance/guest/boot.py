"""Boot a kernel, take what its guest says, and see that nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from amx import foreign_file, lifetime
from amx.conformance import waiting
from amx.conformance.guest import reaper
from amx.conformance.guest.watch import Watch
from amx.errors import GuestError, signal_name
from amx.printable import printable

__all__ = ["CONSOLE", "KILLED", "NEVER", "PORT", "Boot", "Guest", "run"]

CONSOLE, PORT = "console", "port"  # streams of a guest
OUTPUT, MESSAGES = "output", "messages"  # of the command itself
KILLED = "killed"
NEVER = b"\0"  # no message
REAPING = 5.0  # seconds
LINES, LONGEST = 12, 500  # of these and of a console that are shown, and characters of each


@dataclass(frozen=True, slots=True)
class Guest:
    """A command that runs a guest.

    by: what that is, in words. reaped: it is not what runs the guest, but starts that.
    directory: where it is started; none: here.
    files: those that it writes the guest's streams to, by stream; none: the console is its standard output.
    silence: seconds after which a guest that says nothing more, before its first process does, is ended.
    standstill: a message of the command's after which the guest does nothing any more.
    """

    command: tuple[str, ...]
    by: str
    reaped: bool = False
    directory: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    silence: float = float("inf")
    standstill: bytes = NEVER


@dataclass(frozen=True, slots=True)
class Boot:
    """What came of it.

    logs: what was said, by stream; `by`: what the guest ran in.
    stopped: how it ended, where it has not done all and its log does not show it.
    status: of the command, KILLED where it did not end by itself; `messages` are its own last lines.
    has_begun: the first process has spoken. was_silent: it was ended for having said nothing meanwhile.
    said_standstill: the command said that the guest stands still. panic: the kernel's line on one.
    """

    logs: Mapping[str, bytes]
    by: str
    stopped: str
    status: str
    messages: tuple[str, ...]
    has_begun: bool
    was_silent: bool
    said_standstill: bool
    panic: str
    seconds: float
    notes: tuple[str, ...] = ()


def run(
    guest: Guest,
    timeout: float,
    about_to: Callable[[str], None] = lambda id: None,
    ended: Callable[[], None] = lambda: None,
) -> Boot:
    """Run a guest until it ends, or for `timeout` seconds; then neither it nor what it started is left.

    An interrupt ends it, and is raised then. `about_to` is told which check begins, `ended` that one has.

    Raises
    ------
    GuestError: the command cannot be executed.
    """
    watch = Watch(about_to, ended)
    begun = time.monotonic()
    with waiting.interrupts_wait() as interrupted:
        child, streams = _started(guest)

        def is_over() -> bool:
            for name, stream in streams.items():
                some = stream.take()
                if name in (CONSOLE, PORT):
                    watch.take(name, some)
                elif guest.standstill in some:
                    watch.stands_still = True
            endless = any(stream.is_endless for stream in streams.values())
            silent = not watch.has_begun and watch.silence > guest.silence
            late = time.monotonic() - begun > timeout
            return late or endless or silent or watch.stands_still or watch.should_be_gone

        try:
            by_itself = waiting.wait(child.pid, float("inf"), interrupted, (), is_over)
        finally:
            if guest.reaped:
                _let_reap(child)
            waiting.end(child)
        is_over()  # it may have said something before it ended
        seconds = time.monotonic() - begun
        endless = [name for name, stream in streams.items() if stream.is_endless]
        said = {name: stream.end() for name, stream in streams.items()}
    status = _status(child.returncode) if by_itself else KILLED
    messages = _last_lines(said.pop(OUTPUT, b"") + said.pop(MESSAGES))
    stopped = _stopped(guest, watch, status, seconds, timeout, endless, messages)
    return Boot(
        logs=said,
        by=guest.by,
        stopped=stopped,
        status=status,
        messages=messages,
        has_begun=watch.has_begun,
        was_silent=status == KILLED and watch.silence > guest.silence,
        said_standstill=watch.stands_still,
        panic=watch.panic,
        seconds=seconds,
    )


def _stopped(
    guest: Guest,
    watch: Watch,
    status: str,
    seconds: float,
    timeout: float,
    endless: Sequence[str],
    messages: Sequence[str],
) -> str:
    """How a guest ended that has not done all, as far as its log does not show it; else empty."""
    if watch.is_done or watch.panic:
        return ""
    if endless:
        return f"it said more than {waiting.ENDLESS >> 20} MiB ({', '.join(endless)}) and was killed"
    silent = "" if watch.size else " without a word"
    if status == KILLED and seconds > timeout:
        return f"its {timeout:g} s were over{silent} and it was killed; --timeout gives it more"
    if status == KILLED:
        return f"it stood still for {seconds:.0f} s{silent} and was killed"
    if status != "exit 0":
        return f"{guest.by} ended{silent} with {status}{f' ({messages[-1]})' if messages else ''}"
    return f"it ended by itself{silent}: it powered off, rebooted, or its CPU was shut down"


def _let_reap(child: subprocess.Popen[bytes]) -> None:
    """Ask the reaper to end what it has started; it does so at once, unless that cannot be killed."""
    os.kill(child.pid, signal.SIGTERM)  # it has not been waited for, so that it is no other
    waiting.wait(child.pid, REAPING, (), ())


class _Grown:
    """What is written into a file meanwhile."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: foreign_file.ForeignFile | None = None
        self._bytes = bytearray()

    def take(self) -> bytes:
        """What is new."""
        if self._file is None and os.path.exists(self._path):
            self._file = foreign_file.opened(self._path)
        if self._file is None:
            return b""
        some = self._file.read(len(self._bytes), waiting.ENDLESS - len(self._bytes))
        self._bytes += some
        return some

    @property
    def is_endless(self) -> bool:
        """Whether no more is taken."""
        return len(self._bytes) >= waiting.ENDLESS

    def end(self) -> bytes:
        """All that came."""
        self.take()
        if self._file is not None:
            self._file.close()
        return bytes(self._bytes)


_Streams = Mapping[str, waiting.Said | _Grown]


def _started(guest: Guest) -> tuple[subprocess.Popen[bytes], _Streams]:
    """The command, and the streams that it speaks by."""
    try:
        child = subprocess.Popen(
            (sys.executable, "-I", "-S", reaper.__file__, *guest.command) if guest.reaped else guest.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=guest.directory,
            start_new_session=True,
            preexec_fn=lifetime.tied(),
        )
    except OSError as error:
        raise GuestError(
            f"{printable(guest.command[0])} cannot be run",
            cause=error.strerror or str(error),
            errno=error.errno,
        ) from None
    streams: dict[str, waiting.Said | _Grown] = {name: _Grown(path) for name, path in guest.files.items()}
    for pipe, name in ((child.stdout, OUTPUT if guest.files else CONSOLE), (child.stderr, MESSAGES)):
        assert pipe is not None
        streams[name] = waiting.Said(pipe)
    return child, streams


def _status(number: int) -> str:
    return f"exit {number}" if number >= 0 else signal_name(-number)


def _last_lines(text: bytes) -> tuple[str, ...]:
    lines = text[-LINES * LONGEST :].replace(b"\r", b"\n").decode(errors="replace").split("\n")
    return tuple(printable(line)[:LONGEST] for line in lines if line.strip())[-LINES:]
