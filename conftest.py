"""Skip markers and the lane fixture for the project's own tests."""

import contextlib
import os
import time

import children
import compiling
import pytest
import vector_family

import amx
from amx.pytest_plugin import reason_against

# Threads of products that wait leave the CPU to other tests at once.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_configure(config):
    """All processes of a run share what they compile, and multiply by the family that was asked for."""
    shared = contextlib.ExitStack()
    shared.enter_context(compiling.objects_of_this_run())
    config.add_cleanup(shared.close)
    vector_family.select(os.environ.get(vector_family.FAMILY))


def pytest_collection_modifyitems(config, items):
    """What may request permission runs in a session of its own, which test_native_lane.py starts."""
    if "AMX_TEST_LANE" not in os.environ:
        outside = [item for item in items if item.get_closest_marker("in_lane")]
        config.hook.pytest_deselected(items=outside)
        items[:] = [item for item in items if not item.get_closest_marker("in_lane")]


def pytest_runtest_setup(item):
    if item.get_closest_marker("native") and reason_against("native"):
        pytest.skip(reason_against("native"))


@pytest.fixture(autouse=True)
def no_child_outlives_its_test():
    """Also where the test fails or runs out of time."""
    yield
    children.end_all()


def pytest_generate_tests(metafunc):
    """Tests of products run on every engine, with kernels of the other families in ci/matrix or at once."""
    if "backend" in metafunc.fixturenames:
        later = [] if metafunc.definition.get_closest_marker("every_family") else [pytest.mark.matrix]
        families = [pytest.param(f"vector-{name}", marks=later) for name in vector_family.others()]
        in_vectors = [] if metafunc.definition.get_closest_marker("of_tiles") else ["vector", *families]
        native = pytest.param("native", marks=pytest.mark.in_lane)
        metafunc.parametrize("backend", ["emulated", *in_vectors, native], indirect=True)


@pytest.fixture
def backend(request):
    """The backend by name, set for this test; afterwards again what AMX_BACKEND says."""
    name, _, family = request.param.partition("-")
    with vector_family.selected(family):
        amx.set_backend(name)
        yield name
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))


@pytest.fixture
def rng():
    """Random numbers; AMX_SEED repeats a run."""
    import numpy as np

    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    return np.random.default_rng(seed)
