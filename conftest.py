"""Skip markers and the lane fixture for the project's own tests."""

import os

import pytest

import amx


def pytest_runtest_setup(item):
    if item.get_closest_marker("native") and not amx.available():
        pytest.skip(f"AMX cannot be used here: {amx.explain().cause}")


@pytest.fixture(params=["emulated", pytest.param("native", marks=pytest.mark.native)])
def backend(request):
    """The backend by name, set for this test; afterwards again what AMX_BACKEND says."""
    amx.set_backend(request.param)
    yield request.param
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))
