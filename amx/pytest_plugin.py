"""pytest plugin `amx`: tests that need AMX are skipped where it is not, or fail where it is required.

Markers: `amx_native` (AMX of this machine), `amx_emulated` (tiles that an emulator runs, or
AMX_BACKEND=emulated or vector, under which `amx.TileContext` is on the software tile machine),
`amx_feature("bf16")` (a lane, and this part of AMX in it).
`--amx-require=native|emulated|any` ends the run at once, with status 1, where that lane is missing. Fixtures
`amx_child` and `amx_child_with_permission` run Python in a freshly exec'd interpreter, for what must not
happen in the process of the tests.

Loaded in every run of pytest where the package is installed: it imports nothing heavy, and looks at the
machine, says or records something only where a test or the command line uses one of these names. A project
that has a marker, option or fixture of such a name itself owns it: the plugin leaves it alone, and says so.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

__all__ = ["Child", "RunChild", "lanes", "option", "reason_against", "reason_against_feature"]

TIMEOUT = 60.0  # seconds, of a child
ENTRY_POINT = "amx"  # the plugin's name where pytest loads it by itself, before the project's conftest.py
MARKERS = {
    "amx_native": "amx_native: needs AMX of this machine that this process may use",
    "amx_emulated": "amx_emulated: needs an emulator that runs tiles, or AMX_BACKEND=emulated or vector",
    "amx_feature": 'amx_feature(name): needs a part of AMX, for example "bf16", in the lane there is',
}
OPTIONS: dict[str, dict[str, Any]] = {
    "--amx-require": {
        "choices": ("native", "emulated", "any"),
        "help": "fail at once where this lane is missing, instead of skipping what needs it",
    },
    "--amx-optional": {
        "action": "store_true",
        "help": "run the optional checks of amx.conformance too",
    },
}
_OPTIONS = pytest.StashKey[frozenset[str]]()  # those that are ours
PROPERTY = "amx_lane"
FIXTURE_OF_A_LANE = "amx_child_with_permission"
CONFORMANCE = "amx.conformance"
WITH_PERMISSION = "import amx\namx.request()\ndel amx\n"


@dataclass(frozen=True, slots=True)
class Child:
    """How a child ended: its exit status or the signal that killed it, and what it wrote.

    `signal` is of signal.Signals where it has a name there. What of `output` and `errors` is no text in the
    encoding of the locale is there as escapes.
    """

    status: int | None
    signal: int | None
    output: str
    errors: str


RunChild = Callable[..., Child]


@functools.cache
def _found() -> tuple[frozenset[str], str]:
    """The lanes there are, and why there is no native one."""
    from amx.diagnosis import explain
    from amx.errors import AmxError
    from amx.lane import Lane, lane_of

    try:
        diagnosis = explain(probe=True)
    except AmxError as error:  # a sandbox without fork: no reason to break a run that may not need AMX
        return frozenset(), str(error)
    lane = lane_of(diagnosis)
    there = set()
    if lane is Lane.NATIVE and diagnosis.usable:
        there.add("native")
    if lane is Lane.EMULATED or _tiles_are_software():
        there.add("emulated")
    if diagnosis.cause:
        return frozenset(there), f"{diagnosis.cause.words}. {diagnosis.remedy}."
    return frozenset(there), "" if "native" in there else "An emulator runs the tiles."


def _tiles_are_software() -> bool:
    """Whether AMX_BACKEND gives `amx.TileContext` to the software tile machine."""
    return os.environ.get("AMX_BACKEND") in ("emulated", "vector")


def lanes() -> frozenset[str]:
    """The lanes of this process: of "native" and "emulated" both, one or none. Probes in child processes."""
    return _found()[0]


def reason_against(lane: str) -> str:
    """Why there is no such lane ("native", "emulated", or "any"), empty where there is."""
    there, why = _found()
    if lane in there or (lane == "any" and there):
        return ""
    if lane == "any":
        return f"neither AMX of this machine nor an emulator can be used: {why}"
    if lane == "emulated":
        return "no emulator runs the tiles of this process, and AMX_BACKEND is not emulated or vector"
    return f"AMX of this machine cannot be used: {why}"


def reason_against_feature(name: str) -> str:
    """Why no lane has a part of AMX ("bf16", "amx_fp16"), empty where one has.

    Raises
    ------
    ValueError: there is no such part of AMX.
    """
    from amx import cpu, diagnosis
    from amx.backend import Group

    feature = diagnosis.feature_named(name)
    if not lanes():
        return reason_against("any")
    offered = set(cpu.features())
    if _tiles_are_software():  # whatever CPUID announces
        offered |= {cpu.Feature.AMX_TILE, *(diagnosis.feature_named(group.value) for group in Group)}
    return "" if feature in offered else f"{feature} is not announced here ({feature.where})"


def option(config: pytest.Config, name: str) -> Any:
    """The value of an option of this plugin; None where it was not given, or the project owns the name."""
    return config.getoption(name) if name in config.stash.get(_OPTIONS, ()) else None


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options, unless `pytest_load_initial_conftests` will."""
    if pluginmanager.get_name(sys.modules[__name__]) != ENTRY_POINT:
        _add_options(parser, pluginmanager.get_plugin("pytestconfig"))


