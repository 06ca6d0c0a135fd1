"""The pytest plugin: lanes, markers, the option, the fixtures, and what it writes into reports."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import children
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


@pytest.mark.parametrize("mode", ["emulated", "vector"])
def test_amx_backend_without_amx_is_the_emulated_lane(on, monkeypatch, mode):
    """Tiles are the software tile machine's under both."""
    monkeypatch.setenv("AMX_BACKEND", mode)
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


def test_skips_name_the_line_of_the_test_and_say_why(on):
    result = on("zen5-kvm")
    lines = [line for line in result.stdout.lines if line.startswith("SKIPPED")]
    assert len(lines) == 3
    assert all("pytest_plugin.py" not in line for line in lines)
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


@pytest.mark.parametrize("arguments", ["'amx_fp16'", "name='fp16'", "name='AMX_FP16'", "'bf16', 'fp16'"])
def test_a_feature_may_be_given_by_keyword_and_in_any_spelling(on, pytester, arguments):
    """On a processor that has BF16, and no FP16."""
    code = f"import pytest\n@pytest.mark.amx_feature({arguments})\ndef test_fp16(): assert False\n"
    pytester.makepyfile(test_fp16=code)
    on("sapphire-rapids", "-k", "fp16").assert_outcomes(skipped=1, deselected=4)


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("amx_feature", "names no feature"),
        ("amx_feature()", "names no feature"),
        ("amx_feature('bf17')", "unknown AMX feature 'bf17'"),
        ("amx_feature(name='bf17')", "unknown AMX feature 'bf17'"),
        ("amx_feature(name=None)", "unknown AMX feature None"),
        ("amx_feature('bf16', 'bf17')", "unknown AMX feature 'bf17'"),
        ("amx_feature(feature='bf16')", "takes no argument 'feature'"),
        ("amx_native('bf16')", "takes no arguments"),
        ("amx_emulated(reason='no hardware')", "takes no arguments"),
    ],
)
@pytest.mark.parametrize("where", ["function", "class", "module"])
def test_a_marker_that_cannot_mean_anything_is_a_usage_error(pytester, marker, words, where):
    """Before any test runs, and also where that test would not be selected."""
    marks = {
        "function": f"@pytest.mark.{marker}\ndef test_f(): pass\n",
        "class": f"@pytest.mark.{marker}\nclass TestC:\n    def test_f(self): pass\n",
        "module": f"pytestmark = pytest.mark.{marker}\ndef test_f(): pass\n",
    }
    pytester.makepyfile(test_f=f"import pytest\n{marks[where]}def test_other(): pass\n")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "other")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (name,) = re.findall(r"^\w+", marker)
    result.stderr.fnmatch_lines([f"ERROR: test_f.py::*test_f: @pytest.mark.{name}: *{words}*"])
    assert "passed" not in result.stdout.str()


def test_a_marker_that_cannot_mean_anything_is_an_error_in_a_worker(pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.amx_feature\ndef test_f(): pass\ndef test_g(): pass\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n2")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*@pytest.mark.amx_feature: names no feature: *"])


# ---- projects that have nothing to do with AMX ------------------------------------------------------------

PLAIN = """
    import pytest

    @pytest.fixture(params=[1, 2])
    def number(request):
        return request.param

    def test_number(number):
        assert number

    class TestClass:
        @pytest.mark.skip(reason="no")
        def test_skipped(self):
            pass
"""
# At the end of a run, in the process that ran the tests: what the plugin has set in motion.
UNTOUCHED = """
    import sys

    def pytest_sessionfinish(session):
        from amx import pytest_plugin
        assert session.config.pluginmanager.has_plugin("amx")
        assert pytest_plugin._found.cache_info().currsize == 0
        heavy = {"numpy", "rich", "amx._native", "amx.diagnosis", "amx.machine"} & set(sys.modules)
        assert not heavy, heavy
        print("nothing was touched")
"""


