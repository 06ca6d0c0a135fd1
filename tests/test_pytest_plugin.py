"""The pytest plugin: lanes, markers, the option, the fixtures, and what it writes into reports."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import amx
from amx.pytest_plugin import lanes

pytest_plugins = ["pytester"]

TESTS = """
    import pytest

    def test_plain():
        pass

    @pytest.mark.amx_native
    def test_native():
        pass

    @pytest.mark.amx_emulated
    def test_emulated():
        pass

    @pytest.mark.amx_feature("bf16")
    def test_bf16():
        pass
"""
# In the place of the machine: a conftest.py whose machine is a recorded one.
ON = """
    from pathlib import Path
    from amx import machine, recording
    context = machine.use(recording.load(Path({path!r})))
    context.__enter__()
"""
LIGHT = """
import pytest, sys
before = set(sys.modules)
import amx.pytest_plugin
heavy = {"numpy", "amx._native", "rich", "cpuinfo", "_cffi_backend"} & (set(sys.modules) - before)
assert not heavy, heavy
"""


@pytest.fixture
def on(pytester, monkeypatch):
    """Run TESTS on a recorded machine: `on(name, *arguments)`."""
    import machines

    monkeypatch.delenv("AMX_BACKEND", raising=False)
    pytester.makepyfile(TESTS)

    def run(name, *arguments):
        pytester.makeconftest(ON.format(path=str(machines.DIRECTORY / f"{name}.json")))
        return pytester.runpytest_subprocess("-rs", "-p", "no:cacheprovider", *arguments)

    return run


@pytest.mark.parametrize(
    ("name", "header", "passed", "skipped"),
    [
        ("sapphire-rapids", "amx: native lane", 3, 1),
        ("zen5-kvm", "amx: no lane (The processor has no AMX. *)", 1, 3),
        ("emulator", "amx: emulated lane (Tiles execute although *)", 3, 1),
        ("seccomp-lies", "amx: no lane (*a seccomp filter returns 0 in the kernel's place. *)", 1, 3),
    ],
)
def test_the_lane_is_in_the_header_and_what_it_lacks_is_skipped(on, name, header, passed, skipped):
    result = on(name)
    result.stdout.fnmatch_lines([header])
    result.assert_outcomes(passed=passed, skipped=skipped)


def test_amx_backend_emulated_is_the_emulated_lane(on, monkeypatch):
    monkeypatch.setenv("AMX_BACKEND", "emulated")
    result = on("zen5-kvm")
    result.stdout.fnmatch_lines(["amx: emulated lane (The processor has no AMX.*"])
    result.assert_outcomes(passed=3, skipped=1)


def test_a_machine_that_cannot_be_read_breaks_no_run(pytester):
    pytester.makepyfile(TESTS)
    pytester.makeconftest("""
        import amx.diagnosis
        def explain(**asked):
            raise amx.errors.AmxUnavailableError("clone failed", cause="not permitted")
        amx.diagnosis.explain = explain
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["amx: no lane (clone failed. Not permitted)"])
    result.assert_outcomes(passed=1, skipped=3)


def test_skips_say_why(on):
    result = on("zen5-kvm")
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED*AMX of this machine cannot be used: The processor has no AMX. Use *",
            "SKIPPED*no emulator runs the tiles of this process*",
            "SKIPPED*neither AMX of this machine nor an emulator can be used: *",
        ]
    )


@pytest.mark.parametrize(
    ("name", "lane", "status"),
    [
        ("sapphire-rapids", "native", 0),
        ("sapphire-rapids", "any", 0),
        ("sapphire-rapids", "emulated", 1),
        ("emulator", "emulated", 0),
        ("emulator", "any", 0),
        ("emulator", "native", 1),
        ("zen5-kvm", "native", 1),
        ("zen5-kvm", "any", 1),
    ],
)
def test_a_required_lane_that_is_missing_fails_the_run(on, name, lane, status):
    result = on(name, f"--amx-require={lane}")
    assert result.ret == status
    if status:
        result.stdout.fnmatch_lines([f"*--amx-require={lane}: *"])
        assert "passed" not in result.stdout.str()


def test_a_required_lane_that_is_missing_fails_the_run_under_xdist(on):
    assert on("zen5-kvm", "--amx-require=native", "-n2").ret == 1


