"""`amx info --nfd`: labels that Kubernetes takes, of any machine, and of no emulated one."""

import json
import re

import children
import machines
import pytest

from amx import cli, machine, recording
from amx._lib import lib

NAMESPACE = "feature.node.kubernetes.io/"
# What Kubernetes allows (Labels and Selectors, Syntax and character set).
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
PAGE = (children.ROOT / "docs/fleets.md").read_text()


def written(capsys, facts, *words):
    """The labels, by name without what all begin with; a comment comes first."""
    with machine.use(facts):
        assert cli.main(["info", "--nfd", *words]) == 0
    comment, *lines = capsys.readouterr().out.splitlines()
    assert comment.startswith("# amx info --nfd")
    labels = dict(line.split("=") for line in lines)
    assert all(name.startswith(f"{NAMESPACE}amx.") for name in labels)
    return {name.removeprefix(f"{NAMESPACE}amx."): value for name, value in labels.items()}


@pytest.mark.parametrize("name", machines.NAMES)
def test_every_machine_has_labels_that_kubernetes_takes(capsys, name):
    labels = written(capsys, machines.load(name))
    assert {"usable", "lane", "permission"} <= set(labels)
    assert all(LABEL.fullmatch(f"amx.{label}") for label in labels)
    assert all(LABEL.fullmatch(value) for value in labels.values())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sapphire-rapids", {"usable": "true", "lane": "native", "permission": "granted"}),
        ("permission-granted", {"usable": "true", "permission": "granted"}),
        ("seccomp-eperm-request", {"usable": "false", "cause": "SECCOMP_EPERM", "permission": "refused"}),
        ("hypervisor-hides-flags", {"usable": "false", "lane": "none", "cause": "HIDDEN_BY_HYPERVISOR"}),
        ("kernel-5.10", {"usable": "false", "cause": "KERNEL_TOO_OLD"}),
    ],
)
def test_what_the_labels_say(capsys, name, expected):
    labels = written(capsys, machines.load(name))
    assert expected == {label: labels[label] for label in expected}
    assert ("cause" in labels) == (labels["usable"] == "false")


def test_the_page_shows_what_is_written(capsys):
    """All but what the vector registers of the reader's own CPU are."""
    shown = dict(re.findall(rf"^{NAMESPACE}amx\.(\S+)=(\S+)$", PAGE, re.MULTILINE))
    labels = written(capsys, machines.load("sapphire-rapids"))
    assert list(labels.items()) == [each for each in shown.items() if not each[0].startswith("vector")]


@pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
def test_this_machine_names_its_kernels_in_vector_registers(capsys):
    labels = written(capsys, machine.current())
    assert [name for name in labels if name.startswith("vector.")] == [
        "vector.int8", "vector.bf16", "vector.fp16",
    ]  # fmt: skip
    assert all(LABEL.fullmatch(value) for value in labels.values())


def test_a_hypervisor_cannot_make_labels_without_end(capsys):
    """Not as many palettes as it says that there are."""
    facts = json.loads((machines.DIRECTORY / "sapphire-rapids.json").read_text())
    facts["cpuid"]["1d.0"] = "0xffffffff 0x0 0x0 0x0"
    labels = written(capsys, recording.Recorded(facts))
    assert len(labels) < 30


def test_a_file_is_replaced_when_all_of_it_is_there(tmp_path, capsys):
    file = tmp_path / "amx"
    file.write_text("old")
    with machine.use(machines.load("sapphire-rapids")):
        assert cli.main(["info", "--nfd", str(file)]) == 0
    assert (capsys.readouterr().out, f"{NAMESPACE}amx.usable=true\n" in file.read_text()) == ("", True)
    assert cli.main(["info", "--nfd", str(tmp_path / "no/amx")]) == 2


@pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
def test_an_emulated_machine_has_no_labels(tmp_path):
    code = "import sys, amx\nfrom amx import cli\nwith amx.emulate('gnr'): sys.exit(cli.main(sys.argv[1:]))"
    done = children.run_python("-c", code, "info", "--nfd", tmp_path / "amx", AMX_BACKEND="")
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "There are no labels for gnr" in done.stderr