def lines_of(result):
    """What a run has said, without its times and the list of plugins."""
    text = re.sub(r" in [\d.]+s", "", result.stdout.str())
    return [line for line in text.splitlines() if not line.startswith(("plugins:", "generated xml file"))]


@pytest.mark.parametrize("arguments", [(), ("-n2",), ("-v", "--setup-show"), ("--collect-only",), ("-q",)])
def test_a_project_without_amx_sees_nothing_of_the_plugin(pytester, arguments):
    """Neither a line, nor a fixture, nor a property; no machine is looked at, and nothing heavy loaded."""
    pytester.makepyfile(PLAIN)
    pytester.makeconftest(UNTOUCHED)
    common = ("-p", "no:cacheprovider", "--strict-markers", "--junitxml=junit.xml", *arguments)
    result = pytester.runpytest_subprocess(*common)
    assert result.ret == 0, result.stdout.str()
    if "-n2" not in arguments:
        result.stdout.fnmatch_lines(["*nothing was touched"])
    assert "<propert" not in (pytester.path / "junit.xml").read_text()
    pytester.makeconftest("")
    with_it, without = (pytester.runpytest_subprocess(*common, *more) for more in ((), ("-p", "no:amx")))
    if "-n2" not in arguments:  # workers report in any order
        assert lines_of(with_it) == lines_of(without)
    assert with_it.parseoutcomes() == without.parseoutcomes()


def built_in_plugins(config):
    """Those of pytest that can be turned off."""
    from _pytest.config import default_plugins, essential_plugins

    return [name for name in default_plugins if name not in essential_plugins]


def test_every_plugin_of_pytest_can_be_turned_off(pytester, pytestconfig, monkeypatch):
    """A run without it goes as it goes without ours; a test with a marker is skipped or run as ever."""
    monkeypatch.delenv("AMX_BACKEND", raising=False)
    pytester.makepyfile(test_marked=TESTS, test_plain="def test_plain(): pass")
    names = built_in_plugins(pytestconfig)
    assert {"junitxml", "terminal", "capture", "skipping"} <= set(names)
    for name in names:
        less = ("-p", f"no:{name}", "-p", "no:cacheprovider")
        with_it, without = (
            pytester.runpytest_inprocess(*less, *more, "test_plain.py") for more in ((), ("-p", "no:amx"))
        )
        assert with_it.ret == without.ret, name
        assert lines_of(with_it) == lines_of(without), name
        assert pytester.runpytest_inprocess(*less, "test_marked.py").ret == with_it.ret, name


