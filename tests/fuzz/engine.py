"""Runs a fuzzer: a child tries input after input, and where one ends it, another goes on behind that one.

What an input is depends on the seed, its number and the corpus alone, so that a run can be repeated.
"""

import contextlib
import faulthandler
import hashlib
import itertools
import mmap
import os
import random
import re
import signal
import struct
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import children

CORPUS = Path(__file__).parent / "corpus"
LARGEST = 1 << 20  # bytes of an input
PATIENCE = 120  # seconds for one input, on a machine that does much else besides
MOST_MEMORY = 4 << 30  # bytes, of the child that tries the inputs
LOOK = 0.02  # seconds between two looks at it
TAIL = 6000  # characters of what is shown of its standard error
NUMBER, BUSY = struct.Struct("<Q"), struct.Struct("<QQ")


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Fuzzer:
    """Something that is attacked with inputs.

    Attributes
    ----------
    attack: tries one input; whatever it raises, and whatever ends or hangs the process, is a finding.
    change: makes an input of the corpus.
    prepare: once, before the first child: what takes long.
    enter: in each child: what changes its process.
    planted: faults that `attack` must find, by name; each is put into the child it is called in.
    sanitized: names of those that only a sanitizer sees.
    folder: of its corpus, if not the one of its name.
    """

    name: str
    attack: Callable[[bytes], None]
    change: Callable[[random.Random, list[bytes]], bytes]
    prepare: Callable[[], None] = _nothing
    enter: Callable[[], None] = _nothing
    planted: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    sanitized: frozenset[str] = frozenset()
    folder: Path | None = None

    @property
    def corpus(self) -> list[bytes]:
        """The inputs of its folder, which are also tried as they are."""
        folder = self.folder or CORPUS / self.name.partition("-")[0]
        return [path.read_bytes() for path in sorted(folder.iterdir())]


@dataclass(frozen=True)
class Finding:
    """An input that should not have done what it did; `kind` is the same for what has the same cause."""

    number: int
    kind: str
    data: bytes
    said: str


@dataclass
class Run:
    """What a run of a fuzzer came to: of each kind of finding the first, and how many there were."""

    inputs: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """One more."""
        self.findings.setdefault(finding.kind, finding)
        self.times[finding.kind] = self.times.get(finding.kind, 0) + 1


