"""docs/policy.md, pyproject.toml, CITATION.cff, CHANGELOG.md and the package agree on versions."""

import re
import tomllib

import children
import pytest

from amx.version import __version__

SETTINGS = tomllib.loads((children.ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
BUILD = SETTINGS["build-system"]["requires"]
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


def test_the_package_says_the_version_that_it_is_built_as():
    assert PROJECT["version"] == __version__


def test_who_cites_it_cites_the_newest_release_of_the_changelog():
    text = (children.ROOT / "CITATION.cff").read_text()
    changelog = (children.ROOT / "CHANGELOG.md").read_text()
    version, date = re.findall(r"^## \[(\d.*)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)[0]
    assert version == __version__
    assert dict(re.findall(r"^(version|date-released|license): (.*)$", text, re.MULTILINE)) == {
        "version": version,
        "date-released": date,
        "license": PROJECT["license"].removesuffix(" AND CC-BY-4.0"),  # of the digits
    }


def test_the_oldest_that_is_tried_is_the_lowest_that_is_required():
    """Where the lowest has fewer parts than the version that is tried, those are the first of it."""
    recipe = (children.ROOT / "CONTRIBUTING.md").read_text().partition("### A lower bound\n")[2]
    tried = re.findall(r"([\w-]+)==([\d.]+)", recipe.partition("\n### ")[0])
    required = [*BUILD, *PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    lowest = dict(re.match(r"([\w-]+)>=([\d.]+)", each).groups() for each in required)
    assert len(tried) > 10
    assert [each for each in tried if not f"{each[1]}.".startswith(f"{lowest[each[0]]}.")] == []
