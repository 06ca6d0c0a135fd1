"""`amx ci`, action.yml and ci/gitlab.yml: status, lane and summary, in the files of a stand-in workflow."""

import os
import re
import sys
import textwrap
from pathlib import Path

import children
import preloading
import pytest

from amx._lib import lib
from amx.emulation.trace import Trace

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
emulates = pytest.mark.skipif(preloading.SANITIZED, reason="a sanitizer's runtime must be the first library")

ACTION = (children.ROOT / "action.yml").read_text()
GITLAB = (children.ROOT / "ci/gitlab.yml").read_text()
PAGE = (children.ROOT / "docs/ci.md").read_text()
NATIVE, NONE = "sapphire-rapids", "zen5-kvm"  # recorded machines, in whose place the command believes to be
ON_MACHINE = """
import sys
import machines
from amx import cli, machine
with machine.use(machines.load(sys.argv[1])):
    status = cli.main(["ci", *sys.argv[2:]])
sys.exit(status)
"""


class Workflow:
    """The files of a step, what is in them, and the command as such a step runs it."""

    def __init__(self, place):
        self.place = place
        self.environment = {
            "AMX_BACKEND": "",
            "GITHUB_OUTPUT": str(place / "output"),
            "GITHUB_STEP_SUMMARY": str(place / "summary"),
        }

    def run(self, machine, *words, **environment):
        environment = {**self.environment, **environment}
        return children.run_python("-c", ON_MACHINE, machine, *words, **environment)

    def read(self, name):
        path = self.place / name
        return path.read_text() if path.exists() else None


@pytest.fixture
def workflow(tmp_path):
    return Workflow(tmp_path)


def shell(text):
    return ["--", "/bin/sh", "-ec", text]


# ---- the command -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("required", ["any", "native"])
def test_where_there_is_amx_the_program_runs_as_it_is(workflow, required):
    done = workflow.run(
        NATIVE, f"--require={required}", *shell('echo "preloads ${LD_PRELOAD-nothing}"; exit 7')
    )
    assert done.returncode == 7
    assert "AMX is usable" in done.stdout
    assert "lane: native\npreloads " in done.stdout
    assert "amxemu" not in done.stdout
    assert workflow.read("output") == "lane=native\n"
    summary = workflow.read("summary")
    assert summary.startswith("### AMX: native\n")
    assert "| status | 7 ❌ |" in summary
    assert "AMX cannot be used" not in summary


