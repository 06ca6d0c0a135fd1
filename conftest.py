"""Skip markers and the lane fixture for the project's own tests."""

import contextlib
import os

import children
import compiling
import pytest

import amx
from amx.pytest_plugin import reason_against

# Threads of products that wait leave the CPU to other tests: those of libgomp else spin while others have it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_configure(config):
    """All processes of a run share what they compile."""
    shared = contextlib.ExitStack()
    shared.enter_context(compiling.objects_of_this_run())
    config.add_cleanup(shared.close)


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


@pytest.fixture(params=["emulated", pytest.param("native", marks=pytest.mark.in_lane)])
def backend(request):
    """The backend by name, set for this test; afterwards again what AMX_BACKEND says."""
    amx.set_backend(request.param)
    yield request.param
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))