OWN = """
    import pytest

    def pytest_addoption(parser):
        parser.addoption("--amx-require", metavar="BOARD", help="a board of ours")
        parser.addoption("--amx-optional", action="store_true", help="also boards that may be missing")

    def pytest_configure(config):
        config.addinivalue_line("markers", "amx_feature(number): the feature of a board")
        config.addinivalue_line("markers", "amx_native: runs on the board")

    @pytest.fixture
    def amx_child():
        return "a child of ours"
"""
USES_OWN = """
    import pytest

    @pytest.mark.amx_native
    @pytest.mark.amx_feature
    @pytest.mark.amx_feature(7, on="board")
    def test_own(amx_child, pytestconfig):
        assert amx_child == "a child of ours"
        assert pytestconfig.getoption("--amx-require") == "7"
        assert pytestconfig.getoption("--amx-optional") is True
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_a_project_owns_the_names_that_it_defines_itself(on, pytester, workers):
    """On a machine where our markers would skip, and our option end the run; and it says whose they are."""
    pytester.makepyfile(test_own=USES_OWN)
    options = ("--amx-require=7", "--amx-optional", "--strict-markers", *workers)
    pytester.makeconftest(OWN)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options, "test_own.py")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["amx: --amx-require, --amx-optional, amx_native, amx_feature: this project's own *-p no:amx*"]
    )


def test_a_marker_in_the_projects_settings_is_the_projects(pytester, monkeypatch):
    monkeypatch.delenv("AMX_BACKEND", raising=False)
    pytester.makeini("[pytest]\nmarkers =\n    amx_emulated(board): runs on a simulator of ours\n")
    pytester.makepyfile("import pytest\n@pytest.mark.amx_emulated('x')\ndef test_f(): pass\n")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--strict-markers")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["amx: amx_emulated: this project's own *"])
    markers = pytester.runpytest_inprocess("--markers").stdout.str()
    assert markers.count("@pytest.mark.amx_emulated") == 1


def test_the_value_of_the_option_is_no_path(on, pytester):
    """Where it stands apart; a conftest.py that is found by testpaths has its options."""
    pytester.makeini("[pytest]\ntestpaths = inner\n")
    inner = pytester.mkdir("inner")
    (inner / "conftest.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--of-inner', action='store_true')\n"
    )
    (inner / "test_inner.py").write_text("def test_inner(): pass\n")
    result = on("sapphire-rapids", "--amx-require", "native", "--of-inner")
    result.assert_outcomes(passed=1)
    assert result.ret == 0


@pytest.mark.parametrize("how", ["-p", "conftest"])
def test_the_options_are_there_where_plugins_are_not_loaded_by_themselves(pytester, monkeypatch, how):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(PLAIN)
    if how == "conftest":
        pytester.makeconftest("pytest_plugins = ['amx.pytest_plugin']")
    plugins = ("-p", "amx.pytest_plugin") if how == "-p" else ()
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *plugins, "--amx-optional")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["amx: * lane*"])


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


def test_a_plugin_that_has_everything_is_no_junit_file(pytester, monkeypatch):
    """A stand-in that a project registers, whose every attribute is there and cannot be called."""
    monkeypatch.setenv("AMX_BACKEND", "emulated")
    pytester.makeconftest("""
        class StandIn:
            def __getattr__(self, name):
                if name.startswith("__"):
                    raise AttributeError(name)
                return 0

        def pytest_configure(config):
            config.pluginmanager.register(StandIn(), "stand-in")
    """)
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-k", "test_emulated or test_plain")
    assert done.ret == 0


def test_the_markers_are_registered(on):
    assert on("zen5-kvm", "--strict-markers").ret == 0
    on("zen5-kvm", "--markers").stdout.fnmatch_lines(["@pytest.mark.amx_feature(name): *"])


def test_a_child_gets_its_arguments_and_shows_how_it_ended(amx_child):
    child = amx_child("import sys; print(sys.argv[1:]); sys.stderr.write('e'); sys.exit(3)", 1, "b")
    assert (child.status, child.signal, child.output, child.errors) == (3, None, "['1', 'b']\n", "e")


def test_a_child_that_is_killed_names_the_signal(amx_child):
    child = amx_child("import os; os.kill(os.getpid(), 11)")
    assert (child.status, child.signal.name) == (None, "SIGSEGV")


def test_a_child_that_is_killed_by_a_signal_without_a_name_has_its_number(amx_child):
    """Of the real-time signals only the first and the last have names."""
    child = amx_child("import os; os.kill(os.getpid(), 40)")
    assert (child.status, child.signal) == (None, 40)


def test_a_child_may_write_what_is_no_text(amx_child):
    child = amx_child("import os; os.write(1, b'a\\xffb'); os.write(2, b'\\xfe')")
    assert (child.status, child.output, child.errors) == (0, "a\\xffb", "\\xfe")


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
    text = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
    (example,) = re.findall(r"```{code-block} python\n:caption: \S+\n(.*?)```", text, re.DOTALL)
    pytester.makepyfile(example)
    native = "native" in lanes()
    pytester.runpytest_subprocess().assert_outcomes(passed=int(native), skipped=int(not native))


def test_the_plugin_is_light():
    """It is imported in every run of pytest where the package is installed."""
    child = children.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
