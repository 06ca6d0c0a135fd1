"""pytest plugin `amx`: tests that need AMX are skipped where it is not, or fail where it is required.

Markers: `amx_native` (AMX of this machine), `amx_emulated` (tiles that an emulator runs, or
AMX_BACKEND=emulated), `amx_feature("bf16")` (a lane, and this part of AMX in it).
`--amx-require=native|emulated|any` ends the run at once, with status 1, where that lane is missing. Fixtures
`amx_child` and `amx_child_with_permission` run Python in a freshly exec'd interpreter, for what must not
happen in the process of the tests.

Loaded in every run of pytest where the package is installed: it imports nothing heavy before it is needed.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import pytest

__all__ = ["Child", "RunChild", "lanes", "reason_against", "reason_against_feature"]

TIMEOUT = 60.0  # seconds, of a child
MARKERS = (
    "amx_native: needs AMX of this machine that this process may use",
    "amx_emulated: needs an emulator that runs tiles, or AMX_BACKEND=emulated",
    'amx_feature(name): needs a part of AMX, for example "bf16", in the lane there is',
)
WITH_PERMISSION = "import amx\namx.request()\ndel amx\n"


@dataclass(frozen=True, slots=True)
class Child:
    """How a child ended: its exit status or the signal that killed it, and what it wrote."""

    status: int | None
    signal: signal.Signals | None
    output: str
    errors: str


RunChild = Callable[..., Child]


@functools.cache
def _found() -> tuple[frozenset[str], str]:
    """The lanes there are, and why there is no native one."""
    from amx.conformance.lane import Lane, lane_of
    from amx.diagnosis import explain
    from amx.errors import AmxError

    try:
        diagnosis = explain(probe=True)
    except AmxError as error:  # a sandbox without fork: no reason to break a run that may not need AMX
        return frozenset(), str(error)
    lane = lane_of(diagnosis)
    there = set()
    if lane is Lane.NATIVE and diagnosis.usable:
        there.add("native")
    if lane is Lane.EMULATED or os.environ.get("AMX_BACKEND") == "emulated":
        there.add("emulated")
    if diagnosis.cause:
        return frozenset(there), f"{diagnosis.cause.words}. {diagnosis.remedy}."
    return frozenset(there), "" if "native" in there else "An emulator runs the tiles."


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
        return "no emulator runs the tiles of this process, and AMX_BACKEND is not emulated"
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
    if os.environ.get("AMX_BACKEND") == "emulated":  # the software tile machine, whatever CPUID announces
        offered |= {cpu.Feature.AMX_TILE, *(diagnosis.feature_named(group.value) for group in Group)}
    return "" if feature in offered else f"{feature} is not announced here ({feature.where})"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("amx", "Intel AMX")
    group.addoption(
        "--amx-require",
        choices=("native", "emulated", "any"),
        help="fail at once where this lane is missing, instead of skipping what needs it",
    )
    group.addoption(
        "--amx-optional",
        action="store_true",
        help="run the optional checks of amx.conformance too",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_report_header() -> str:
    """The lane, or why there is none."""
    return f"amx: {' and '.join(sorted(lanes())) or 'no'} lane{_because()}"


def _because() -> str:
    why = _found()[1]
    return f" ({why.rstrip('.')})" if why else ""


def pytest_sessionstart(session: pytest.Session) -> None:
    """End the run where the required lane is missing."""
    required = session.config.getoption("--amx-require")
    reason = reason_against(required) if required else ""
    if reason:
        pytest.exit(f"--amx-require={required}: {reason}", returncode=pytest.ExitCode.TESTS_FAILED)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here, and say in the reports on which lane the rest does."""
    needed = [lane for lane in ("native", "emulated") if item.get_closest_marker(f"amx_{lane}")]
    features = [name for marker in item.iter_markers("amx_feature") for name in marker.args]
    if not needed and not features:
        return
    item.user_properties.append(("amx_lane", " ".join(sorted(lanes())) or "none"))
    for lane in needed:
        if reason_against(lane):
            pytest.skip(reason_against(lane))
    for name in features:
        if reason_against_feature(name):
            pytest.skip(reason_against_feature(name))


@pytest.fixture(scope="session", autouse=True)
def _amx_lane_in_junit(record_testsuite_property: Callable[[str, object], None]) -> None:
    """The lane as a property of the suite in --junitxml; pytest-xdist has only those of the tests."""
    record_testsuite_property("amx_lane", " ".join(sorted(lanes())) or "none")


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
    if callable(code):
        code = f"{textwrap.dedent(inspect.getsource(code))}\n{code.__name__}()\n"
    command = [sys.executable, "-c", prelude + textwrap.dedent(code), *map(str, arguments)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as expired:
        pytest.fail(f"the child has not ended after {timeout} s; it wrote {expired.output!r}")
    killed = done.returncode < 0
    return Child(
        status=None if killed else done.returncode,
        signal=signal.Signals(-done.returncode) if killed else None,
        output=done.stdout,
        errors=done.stderr,
    )