def test_a_feature_the_cpu_lacks_is_skipped_and_not_required(on, pytester):
    pytester.makepyfile(
        test_fp16="import pytest\n@pytest.mark.amx_feature('amx_fp16')\ndef test_fp16(): pass\n"
    )
    result = on("sapphire-rapids", "--amx-require=native", "-k", "fp16")
    result.assert_outcomes(skipped=1, deselected=4)
    assert result.ret == 0


def test_a_feature_that_does_not_exist_is_an_error(on, pytester):
    pytester.makepyfile(test_f="import pytest\n@pytest.mark.amx_feature('bf17')\ndef test_f(): pass\n")
    on("sapphire-rapids", "-k", "test_f").assert_outcomes(errors=1, deselected=4)


def properties(pytester):
    tree = ElementTree.parse(pytester.path / "junit.xml")
    of_suite = {
        each.get("name"): each.get("value") for each in tree.findall("./testsuite/properties/property")
    }
    of_tests = {
        case.get("name"): {
            each.get("name"): each.get("value") for each in case.findall("./properties/property")
        }
        for case in tree.iter("testcase")
    }
    return of_suite, of_tests


def test_the_lane_is_in_the_junit_file(on, pytester):
    on("sapphire-rapids", "--junitxml=junit.xml", "-o", "junit_family=xunit1")
    of_suite, of_tests = properties(pytester)
    assert of_suite["amx_lane"] == "native"
    assert of_tests["test_native"] == {"amx_lane": "native"}
    assert of_tests["test_plain"] == {}


def test_the_lane_is_in_the_junit_file_of_workers_too(on, pytester):
    on("zen5-kvm", "--junitxml=junit.xml", "-n2")
    assert properties(pytester)[1]["test_bf16"] == {"amx_lane": "none"}


def test_the_markers_are_registered(on):
    assert on("zen5-kvm", "--strict-markers").ret == 0
    on("zen5-kvm", "--markers").stdout.fnmatch_lines(["@pytest.mark.amx_feature(name): *"])


def test_a_child_gets_its_arguments_and_shows_how_it_ended(amx_child):
    child = amx_child("import sys; print(sys.argv[1:]); sys.stderr.write('e'); sys.exit(3)", 1, "b")
    assert (child.status, child.signal, child.output, child.errors) == (3, None, "['1', 'b']\n", "e")


def test_a_child_that_is_killed_names_the_signal(amx_child):
    child = amx_child("import os; os.kill(os.getpid(), 11)")
    assert (child.status, child.signal.name) == (None, "SIGSEGV")


def test_a_function_runs_in_a_child(amx_child):
    def show():
        import os

        print(os.getpid())

    child = amx_child(show)
    assert child.status == 0, child.errors
    import os

    assert int(child.output) != os.getpid()


@pytest.mark.skipif(not amx.available(), reason="a child's permission can only be read where AMX is")
def test_a_child_has_no_permission_and_the_other_has_it(amx_child, amx_child_with_permission):
    code = "import amx; print(amx.permission.granted())"
    assert amx_child(code).output == "False\n"
    assert amx_child_with_permission(code).output == "True\n"


def test_a_child_with_permission_skips_where_there_is_none(pytester, on):
    pytester.makepyfile(test_child="def test_child(amx_child_with_permission): assert False\n")
    on("zen5-kvm", "-k", "test_child").assert_outcomes(skipped=1, deselected=4)


def test_a_child_that_hangs_fails_the_test(pytester):
    pytester.makepyfile("def test_hangs(amx_child): amx_child('import time; time.sleep(99)', timeout=0.5)")
    result = pytester.runpytest_subprocess()
    result.stdout.fnmatch_lines(["*the child has not ended after 0.5 s*"])
    result.assert_outcomes(failed=1)


def test_the_example_of_the_documentation(pytester):
    """It passes where there is AMX and is skipped elsewhere."""
    text = (Path(__file__).parent.parent / "docs" / "conformance.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    pytester.makepyfile(example)
    native = "native" in lanes()
    pytester.runpytest_subprocess().assert_outcomes(passed=int(native), skipped=int(not native))


def test_the_plugin_is_light():
    """It is imported in every run of pytest where the package is installed."""
    child = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