@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Iterator[None]:
    """Add the options after the project's own, which have precedence: a name twice would end the run."""
    paths = early_config.known_args_namespace.file_or_dir
    for word, value in itertools.pairwise(args):
        if word in OPTIONS and value in OPTIONS[word].get("choices", ()) and value in paths:
            paths.remove(value)  # not a path, as it seems before the option is there
    yield
    if _OPTIONS not in early_config.stash:
        _add_options(parser, early_config)


def _add_options(parser: pytest.Parser, config: pytest.Config | None) -> None:
    added = set()
    for name, settings in OPTIONS.items():
        try:
            is_free = name in parser.parse_known_and_unknown_args([name])[1]
        except pytest.UsageError:  # it wants a value
            is_free = False
        if is_free:
            parser.getgroup("amx", "Intel AMX").addoption(name, **settings)
            added.add(name)
    if config is not None:
        config.stash[_OPTIONS] = frozenset(added)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that the project has not registered itself, and look for a JUnit file."""
    for name in _markers(config):
        config.addinivalue_line("markers", MARKERS[name])
    for plugin in config.pluginmanager.get_plugins():
        # What the fixture record_testsuite_property calls; of the class: a mock and a proxy have everything.
        if hasattr(type(plugin), "add_global_property"):
            config.pluginmanager.register(_InJunit(plugin.add_global_property))


def _markers(config: pytest.Config) -> list[str]:
    """The markers that are ours: those that nobody else has registered."""
    registered = [
        line.split(":")[0].split("(")[0].strip()
        for line in config.getini("markers")
        if line not in MARKERS.values()
    ]
    return [name for name in MARKERS if name not in registered]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The lane where an option asks for it, and which names are the project's."""
    lines = [_lane_line()] if any(option(config, name) for name in OPTIONS) else []
    theirs = [name for name in OPTIONS if name not in config.stash.get(_OPTIONS, OPTIONS)]
    theirs += [name for name in MARKERS if name not in _markers(config)]
    if theirs:
        lines.append(
            f"amx: {', '.join(theirs)}: this project's own here, not of linux-amx's pytest plugin (-p no:amx "
            "turns that off)"
        )
    return lines


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """The lane, or why there is none, where a test depends on it and the header has not said it."""
    if any(option(config, name) for name in OPTIONS) or not any(map(_concerns, items)):
        return []
    return [_lane_line()]


def _lane_line() -> str:
    why = _found()[1].rstrip(".")
    return f"amx: {_lane() or 'no'} lane{f' ({why})' if why else ''}"


def _lane() -> str:
    return " and ".join(sorted(lanes()))


