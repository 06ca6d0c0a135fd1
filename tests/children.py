"""Python in a child process, for tests that fork, kill, or change signal dispositions."""

import os
import signal
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def run_python(*arguments, timeout=120, **environment):
    """Run Python with the modules of tests/ importable; in the native lane the child is in the lane too."""
    lane = environment.get("AMX_TEST_LANE", os.environ.get("AMX_TEST_LANE"))
    prefix = ["-m", "native_lane"] if lane else []
    return subprocess.run(
        [sys.executable, *prefix, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(TESTS), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def how_it_ended(result):
    """The name of the signal, or the exit status."""
    return signal.Signals(-result.returncode).name if result.returncode < 0 else result.returncode
