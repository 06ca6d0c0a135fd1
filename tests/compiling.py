"""Test-only C, compiled on the fly with $CC or cc against the sources in csrc/."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EMULATOR = sorted(ROOT.glob("csrc/emulator/*.c"))
TRAP = sorted(
    source
    for folder in ("trap", "trap/code", "trap/trace")  # as csrc/CMakeLists.txt has it
    for source in ROOT.glob(f"csrc/{folder}/*.c")
    if source.name != "stub.c"
)
TRAP += [source for source in EMULATOR if source.name != "binding.c"]
# Errors in ci/matrix only: what a later compiler warns of is no reason to fail on a user's machine.
WARNINGS = ["-Wall", "-Wextra", *(["-Werror"] if os.environ.get("AMX_WERROR") == "ON" else [])]


def compiler():
    """The C compiler as a list of words; skips the test where there is none."""
    words = shlex.split(os.environ.get("CC", "cc"))
    if not words or shutil.which(words[0]) is None:
        pytest.skip(f"no C compiler at CC={shlex.join(words)}")
    return words


def compile_c(output, sources, *flags):
    """Compile and link."""
    command = [
        *compiler(), "-std=gnu11", "-O2", *WARNINGS, "-ffp-contract=off",
        f"-I{ROOT}/csrc", f"-I{ROOT}/tests/c", *flags, *map(str, sources), "-o", str(output),
        "-lpthread", "-ldl",
    ]  # fmt: skip
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return output