def _concerns(item: pytest.Item) -> bool:
    """Whether the lane matters to a test."""
    return (
        bool(_markers_of(item))
        or FIXTURE_OF_A_LANE in getattr(item, "fixturenames", ())
        or getattr(getattr(item, "module", None), "__package__", None) == CONFORMANCE
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """End the run where the required lane is missing."""
    required = option(session.config, "--amx-require")
    reason = reason_against(required) if required else ""
    if reason:
        pytest.exit(f"--amx-require={required}: {reason}", returncode=pytest.ExitCode.TESTS_FAILED)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """End the run where a marker says what it cannot mean, before any test is run or deselected.

    A worker of pytest-xdist cannot end the run: there these tests have an error, and the others run.
    """
    if hasattr(config, "workerinput"):
        return
    wrong = [f"{item.nodeid}: {problem}" for item in items for problem in _misuses(item)]
    if wrong:
        raise pytest.UsageError("\n".join(wrong))


def _misuses(item: pytest.Item) -> Iterator[str]:
    for marker in _markers_of(item):
        try:
            _needs(marker)
        except (TypeError, ValueError) as error:
            yield f"@pytest.mark.{marker.name}: {error}"


def _markers_of(item: pytest.Item) -> list[pytest.Mark]:
    found = [marker for marker in item.iter_markers() if marker.name in MARKERS]
    ours = _markers(item.config) if found else ()
    return [marker for marker in found if marker.name in ours]


def _needs(marker: pytest.Mark) -> list[str]:
    """The features that a marker names.

    Raises
    ------
    TypeError, ValueError: it has other arguments than it takes, or names no feature of AMX.
    """
    from amx import diagnosis

    if marker.name != "amx_feature":
        if marker.args or marker.kwargs:
            raise TypeError("takes no arguments")
        return []
    others = [key for key in marker.kwargs if key != "name"]
    if others:
        raise TypeError(f"takes no argument {others[0]!r}, only the name of a feature")
    names = [*marker.args, *marker.kwargs.values()]
    if not names:
        raise TypeError('names no feature: write @pytest.mark.amx_feature("bf16")')
    return [diagnosis.feature_named(name).value for name in names]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here, and say in the reports on which lane the rest does.

    By pytest's own marker, which pytest looks at after this: so that the reports name the test's line.
    """
    markers = _markers_of(item)
    if not markers:
        return
    for problem in _misuses(item):
        pytest.fail(problem, pytrace=False)
    item.user_properties.append((PROPERTY, _lane() or "none"))
    for lane in ("native", "emulated"):
        if any(marker.name == f"amx_{lane}" for marker in markers) and reason_against(lane):
            item.add_marker(pytest.mark.skip(reason=reason_against(lane)))
            return
    for name in itertools.chain.from_iterable(map(_needs, markers)):
        if reason_against_feature(name):
            item.add_marker(pytest.mark.skip(reason=reason_against_feature(name)))
            return


class _InJunit:
    """Makes the lane a property of the suite as soon as a test has it, in whichever worker that ran."""

    def __init__(self, add: Callable[[str, object], None]) -> None:
        self._add = add
        self._is_known = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY and not self._is_known:
                self._is_known = True
                self._add(name, value)


@pytest.fixture
def amx_child() -> RunChild:
    """Run Python in a fresh interpreter without permission: `amx_child(code_or_function, *arguments)`.

    A function must stand by itself: its source is run, then it is called. `sys.argv[1:]` are the
    arguments, as text. The result is a `Child`; a child that does not end in time is a failure.
    """
    return _run_child


@pytest.fixture
def amx_child_with_permission() -> RunChild:
    """As `amx_child`, after a request for permission; skips where AMX of this machine cannot be used."""
    if reason_against("native"):
        pytest.skip(reason_against("native"))
    return functools.partial(_run_child, prelude=WITH_PERMISSION)


def _run_child(
    code: str | Callable[[], object], *arguments: object, prelude: str = "", timeout: float = TIMEOUT
) -> Child:
    from amx import lifetime

    if callable(code):
        code = f"{textwrap.dedent(inspect.getsource(code))}\n{code.__name__}()\n"
    command = [sys.executable, "-c", prelude + textwrap.dedent(code), *map(str, arguments)]
    try:
        done = lifetime.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout,
            errors="backslashreplace",
        )
    except subprocess.TimeoutExpired as expired:
        pytest.fail(f"the child has not ended after {timeout} s; it wrote {expired.output!r}")
    killed = done.returncode < 0
    return Child(
        status=None if killed else done.returncode,
        signal=_named(-done.returncode) if killed else None,
        output=done.stdout,
        errors=done.stderr,
    )


def _named(number: int) -> int:
    try:
        return signal.Signals(number)
    except ValueError:  # a real-time signal
        return number
