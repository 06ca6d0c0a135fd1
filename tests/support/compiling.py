"""Test-only C, compiled on the fly with $CC or cc against the sources in csrc/."""

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import children
import pytest

ROOT = Path(__file__).parents[2]
EMULATOR = [source for source in sorted(ROOT.glob("csrc/emulator/*.c")) if source.name != "binding.c"]
TRAP = sorted(
    source
    for source in [*ROOT.glob("csrc/kernel_model/*.c"), *ROOT.glob("csrc/trap/**/*.c")]
    if source.name != "stub.c" and source.parent.name not in ("preload", "ptrace")  # as csrc/CMakeLists.txt
)
TRAP += [*EMULATOR, ROOT / "csrc/machine/stand_in.c"]
_ASKING = ["altstack", "arch_prctl", "auxv", "child", "cpuid", "forked", "stand_in", "traced", "xgetbv"]
PROVOKE = [
    *sorted(ROOT.glob("csrc/provoke/**/*.c")),
    *(ROOT / f"csrc/machine/{name}.c" for name in _ASKING),
    ROOT / "csrc/kernel_model/kernel_model.c",
    *EMULATOR,
]
BASELINE = ["-march=x86-64", "-mno-avx"]  # as csrc/CMakeLists.txt has it for amx-provoke
# Errors in ci/matrix only: what a later compiler warns of is no reason to fail on a user's machine.
WARNINGS = ["-Wall", "-Wextra", *(["-Werror"] if os.environ.get("AMX_WERROR") == "ON" else [])]
FLAGS = ["-std=gnu11", "-O2", *WARNINGS, "-ffp-contract=off", f"-I{ROOT}/csrc", f"-I{ROOT}/tests/c"]
# With these, AVX-512, AVX-VNNI and AVX-VNNI-INT8 are AVX2 and C. -O1: it is long once loops are unrolled.
AVX512_MODEL = [
    f"-I{ROOT}/tests/c/avx512_model",
    "-DAMX_HAS_AVX_VNNI=1",
    "-DAMX_HAS_AVX_VNNI_INT8=1",
    "-Wno-psabi",
    "-O1",
]
# The newest instructions that are used by name, which csrc/CMakeLists.txt asks the assembler about.
NEWEST = {"AMX_HAS_AVX_VNNI": "%{vex%} vpdpbusd", "AMX_HAS_AVX_VNNI_INT8": "vpdpbssd"}
OBJECTS = "AMX_TEST_OBJECTS"


def compiler():
    """The C compiler as a list of words; skips the test where there is none."""
    words = shlex.split(os.environ.get("CC", "cc"))
    if not words or shutil.which(words[0]) is None:
        pytest.skip(f"no C compiler at CC={shlex.join(words)}")
    return words


def newest_instructions():
    """Flags of the compiler that say which of NEWEST there are."""

    def knows(instruction):
        source = f'int main(void) {{ __asm__("{instruction} %%xmm0, %%xmm1, %%xmm2" : :); }}'
        words = [*compiler(), "-x", "c", "-c", "-o", os.devnull, "-"]
        return children.run(words, input=source.encode(), capture_output=True).returncode == 0

    return [f"-D{name}=1" for name, instruction in NEWEST.items() if knows(instruction)]


def compile_c(output, sources, *flags):
    """Compile and link; `sources` may be objects."""
    return link(output, *FLAGS, *flags, *sources)


def link(output, *words):
    run([*words, "-o", output, "-lpthread", "-ldl"])
    return output


def run(words):
    children.run([*compiler(), *map(str, words)], check=True, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def objects_of_this_run():
    """While it lasts, whatever is compiled by `objects` is so once, in this process and its children."""
    if OBJECTS in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as directory:
        os.environ[OBJECTS] = directory
        try:
            yield
        finally:
            del os.environ[OBJECTS]


def objects(sources, *flags):
    """The sources compiled, as objects that programs and shared libraries can be linked of.

    What another process compiles at the moment is left to it, and waited for at the end.
    """
    directory = Path(os.environ[OBJECTS])
    made = {}
    for source in sources:
        words = [*FLAGS, "-fPIC", *flags, "-c", source]
        made[directory / f"{hashlib.sha256(repr((compiler(), words)).encode()).hexdigest()}.o"] = words
    for patience in (fcntl.LOCK_NB, 0):
        for output, words in made.items():
            with (
                output.with_suffix(".lock").open("w") as lock,
                contextlib.suppress(BlockingIOError),
            ):
                fcntl.flock(lock, fcntl.LOCK_EX | patience)
                if not output.exists():
                    unfinished = output.with_suffix(".unfinished")
                    run([*words, "-o", unfinished])
                    unfinished.rename(output)
    return list(made)
