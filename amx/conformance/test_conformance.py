"""Each check of the catalogue as a test: `pytest --pyargs amx.conformance`, `-k PERM`, `-k ALT-03`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amx.conformance import environment
from amx.conformance.check import Check, Verdict
from amx.conformance.environment import Environment
from amx.conformance.groups import checks
from amx.conformance.report import junit, words
from amx.conformance.runner import Runner
from amx.conformance.selection import select
from amx.conformance.verdict import Result
from amx.pytest_plugin import option


@pytest.fixture(scope="session")
def place() -> Environment:
    """Where this is: read once in each worker."""
    return environment.read()


@pytest.fixture(scope="session")
def runner(place: Environment, request: pytest.FixtureRequest) -> Runner:
    """The runner, which remembers what it has run. `--amx-optional` asks for all optional checks."""
    optional = bool(option(request.config, "--amx-optional"))
    return Runner(place, asked=select([], optional=optional).asked)


@pytest.fixture
def result(
    check: Check, runner: Runner, place: Environment, record_property: Callable[[str, object], None]
) -> Result:
    """The result. An error of the harness is raised here, where pytest reports an error and no failure."""
    made = runner.result(check)
    for name, value in junit.properties(made, place):
        record_property(name, value)
    if made.verdict is Verdict.ERROR:
        pytest.fail("\n".join(words.explanation(made, place.upstream)), pytrace=False)
    return made


@pytest.mark.parametrize("check", [pytest.param(check, id=check.id) for check in checks()])
def test_conformance(check: Check, result: Result, place: Environment) -> None:
    """The claim of the check holds, as far as it can be judged here."""
    if result.verdict is Verdict.SKIP:
        pytest.skip(result.reason)
    if result.verdict is Verdict.FAIL:
        pytest.fail("\n".join(words.explanation(result, place.upstream)), pytrace=False)
