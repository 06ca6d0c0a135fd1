"""The public names of the package, and how lightly it loads."""

import inspect
import sys

import children
import pytest

import amx

LIGHT = """
import sys, time
start = time.perf_counter()
import amx
seconds = time.perf_counter() - start
heavy = {"numpy", "amx._native", "rich", "cpuinfo"} & set(sys.modules)
assert not heavy, heavy
print(f"{seconds * 1e3:.1f} ms")
"""


def test_dir_lists_exactly_the_public_names():
    assert dir(amx) == sorted(amx.__all__)


@pytest.mark.parametrize("name", amx.__all__)
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(amx, name)
    assert name == "__version__" or inspect.getdoc(value)


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="no attribute 'tiles_of_gold'"):
        amx.tiles_of_gold  # noqa: B018


def test_import_loads_neither_numpy_nor_the_compiled_module():
    child = children.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    print("import amx:", child.stdout.strip())
    assert child.returncode == 0, child.stderr


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
