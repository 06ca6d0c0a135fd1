"""The threads of products (csrc/team), by a program of their own: tests/c/team.c."""

import os
import subprocess
import sys

import children
import compiling
import pytest

SOURCES = [compiling.ROOT / "tests/c/team.c", *sorted(compiling.ROOT.glob("csrc/team/*.c"))]
CPUS = len(os.sched_getaffinity(0))


FLAGS = {"own threads": [], "OpenMP": ["-fopenmp", "-Wl,--no-as-needed"]}  # the second loads the runtime


def compiled(directory, flags):
    return compiling.compile_c(directory / "team", SOURCES, "-pthread", *flags)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("team"), [])


@pytest.fixture(scope="module", params=FLAGS)
def either(request, tmp_path_factory):
    try:
        return compiled(tmp_path_factory.mktemp("team"), FLAGS[request.param])
    except subprocess.CalledProcessError:
        if request.param == "own threads":
            raise
        pytest.skip("the compiler has no OpenMP")


def output(program, what, **environment):
    done = run([program, what], **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def run(command, **settings):
    """With no other settings of OpenMP's."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    return children.run(command, timeout=60, env=others | settings, capture_output=True, text=True)


@pytest.mark.parametrize("policy", ["", "passive", "active"])
@pytest.mark.parametrize("what", ["sizes", "at once", "nested", "forks", "sleeps"])
def test_teams_meet(either, what, policy):
    """Of many sizes, of several callers, within each other, in forked children, and after a sleep."""
    if what == "nested" and "OpenMP" in output(either, "runtime"):
        pytest.skip("teams within parallel regions have one member")
    assert output(either, what, **({"OMP_WAIT_POLICY": policy} if policy else {})) == ["right"]


def test_a_runtime_in_the_process_is_found_and_asked(either, request):
    """Its limit counts in a forked child, too, though its threads are gone there."""
    expected = "OpenMP" if "OpenMP" in request.node.callspec.id else "none"
    assert output(either, "runtime", OMP_NUM_THREADS="4") == [expected, "right"]


with_openmp = pytest.mark.parametrize("either", ["OpenMP"], indirect=True)


@with_openmp
def test_a_library_without_what_is_needed_hides_no_runtime(either, tmp_path):
    """By its name it is one, and it is loaded before."""
    (tmp_path / "empty.c").write_text("int nothing;\n")
    stub = compiling.compile_c(tmp_path / "libgomp-stub.so", [tmp_path / "empty.c"], "-shared", "-fPIC")
    assert output(either, "runtime", LD_PRELOAD=str(stub), OMP_NUM_THREADS="4")[0] == "OpenMP"


@with_openmp
def test_a_library_loaded_in_a_child_leaves_its_parents_runtime_alone(either, tmp_path):
    """Where it would wait for the threads that there were before the fork."""
    library = compiling.compile_c(tmp_path / "team.so", SOURCES[1:], "-pthread", "-shared", "-fPIC")
    done = run([either, "loaded in a child", library])
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


def test_signals_of_the_process_are_not_for_the_pool(program):
    assert output(program, "signals") == ["right"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, CPUS),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": " 5 , 2"}, 5),
        ({"OMP_NUM_THREADS": "2048"}, 2048),
        ({"OMP_NUM_THREADS": "99999999999"}, 2**31 - 1),
        ({"OMP_NUM_THREADS": "0"}, CPUS),
        ({"OMP_NUM_THREADS": "-1"}, CPUS),
        ({"OMP_NUM_THREADS": "3x"}, CPUS),
        ({"OMP_NUM_THREADS": ""}, CPUS),
        ({"OMP_NUM_THREADS": "9", "OMP_THREAD_LIMIT": "4"}, 4),
        ({"OMP_NUM_THREADS": "3", "OMP_THREAD_LIMIT": "4"}, 3),
        ({"OMP_THREAD_LIMIT": "1"}, 1),
    ],
)
def test_how_many_by_openmps_settings(program, settings, expected):
    assert output(program, "available", **settings)[0] == str(expected)


def test_as_many_as_the_process_may_use_cpus(program):
    """Of an affinity that was set before the program began."""
    code = "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "os.execv(sys.argv[1], sys.argv[1:])"
    done = run([sys.executable, "-c", code, program, "available"])
    assert done.stdout.splitlines()[0] == "1", done.stderr