class _Shared:
    """What child and parent both see: the number of the input that is being tried, and its bytes."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, BUSY.size + LARGEST)

    def begin(self, number: int, data: bytes) -> None:
        self._memory[BUSY.size : BUSY.size + len(data)] = data
        BUSY.pack_into(self._memory, 0, number + 1, len(data))

    @property
    def begun(self) -> int:
        """Numbers below this one have been begun."""
        return int(NUMBER.unpack_from(self._memory)[0])

    @property
    def data(self) -> bytes:
        _, size = BUSY.unpack_from(self._memory)
        return self._memory[BUSY.size : BUSY.size + size]


def inputs(fuzzer: Fuzzer, seed: int, first: int = 0) -> Iterator[tuple[int, bytes]]:
    """The corpus, and then what comes of it, without end; from a number on."""
    corpus = fuzzer.corpus
    for number in itertools.count(first):
        if number < len(corpus):
            yield number, corpus[number]
        else:
            chance = random.Random(f"{seed} {fuzzer.name} {number}")
            yield number, fuzzer.change(chance, corpus)[:LARGEST]


def run(
    fuzzer: Fuzzer, seed: int, *, seconds: float = float("inf"), count: int | None = None, plant: str = ""
) -> Run:
    """Try inputs for some time, or so many; with a planted fault until one does harm only with that."""
    fuzzer.prepare()
    result, end = Run(), time.monotonic() + seconds
    while time.monotonic() < end and (count is None or result.inputs < count):
        if plant and result.findings:
            break
        source = itertools.islice(
            inputs(fuzzer, seed, result.inputs), None if count is None else count - result.inputs
        )
        result.inputs, finding = _one_child(fuzzer, source, result.inputs, end, plant)
        if finding is not None and not (plant and repeat(fuzzer, finding.data)):
            result.add(finding)
    return result


def repeat(fuzzer: Fuzzer, data: bytes) -> Finding | None:
    """Try one input."""
    fuzzer.prepare()
    return _one_child(fuzzer, iter([(0, data)]), 0, float("inf"), "")[1]


def keep(fuzzer: Fuzzer, finding: Finding, folder: Path) -> Path:
    """Write a found input to where `--repeat` knows by the folder whose it is."""
    path = folder / fuzzer.name / hashlib.sha256(finding.data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(finding.data)
    return path


def _one_child(
    fuzzer: Fuzzer, source: Iterator[tuple[int, bytes]], first: int, end: float, plant: str
) -> tuple[int, Finding | None]:
    """The number of the next input, and what this child found."""
    shared = _Shared()
    shared.begin(first - 1, b"")
    with tempfile.TemporaryFile() as errors:
        pid = children.fork()
        if pid == 0:
            _try(fuzzer, source, shared, end, plant, errors.fileno())
        how = _watch(pid, shared)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if not how:
        return shared.begun, None
    begun = max(
        shared.begun, first + 1
    )  # one that did not come to begin an input has none the less had its turn
    return begun, Finding(begun - 1, kind_of(how, said), shared.data, f"{_gist(said)}\n{how}")


def _try(
    fuzzer: Fuzzer, source: Iterator[tuple[int, bytes]], shared: _Shared, end: float, plant: str, errors: int
) -> None:
    """In the child, which does not return."""
    status = 1
    try:
        faulthandler.disable()
        os.setsid()
        os.dup2(errors, 2)
        fuzzer.enter()
        if plant:
            fuzzer.planted[plant]()
        for number, data in source:
            if time.monotonic() >= end:
                break
            shared.begin(number, data)
            fuzzer.attack(data)
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(status)


def _watch(pid: int, shared: _Shared) -> str:
    """Wait for the child; how it ended if it should not have, else empty."""
    begun, since = shared.begun, time.monotonic()
    how = ""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if shared.begun != begun:
            begun, since = shared.begun, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            how = f"no end within {PATIENCE} s"
        elif _resident(pid) > MOST_MEMORY:
            how = f"more than {MOST_MEMORY >> 20} MiB of memory"
        if how:
            _kill(pid)
            os.waitpid(pid, 0)
            return how
        time.sleep(LOOK)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # what it left of its group
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"status {os.WEXITSTATUS(status)}" if status else ""


def _gist(said: str) -> str:
    """Without the memory that a sanitizer shows."""
    return said.partition("\nShadow bytes")[0][-TAIL:]


def _kill(pid: int) -> None:
    """The session that `_try` made, as a group."""
    for kill in (os.killpg, os.kill):  # the latter where it has not come to that
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * mmap.PAGESIZE
    except (OSError, IndexError):
        return 0


def kind_of(how: str, said: str) -> str:
    """A line that names the cause, of how the child ended and what it said."""
    if found := re.search(r"^(\S+?):(\d+):\d+: runtime error: (.*)$", said, re.M):
        return f"{Path(found[1]).name}:{found[2]}: {found[3]}"
    if found := re.search(r"AddressSanitizer: ([\w-]+)", said):
        frames = re.findall(r"^ +#\d+ \S+ in (\S+) \S*/csrc/\S*?([\w.]+:\d+)", said, re.M)
        return f"{found[1]} in {frames[0][1]} {frames[0][0]}" if frames else found[1]
    _, begun, trace = said.rpartition("Traceback (most recent call last)")
    if not begun:
        return how
    last = trace.rstrip().splitlines()[-1]
    frames = re.findall(r'File ".*/(amx/\S*\.py)", line \d+, in (\S+)', trace)
    if last.startswith("AssertionError") or not frames:
        return last[:100]
    return f"{last.partition(':')[0]} in {frames[-1][0]} {frames[-1][1]}"
