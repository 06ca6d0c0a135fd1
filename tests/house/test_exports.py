"""The public names of the package, and how lightly it loads."""

import inspect
import sys
from pathlib import Path

import children
import pytest

import amx

# Without what `site` and its hooks load, which belongs to the environment.
LIGHT = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
import amx
print(*sorted(set(sys.modules) - before))
"""
NOT_PYTHONS = {"amx", "numpy", "cffi", "_cffi_backend", "rich", "cpuinfo"}
# Needed once a name is used. typing, which only type checkers read here, took most of the time.
HEAVY = {"collections", "contextlib", "dataclasses", "enum", "functools", "re", "threading", "typing"}


def test_dir_lists_exactly_the_public_names():
    assert dir(amx) == sorted(amx.__all__)


@pytest.mark.parametrize("name", amx.__all__)
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(amx, name)
    assert name == "__version__" or inspect.getdoc(value)


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="no attribute 'tiles_of_gold'"):
        amx.tiles_of_gold  # noqa: B018


def test_import_loads_no_other_module_of_the_package_and_little_of_pythons():
    place = Path(amx.__file__).parents[1]
    light = [sys.executable, "-I", "-S", "-c", LIGHT, place]
    loaded = set(children.run(light, capture_output=True, text=True, check=True).stdout.split())
    assert set() == loaded & HEAVY
    assert {"amx", "amx.version"} == {name for name in loaded if name.partition(".")[0] in NOT_PYTHONS}


PRODUCT = """
import amx, os
assert amx.available() in (True, False)
import numpy as np
c = amx.matmul(np.ones((2, 3), np.int8), np.ones((3, 2), np.int8))
os._exit(0 if c.tolist() == [[3, 3], [3, 3]] else 1)
"""
OPTIONS = [[], ["-I"], ["-O"], ["-OO"], ["-P"], ["-E", "-s"], ["-W", "error"], ["-X", "dev"]]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_it_imports_and_multiplies_under_any_option_of_python(options):
    """Without HOME, PATH or anything else in the environment, and with closed standard streams."""
    python = [sys.executable, *options, "-c", PRODUCT]
    environment = {"AMX_BACKEND": "emulated"}
    done = children.run(python, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    closed = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *python]
    assert children.run(closed, env=environment, check=False).returncode == 0
