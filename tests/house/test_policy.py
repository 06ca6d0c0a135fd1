"""docs/policy.md, CITATION.cff and the package agree on versions."""

import re
import tomllib

import children
import pytest

from amx.version import __version__

PROJECT = tomllib.loads((children.ROOT / "pyproject.toml").read_text())["project"]
PAGE = (children.ROOT / "docs/policy.md").read_text()
ROWS = dict(re.findall(r"^\| ([\w-]+)[^|]*\| ([\d.]+) \|", PAGE, re.MULTILINE))
REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(each for extra in ("torch", "jax", "ml-dtypes") for each in PROJECT["optional-dependencies"][extra]),
]


def test_the_lowest_python_is_the_projects():
    assert PROJECT["requires-python"] == f">={ROWS['Python']}"


@pytest.mark.parametrize("name", ["NumPy", "cffi", "torch", "JAX", "ml-dtypes"])
def test_the_lowest_version_is_the_projects(name):
    assert f"{name.lower()}>={ROWS[name]}" in REQUIREMENTS


def test_who_cites_it_cites_this_release():
    text = (children.ROOT / "CITATION.cff").read_text()
    assert dict(re.findall(r"^(version|license): (.*)$", text, re.MULTILINE)) == {
        "version": __version__,
        "license": PROJECT["license"],
    }