@emulates
@pytest.mark.parametrize(("machine", "required"), [(NONE, "any"), (NONE, "emulated"), (NATIVE, "emulated")])
def test_else_it_runs_emulated(workflow, machine, required):
    python = "import amx; print(amx.explain().emulated)"
    words = [f"--require={required}", "--cpu=gnr", "--", sys.executable, "-c", python]
    done = workflow.run(machine, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("lane: emulated\ngnr, by amx emulate\n")
    assert workflow.read("output") == "lane=emulated\n"
    summary = workflow.read("summary")
    assert summary.startswith("### AMX: emulated (gnr)\n")
    assert "| status | 0 ✅ |" in summary


@emulates
@pytest.mark.parametrize("machine", ["tiles-fault", "seccomp-lies"])
def test_amx_that_is_broken_is_none_for_a_program(workflow, machine):
    """Though the conformance suite would run on it."""
    assert workflow.run(machine, *shell("exit 0")).returncode == 0
    assert workflow.run(machine, "--require=native", *shell("exit 0")).returncode == 125
    assert workflow.read("output") == "lane=emulated\nlane=none\n"


def test_where_tiles_are_emulated_already_the_program_runs_as_it_is(workflow):
    """Under Intel SDE, or within `amx emulate`."""
    trace = workflow.place / "trace.json"
    done = workflow.run("emulator", f"--trace={trace}", *shell('echo "preloads ${LD_PRELOAD-nothing}"'))
    assert done.returncode == 0
    assert "lane: emulated\npreloads " in done.stdout
    assert "amxemu" not in done.stdout
    assert "Nothing was traced: " in workflow.read("summary")
    assert workflow.run("emulator", "--require=native", *shell("exit 0")).returncode == 125


def test_without_the_amx_that_is_required_nothing_runs(workflow):
    done = workflow.run(NONE, "--require=native", *shell(f"touch {workflow.place}/run"))
    assert done.returncode == 125
    assert done.stderr.startswith("amx ci: --require native, so nothing was run. AMX cannot be used here: ")
    assert not (workflow.place / "run").exists()
    assert workflow.read("output") == "lane=none\n"
    summary = workflow.read("summary")
    assert summary.startswith("### AMX: required, and not there: nothing was run\n")
    assert "| status | 125 ❌ |" in summary
    assert "AMX cannot be used here: " in summary


@emulates
@pytest.mark.parametrize("status", [0, 1, 2, 77, 125, 255])
def test_the_status_is_the_commands_own(workflow, status):
    for machine in (NATIVE, NONE):
        assert workflow.run(machine, *shell(f"exit {status}")).returncode == status


@emulates
@pytest.mark.parametrize("machine", [NATIVE, NONE])
def test_a_killed_command_is_128_and_the_signal(workflow, machine):
    assert workflow.run(machine, *shell("kill -TERM $$")).returncode == 128 + 15
    assert "| status | 143 ❌ |" in workflow.read("summary")


def test_what_cannot_be_executed_is_what_shells_have(workflow):
    assert workflow.run(NATIVE, "--", "/no/such/program").returncode == 127
    assert workflow.run(NATIVE, "--", "/").returncode == 126
    assert workflow.read("output") == "lane=native\n" * 2


@pytest.mark.parametrize(
    "words", [[], ["--"], ["--require=silicon", "--", "true"], ["--cpu=z80", "--", "true"]]
)
def test_wrong_usage_is_2_and_leaves_no_file(workflow, words):
    assert workflow.run(NATIVE, *words).returncode == 2
    assert (workflow.read("output"), workflow.read("summary")) == (None, None)


HOSTILE = "printf '%s|' \"a'b\" 'c\"d' `echo e` $(echo f)\nprintf '```\\n| </details> ::error::\\n'\nexit 4"


@emulates
@pytest.mark.parametrize("machine", [NATIVE, NONE])
def test_quotes_and_lines_of_a_command_are_its_own(workflow, machine):
    """And nothing of it comes into the summary, which secrets may be in."""
    done = workflow.run(machine, *shell(HOSTILE))
    assert done.returncode == 4
    assert done.stdout.endswith("\na'b|c\"d|e|f|```\n| </details> ::error::\n")
    assert "::error::" not in workflow.read("summary")
    assert workflow.read("output").count("\n") == 1


def test_a_summary_is_added_to_what_is_there(workflow):
    (workflow.place / "summary").write_text("before\n")
    done = workflow.run(NATIVE, *shell('echo within >>"$GITHUB_STEP_SUMMARY"'))
    assert done.returncode == 0
    assert workflow.read("summary").startswith("before\nwithin\n### AMX: native\n")


@pytest.mark.parametrize("status", [0, 5])
@pytest.mark.parametrize("what", ["directory", "missing", "device", "pipe"])
def test_files_that_cannot_be_written_change_no_status(workflow, what, status):
    place = workflow.place
    os.mkfifo(place / "pipe")
    file = {"directory": place, "missing": place / "no/file", "device": "/dev/full", "pipe": place / "pipe"}[
        what
    ]
    done = workflow.run(NATIVE, *shell(f"exit {status}"), GITHUB_OUTPUT=file, GITHUB_STEP_SUMMARY=file)
    assert done.returncode == status
    lost = [line.partition(" cannot be written into ")[0] for line in done.stderr.splitlines()]
    assert lost == ["amx ci: the lane", "amx ci: the summary"]


def test_without_a_workflow_nothing_is_written(workflow):
    done = workflow.run(NATIVE, *shell("exit 0"), GITHUB_OUTPUT="", GITHUB_STEP_SUMMARY="")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(workflow.place.iterdir()) == []


@emulates
def test_what_was_executed_is_in_the_summary(workflow):
    trace = workflow.place / "trace.json"
    tile = "import amx, numpy; amx.request(); amx.matmul(numpy.ones((3, 4), 'i1'), numpy.ones((4, 5), 'i1'))"
    done = workflow.run(NONE, f"--trace={trace}", "--", sys.executable, "-c", tile)
    assert done.returncode == 0, done.stderr
    assert "tdpbssd" in workflow.read("summary")
    assert trace.exists()


def test_natively_nothing_is_traced_and_that_is_said(workflow):
    trace = workflow.place / "trace.json"
    assert workflow.run(NATIVE, f"--trace={trace}", *shell("exit 0")).returncode == 0
    assert "Nothing was traced: " in workflow.read("summary")
    assert not trace.exists()


@emulates
def test_a_trace_of_an_earlier_run_is_not_taken_for_this_ones(workflow):
    trace = workflow.place / "trace.json"
    trace.write_text(Trace(()).to_json())
    assert workflow.run(NONE, f"--trace={trace}", "--", "/no/such/program").returncode == 127
    assert "Nothing was traced: " in workflow.read("summary")


@emulates
def test_a_trace_that_the_program_spoils_changes_no_status(workflow):
    trace = workflow.place / "trace.json"
    done = workflow.run(NONE, f"--trace={trace}", *shell(f"mkdir {trace}; exit 6"))
    assert done.returncode == 6
    assert "The trace cannot be read: " in workflow.read("summary")


# ---- the workflows that call it ----------------------------------------------------------------------------


def blocks(text):
    """What is behind `run: |` and `- |`, without its indentation."""
    found = re.findall(r"^( *)(?:- )?(?:run: )?\|\n((?:\1 {1,}.*\n|\n)+)", text, re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def names(text, key, depth):
    """The keys one level below a key."""
    _, _, rest = text.partition(f"\n{' ' * depth}{key}:\n")
    section = re.split(rf"^ {{0,{depth}}}\S", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^ {{{depth + 2}}}(\w+):", section, re.MULTILINE)


def test_the_files_have_the_form_that_they_should():
    """There is no parser of YAML among what the tests need."""
    assert re.findall(r"^(\S+):", ACTION, re.MULTILINE) == [
        "name", "description", "author", "inputs", "outputs", "runs",
    ]  # fmt: skip
    for text in (ACTION, GITLAB):
        assert "\t" not in text
        assert all((len(line) - len(line.lstrip())) % 2 == 0 for line in text.splitlines())
    assert len(blocks(ACTION)) == 2
    assert len(blocks(GITLAB)) == 1


def test_every_input_is_documented_and_handed_on_as_a_variable():
    """An expression within a script would be code of whoever fills it in."""
    inputs = names(ACTION, "inputs", 0)
    assert set(inputs) == set(re.findall(r"\$\{\{ inputs\.(\w+) \}\}", ACTION))
    assert all("${{" not in block for block in blocks(ACTION))
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == inputs + names(ACTION, "outputs", 0)
    assert all(f"`{name}`" in PAGE for name in names(GITLAB, "variables", 2))


def pip_stand_in(place, *, is_managed=False):
    """A `python` that notes what pip and venv are asked for, and says whether a distribution manages it."""
    program = place / "bin" / "python"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/bash\n"
        'case "$1 $2" in\n'
        f'"-m pip") printf "%s\\n" "$@" >{place}/pip ;;\n'
        f'"-m venv") printf "%s\\n" "${{@:3}}" >{place}/venv; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;\n'
        f'"-c "*) exit {int(is_managed)} ;;\n'
        "*) exit 9 ;;\n"
        "esac\n"
    )
    program.chmod(0o755)
    return program


def step(block, workflow, **environment):
    """As a runner does it: a file of its own, `bash -eo pipefail`."""
    script = workflow.place / "step.sh"
    script.write_text(block)
    return children.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        env={
            **os.environ,
            **workflow.environment,
            "RUNNER_TEMP": str(workflow.place),
            "GITHUB_ACTION_PATH": str(children.ROOT),
            **environment,
        },
        cwd=workflow.place,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(("version", "what"), [("", str(children.ROOT)), ("0.2.0", "linux-amx==0.2.0")])
def test_the_action_installs_its_checkout_or_a_release(workflow, version, what):
    python = pip_stand_in(workflow.place)
    done = step(blocks(ACTION)[0], workflow, INPUT_VERSION=version, INPUT_PYTHON=str(python))
    assert (done.returncode, done.stderr) == (0, "")
    assert workflow.read("pip").splitlines()[-1] == what
    assert workflow.read("output") == f"python={python}\n"


def test_a_python_that_a_distribution_manages_is_left_alone(workflow):
    """An environment is made beside it, here by a stand-in for venv."""
    place = workflow.place
    python = pip_stand_in(place, is_managed=True)
    done = step(blocks(ACTION)[0], workflow, INPUT_VERSION="", INPUT_PYTHON=str(python))
    assert (done.returncode, done.stderr) == (0, "")
    assert workflow.read("venv") == f"--system-site-packages\n{place}/linux-amx\n"
    assert workflow.read("pip").splitlines()[-1] == str(children.ROOT)
    assert workflow.read("output") == f"python={place}/linux-amx/bin/python\n"


STEP = {"INPUT_REQUIRE": "any", "INPUT_TRACE": "false", "INPUT_CPU": "spr", "INPUT_PYTHON": sys.executable}


@emulates
def test_the_action_runs_its_command(workflow):
    """Emulated, so that it is the same on every machine."""
    inputs = {**STEP, "INPUT_REQUIRE": "emulated", "INPUT_TRACE": "true"}
    done = step(blocks(ACTION)[1], workflow, **inputs, INPUT_RUN=HOSTILE)
    assert done.returncode == 4
    assert done.stdout.endswith("a'b|c\"d|e|f|```\n| </details> ::error::\n")
    trace = workflow.place / "amx-trace.json"
    assert workflow.read("output") == f"trace={trace}\nlane=emulated\n"
    assert trace.exists()
    assert "What of AMX was executed" in workflow.read("summary")


@emulates
def test_the_actions_command_finds_the_python_that_was_asked_for(workflow):
    done = step(blocks(ACTION)[1], workflow, **STEP, INPUT_RUN=f"command -v {Path(sys.executable).name}")
    assert done.stdout.endswith(f"\n{sys.executable}\n")


@emulates
def test_the_action_adds_to_the_verdicts_of_the_conformance_suite(workflow):
    command = f'{sys.executable} -m amx check DISC-01 --markdown "$GITHUB_STEP_SUMMARY"'
    inputs = {**STEP, "INPUT_REQUIRE": "emulated"}
    done = step(blocks(ACTION)[1], workflow, **inputs, INPUT_RUN=command)
    assert done.returncode == 0, done.stdout
    assert workflow.read("summary").startswith("## AMX conformance: ")
    assert "\n### AMX: emulated (spr)\n" in workflow.read("summary")


@pytest.mark.parametrize("wrong", ["INPUT_REQUIRE", "INPUT_TRACE", "INPUT_CPU"])
def test_an_input_that_there_is_not_is_2(workflow, wrong):
    done = step(blocks(ACTION)[1], workflow, **{**STEP, wrong: "$(touch run)"}, INPUT_RUN="touch run")
    assert done.returncode == 2
    assert not (workflow.place / "run").exists()


@emulates
def test_gitlab_runs_its_command(workflow):
    place = workflow.place
    (place / "python3").symlink_to(sys.executable)
    variables = {"AMX_REQUIRE": "emulated", "AMX_TRACE": "true", "AMX_CPU": "gnr", "AMX_RUN": HOSTILE}
    python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = step(blocks(GITLAB)[0], workflow, **variables, PATH=python)
    assert done.returncode == 4, done.stderr
    assert workflow.read("amx.env") == "lane=emulated\n"
    assert workflow.read("amx-summary.md").startswith("### AMX: emulated (gnr)\n")
    assert (place / "amx-trace.json").exists()
