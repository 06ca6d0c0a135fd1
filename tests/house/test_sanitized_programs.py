"""Programs built with AddressSanitizer, which takes signals and, for leaks, traces its own process."""

import os
import shlex
import subprocess
import sys

import children
import pytest
from preloading import SANITIZED, compile_program, run

from amx._lib import lib

pytestmark = [
    pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer"),
    pytest.mark.skipif(SANITIZED, reason="this Python runs under a sanitizer itself"),
]
AMX = [sys.executable, "-c", "import sys; from amx.cli import main; sys.exit(main())"]


def found_by_the_loader():
    """Where clang has its runtime as a library, which is no place of the system's."""
    ask = [*shlex.split(os.environ.get("CC", "cc")), "-print-file-name=libclang_rt.asan-x86_64.so"]
    library = children.run(ask, capture_output=True, text=True).stdout.strip()
    return [f"-Wl,-rpath,{os.path.dirname(library)}"] if "/" in library else []


@pytest.fixture(scope="module", params=["dynamic", "static"])
def sanitized(request, tmp_path_factory):
    """The program, with the sanitizer's runtime as a library or in itself; as gcc and clang name that."""
    output = tmp_path_factory.mktemp("sanitized") / "sanitized"
    flags = {"dynamic": ["-shared-libasan", *found_by_the_loader()], "static": ["-static-libasan"]}[
        request.param
    ]
    for chosen in (flags, []):
        try:
            return compile_program("sanitized.c", output, "-g", "-fsanitize=address", *chosen)
        except subprocess.CalledProcessError:
            continue
    pytest.skip("the compiler has no AddressSanitizer")


def emulated(program, way, directory, *arguments):
    """As docs/emulation.md advises; leaks are another matter: looking for them takes ptrace."""
    options = {
        name: value for name, value in os.environ.items() if name not in ("ASAN_OPTIONS", "LSAN_OPTIONS")
    }
    if way == "traced":
        command = [*AMX, "emulate", "--ptrace", "--", program, *arguments]
        return children.run(list(map(str, command)), env=options, capture_output=True, text=True, timeout=60)
    asan = "verify_asan_link_order=0:detect_leaks=0"
    return run([program, *arguments], directory, ASAN_OPTIONS=asan)


@pytest.mark.parametrize("way", ["preloaded", "traced"])
def test_it_runs(sanitized, tmp_path, way):
    result = emulated(sanitized, way, tmp_path)
    assert (result.returncode, result.stdout) == (0, "used\n"), result.stderr


@pytest.mark.parametrize(
    ("wrong", "said"), [("overflow", "heap-buffer-overflow"), ("null", "SEGV on unknown")]
)
@pytest.mark.parametrize("way", ["preloaded", "traced"])
def test_it_reports_what_it_would_report(sanitized, tmp_path, way, wrong, said):
    result = emulated(sanitized, way, tmp_path, wrong)
    assert (result.returncode, result.stdout) == (1, "used\n"), result.stderr
    assert f"AddressSanitizer: {said}" in result.stderr


def test_leaks_are_reported_under_preloading(sanitized, tmp_path):
    """By the tracing that a sandbox may forbid, of which the sanitizer dies with or without emulation."""
    result = run([sanitized, "leak"], tmp_path, ASAN_OPTIONS="verify_asan_link_order=0")
    assert result.stdout == "used\n"
    assert result.returncode != 0
    assert "detected memory leaks" in result.stderr or "does not work under ptrace" in result.stderr
