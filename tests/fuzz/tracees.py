"""Programs under `amx emulate --ptrace` that mean harm: they end as without a tracer, and that lives.

Those of `calls` do what the bytes say (tests/c/fuzz_tracee.c); those of `files` are executables of which the
headers are spoiled, the code is not.
"""

import os
import random
import shutil
import signal
import tempfile
from pathlib import Path
from typing import NoReturn

import children
import compiling

from amx import lifetime
from amx.emulation import traced
from amx.errors import EmulationError
from fuzz import changing, elf_files
from fuzz.engine import Fuzzer

NOBODY = 65534
MOST_ACTIONS, KINDS = 10, 22
FAILED = 125  # to start the program, or to trace it
UNDEFINED = 128 + signal.SIGILL  # what the programs of the corpus end of where there is no AMX
_room: list[tempfile.TemporaryDirectory[str]] = []


def prepare() -> None:
    """Compile the program, dynamic and static where that can be."""
    if _room:
        return
    _room.append(tempfile.TemporaryDirectory())
    os.chmod(_room[0].name, 0o755)
    source = compiling.ROOT / "tests/c/fuzz_tracee.c"
    compiling.compile_c(_program(0), [source])
    try:
        compiling.compile_c(_program(1), [source], "-static")
    except Exception:  # no static C library
        shutil.copy(_program(0), _program(1))


def _program(kind: int) -> Path:
    return Path(_room[0].name, ("dynamic", "static")[kind])


def calls(data: bytes) -> None:
    """The program does what the bytes behind the first say; with AMX and traced, and without."""
    words = data[1 : 1 + 2 * MOST_ACTIONS].hex()
    usual = _run(_program(data[:1] > b"\x7f").read_bytes(), ["0", words], is_traced=False)
    found = _run(_program(data[:1] > b"\x7f").read_bytes(), ["1", words], is_traced=True)
    assert found == usual, f"{found}, and without a tracer {usual}"


def files(data: bytes) -> None:
    """An executable, exit status 7."""
    usual, said = _run(data, [], is_traced=False)
    found = _run(data, [], is_traced=True)
    allowed = {usual} if usual != UNDEFINED else set(range(256))
    assert (found[0] in allowed, found[1]) == (True, said), f"{found}, and without a tracer {usual}"


def _run(program: bytes, arguments: list[str], *, is_traced: bool) -> tuple[int, str]:
    """Exit status and what it printed; in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as output:
        path, room, traces = (Path(directory, name) for name in ("program", "room", "traces"))
        path.write_bytes(program)
        for made in (room, traces):
            made.mkdir()
            made.chmod(0o777)
        path.chmod(0o755)
        os.chmod(directory, 0o777)
        parent = os.getpid()
        pid = children.fork()
        if pid == 0:
            _become(parent, path, arguments, room, traces, output.fileno(), is_traced)
        _, status = os.waitpid(pid, 0)
        output.seek(0)
        return _status(status), output.read().decode(errors="replace")


def _become(
    parent: int, path: Path, arguments: list[str], room: Path, traces: Path, output: int, is_traced: bool
) -> NoReturn:
    """In a child: the tracer of the program, or the program, as a user who can do no harm."""
    status = FAILED
    try:
        environment = {"AMX_FUZZ_TRACES": str(traces)}
        os.chdir(room)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            lifetime.tie(parent)  # which the kernel has forgotten
        words = [str(path), *arguments]
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        saved = os.dup(2)
        os.set_inheritable(saved, False)
        os.dup2(output, 1)
        os.closerange(3, saved)
        children.fresh_signals()
        if is_traced:
            ended = traced.run(str(path), words, environment, cpu="spr", trace=str(traces))
            if ended.failure:
                os.write(2, f"the tracer failed: {ended.failure}\n".encode())
            status = ended.status
        else:
            os.execve(path, words, environment)
    except (EmulationError, OSError) as error:
        os.write(2, f"{error}\n".encode())
    finally:
        os._exit(status)


def _status(status: int) -> int:
    """As `amx emulate` has it: 128 + n of signal n. A sanitizer's finding in the tracer is one here."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def change_calls(chance: random.Random, corpus: list[bytes]) -> bytes:
    """Some actions, more often few."""
    if corpus and chance.random() < 0.3:
        return changing.spoil(chance, chance.choice(corpus), corpus)
    return chance.randbytes(1) + chance.randbytes(2 * chance.choice((1, 2, 3, 4, 6, MOST_ACTIONS)))


def change_files(chance: random.Random, corpus: list[bytes]) -> bytes:
    """An executable whose headers say something else; where it begins they tell the truth."""
    data = chance.choice([each for each in corpus if each.startswith(b"\x7fELF") and each[16] == 2])
    entry = range(24, 32)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        changing.set_field(chance, changed, chance.choice(elf_files.fields_of_headers(data)))
    changed[entry.start : entry.stop] = data[entry.start : entry.stop]
    return bytes(changed)


def _plant_status() -> None:
    """A program that a signal ends is said to have ended well."""
    traced._exit_status = os.WEXITSTATUS


CALLS = Fuzzer("tracees", calls, change_calls, prepare, planted={"status": _plant_status})
FILES = Fuzzer("elf-traced", files, change_files, planted={"status": _plant_status})
FUZZERS = [CALLS, FILES]
