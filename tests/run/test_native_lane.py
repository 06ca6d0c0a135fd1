"""The tests of tiles and products on native code, each module in a session of its own (native_lane.py)."""

import os
import re
import subprocess
import sys

import children
import native_lane
import pytest

import amx

MODULES = [
    "test_tiles",
    "test_matmul",
    "test_matmul_shapes",
    "test_matmul_out",
    "test_matmul_random",
    "test_engines_agree",
    "test_packed",
    "test_long_k",
    "test_interrupts",
    "test_arrays",
    "test_plans",
    "test_guard_pages",
    "test_concurrency",
    "test_peers",
    "test_bench_native",
    "test_lying_objects",
    "test_layer_products",
    "test_linear",
    "test_saving",
]
WORK_IN_CHILDREN = {"test_guard_pages", "test_interrupts"}  # so that nothing traps in the session itself


@pytest.fixture(scope="module")
def lane():
    """The environment of the lane: native where AMX can be used, else trapped."""
    environment = {**os.environ, "PYTHONPATH": str(children.SUPPORT), "AMX_BACKEND": "native"}
    if amx.available():
        return {**environment, native_lane.LANE: "native", "AMX_ASSUME": "fp16"}
    return {**environment, native_lane.LANE: "trapped"}


def run_in(lane, modules, which, timeout):
    result = children.run(
        [
            sys.executable, "-m", "pytest", "-p", "native_lane", "-q", "-m", f"in_lane and {which}",
            "-p", "no:cacheprovider", "-p", "no:faulthandler",
            *(file for module in modules for file in children.ROOT.glob(f"tests/*/{module}.py")),
        ],
        cwd=children.ROOT,
        env=lane,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr
    if re.search(r"^\d+ skipped, \d+ deselected", result.stdout, re.MULTILINE):
        pytest.skip(f"nothing of {modules} can run here: {result.stdout[-500:]}")
    assert "passed" in result.stdout
    emulated = re.search(r"^(\d+) instructions emulated", result.stdout, re.MULTILINE)
    assert (emulated is not None) == (lane[native_lane.LANE] == "trapped")
    assert emulated is None or int(emulated[1]) > 0 or WORK_IN_CHILDREN.issuperset(modules)
    print(lane[native_lane.LANE], result.stdout[-1000:])


@pytest.mark.parametrize("module", MODULES)
def test_native_lane_of(lane, module):
    """Every test of the module that takes a backend passes on native code."""
    run_in(lane, [module], "not long and not matrix", timeout=280)


@pytest.mark.matrix
def test_native_lane_of_the_longer_runs(lane):
    run_in(lane, ["test_matmul", "test_long_k"], "matrix", timeout=280)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("module", ["test_matmul_random", "test_peers"])
def test_native_lane_of_the_long_runs(lane, module):
    """The long tests too, with AMX_SEED to repeat a run."""
    run_in(lane, [module], "long", timeout=None)
