"""Where no file can be written: what needs none works, and what does says so before anything runs.

A limit of 0 bytes on files is that, for every user and on every file system.
"""

import json
import sys

import children
import preloading
import pytest

from amx._lib import lib

pytestmark = [
    pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer"),
    pytest.mark.skipif(preloading.SANITIZED, reason="a sanitizer's runtime must be the first library"),
]

NO_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
AMX = "import sys; from amx import cli; sys.exit(cli.main())"
PRODUCT = """
import sys, amx, numpy as np
a = np.ones((20, 70), np.int8)
assert (amx.matmul(a, a.T) == 70).all() and amx.get_backend() is amx.Backend.NATIVE
sys.exit(7)
"""


def amx(*words, code=NO_FILES + AMX, **environment):
    done = children.run_python("-B", "-c", code, *words, AMX_TEST_LANE="", AMX_BACKEND="", **environment)
    if "could not be traced" in done.stderr:
        pytest.skip(done.stderr)
    return done


@pytest.mark.parametrize(
    "options", [(), ("--no-patch",), ("--ptrace",), ("--ptrace", "--stats")], ids=" ".join
)
def test_a_program_is_emulated(options):
    done = amx("emulate", *options, "--", sys.executable, "-B", "-c", PRODUCT)
    assert done.returncode == 7, done.stderr
    assert done.stderr.count("\n") == 2 * ("--stats" in options)


@pytest.mark.parametrize(
    "options",
    [
        ("--stats",),
        ("--stats-file", "/dev/null"),
        ("--trace", "/dev/null"),
        ("--ptrace", "--trace", "/dev/null"),
    ],
    ids=" ".join,
)
def test_reports_that_need_a_file_are_refused_before_anything_runs(options):
    done = amx("emulate", *options, "--", sys.executable, "-c", "print('it ran')")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (125, "", 1)
    reason = f"{options[-2] if options[-1] == '/dev/null' else options[-1]}: this needs a temporary file"
    assert done.stderr == (
        f"amx: {reason}, and none can be written. No file may be larger than 0 bytes, in whatever directory. "
        "Raise that limit (ulimit -f).\n"
    )


def test_without_a_limit_the_directories_are_named():
    nowhere = "import os, tempfile; tempfile._candidate_tempdir_list = lambda: [os.environ['TMPDIR']]\n"
    done = amx("emulate", "--stats", "--", "true", code=nowhere + AMX, TMPDIR="/nonexistent")
    assert (done.returncode, done.stderr.count("\n")) == (125, 1)
    assert "TMPDIR is '/nonexistent': No usable temporary directory found" in done.stderr
    assert done.stderr.endswith(". Set TMPDIR to a directory that can be written.\n")


def test_emulation_in_the_process_needs_none_and_a_trace_is_refused():
    code = """
import amx, numpy as np
a = np.ones((3, 4), np.int8)
with amx.emulate():
    assert (amx.matmul(a, a.T) == 4).all()
try:
    with amx.emulate(trace="/dev/null"):
        print("it ran")
except amx.AmxError as error:
    print(error)
assert not amx.machine.current().emulated
with amx.emulate():
    assert (amx.matmul(a, a.T) == 4).all()
"""
    done = amx(code=NO_FILES + code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "amx.emulate(trace='/dev/null'): this needs a temporary file, and none can be written."
    )


def test_what_this_machine_can_do_is_told():
    for words in (["info", "--json"], ["explain", "--json"], ["emulate", "--probe", "--json"]):
        assert json.loads(amx(*words).stdout)["schema"] == 1
