"""The native lane on machines without AMX: the tests of tiles and products, each instruction trapped."""

import os
import re
import subprocess
import sys

import children
import pytest
import trapped_lane

import amx

MODULES = [
    "test_tiles",
    "test_matmul",
    "test_matmul_random",
    "test_guard_pages",
    "test_concurrency",
    "test_peers",
]


@pytest.fixture(scope="module")
def trap(tmp_path_factory):
    """The compiled trap, for children."""
    if amx.available():
        pytest.skip("AMX can be used here, so the native lane runs for real")
    return trapped_lane.build(tmp_path_factory.mktemp("trap"))


@pytest.mark.parametrize("module", MODULES)
def test_native_lane_of(trap, module):
    """Every test of the module that takes a backend passes on the native code, and instructions trapped."""
    result = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "trapped_lane", "-q", "-k", "native", "-m", "not long",
            "-p", "no:cacheprovider", "-p", "no:faulthandler", children.TESTS / f"{module}.py",
        ],
        cwd=children.TESTS.parent,
        env={**os.environ, "PYTHONPATH": str(children.TESTS), trapped_lane.VARIABLE: str(trap)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr
    assert "passed" in result.stdout
    trapped = re.search(r"^(\d+) instructions trapped", result.stdout, re.MULTILINE)
    assert int(trapped[1]) > 0 or module == "test_guard_pages"  # which works in children of its own
    print(result.stdout[-200:])
