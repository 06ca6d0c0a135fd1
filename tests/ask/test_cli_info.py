"""`amx info`, `amx explain`, and the exit status of the command line."""

import json
import pathlib
import re
import struct
import subprocess
import sys

import children
import machines
import pytest

import amx
from amx import cli, machine, recording
from amx._lib import lib
from amx.cli import info
from amx.cpu import Feature

needs_layer = pytest.mark.skipif(lib.amx_is_stub() == 1, reason="this build has no machine layer")


def answer(capsys, name, *words):
    with machine.use(machines.load(name)):
        status = cli.main(words)
    return status, capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["sapphire-rapids", "diamond-rapids", "zen5-kvm", "noxsave", "leaves-disagree"]
)
def test_info_prints_every_feature(capsys, name):
    status, text = answer(capsys, name, "info")
    assert status == 0
    assert all(feature.value in text and feature.where in text for feature in Feature)


def test_a_permission_that_cannot_be_read_is_not_shown_as_a_refused_one(capsys):
    assert "cannot be read, supported by the kernel" in answer(capsys, "seccomp-eperm-read", "info")[1]
    held = json.loads(answer(capsys, "seccomp-eperm-read", "info", "--json")[1])["permission"]
    assert (held["permitted"], held["guest_permitted"]) == (None, "0x202e7")


@needs_layer
def test_no_code_of_the_current_directory_is_run(tmp_path):
    """Which may be anybody's, when the processor's name is looked for in a process of its own."""
    (tmp_path / "cpuinfo.py").write_text("open('run', 'w')\n")
    script = "import sys; sys.path.pop(0); from amx.cli import info; print(info._brand_found_elsewhere())"
    children.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["info", "explain"])
@pytest.mark.parametrize(
    ("vendor", "shown"),
    [(b"[/b][/b][/b]", "[/b][/b][/b]"), (b"\x1b[31m Intel\n", "\\x1b[31m Intel\\n")],
    ids=["markup", "escape"],
)
def test_what_a_hypervisor_calls_itself_is_text(capsys, command, vendor, shown):
    facts = json.loads((machines.DIRECTORY / "zen5-kvm.json").read_text())
    ebx, edx, ecx = struct.unpack("<III", vendor)
    facts["cpuid"]["0.0"] = f"0x20 {ebx:#x} {ecx:#x} {edx:#x}"
    with machine.use(recording.Recorded(facts)):
        assert cli.main([command]) in (0, 1)
    text = capsys.readouterr().out
    assert f"{shown} family" in text
    assert "\x1b" not in text


@needs_layer
def test_what_the_system_calls_a_processor_without_a_name_is_text(monkeypatch):
    said = subprocess.CompletedProcess((), 0, json.dumps({"brand_raw": "a\x1b[2Jb"}))
    monkeypatch.setattr(info.lifetime, "run", lambda *_, **__: said)
    assert info._brand_found_elsewhere() == r"a\x1b[2Jb"


def test_info_as_json(capsys):
    status, text = answer(capsys, "granite-rapids-firecracker-hides-fp16", "info", "--json")
    found = json.loads(text)
    assert status == 0
    assert list(found) == [
        "schema",
        "version",
        "emulated",
        "processor",
        "features",
        "palettes",
        "tile_multiplier",
        "xstate",
        "altstack",
        "permission",
        "vector",
        "disagreements",
    ]
    assert found["processor"]["brand"] == ""
    assert found["features"][1] == {
        "flag": "amx_int8",
        "where": "CPUID.7.0:EDX[25]",
        "announced": True,
        "status": "current",
    }
    assert found["xstate"]["xcr0"] == "0x600e7"
    assert found["altstack"] == {
        "size": 0,
        "needed": 11952,
        "sufficient": True,
        "sc_minsigstksz": 11952,
        "sc_sigstksz": 47808,
    }
    assert found["permission"]["permitted"] == "0x200e7"


def test_every_key_is_documented(capsys):
    text = (children.ROOT / "docs/json.md").read_text()
    for command in ("info", "explain"):
        found = json.loads(answer(capsys, "sapphire-rapids", command, "--json")[1])
        assert all(f"`{key}`" in text for key in found)


def test_info_names_the_kernels_in_vector_registers(capsys):
    """Of this CPU, best first, by the group of products; a recorded machine has none to show."""
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["vector"]
    assert list(found) == ["int8", "bf16", "fp16"]
    flags = set(
        re.search(r"^flags\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].split()
    )
    assert found["int8"][-1:] == ["sse2"]
    has_avx2 = {"avx2", "fma", "f16c"} <= flags
    assert ("avx2" in found["int8"]) == has_avx2
    assert set(found["bf16"]) == set(found["fp16"]) <= {"avx2", "avx512"}
    if amx.cpu.processor().hypervisor != "TCGTCGTCGTCG":  # QEMU, whose arithmetic is not everywhere exact
        assert ("avx2" in found["bf16"]) == has_avx2
    assert cli.main(["info"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"products without AMX: int8 {', '.join(found['int8'])}; bf16" in text
    assert json.loads(answer(capsys, "sapphire-rapids", "info", "--json")[1])["vector"] is None


def test_info_does_not_ask_the_kernel_where_there_is_no_amx(capsys):
    assert json.loads(answer(capsys, "zen5-kvm", "info", "--json")[1])["permission"] is None


def test_info_records_a_machine(tmp_path, capsys):
    with machine.use(machines.load("gvisor")):
        assert cli.main(["info", "--record", str(tmp_path / "m.json")]) == 0
    found = json.loads((tmp_path / "m.json").read_text())
    assert (found["kind"], found["kernel"]["release"]) == ("recorded", "4.4.0")


@pytest.mark.parametrize(
    ("name", "status"),
    [("sapphire-rapids", 0), ("emulator", 1), ("seccomp-kill", 1), ("altstack-too-small", 1)],
)
def test_explain_says_yes_or_no(capsys, name, status):
    found, text = answer(capsys, name, "explain")
    assert found == status
    assert ("AMX is usable" in text) == (status == 0)


@pytest.mark.parametrize("name", ["gvisor", "emulator", "seccomp-lies"])
def test_explain_prints_cause_and_remedy(capsys, name):
    with machine.use(machines.load(name)):
        cause = amx.explain(probe=True).cause
    text = " ".join(answer(capsys, name, "explain")[1].split())
    assert cause.words in text
    assert cause.remedy in text


def test_explain_as_json(capsys):
    found = json.loads(answer(capsys, "seccomp-eperm", "explain", "--json")[1])
    assert list(found) == [
        "schema", "usable", "emulated", "failure", "cause", "rungs", "disagreements",
    ]  # fmt: skip
    assert (found["usable"], found["failure"], found["cause"]["name"]) == (False, "kernel", "SECCOMP_EPERM")
    assert found["rungs"][0]["name"] == "cpuid"
    assert found["rungs"][3] == {
        "name": "kernel",
        "outcome": "failed",
        "evidence": ["ARCH_GET_XCOMP_SUPP: EPERM"],
        "cause": "SECCOMP_EPERM",
    }


def test_explain_without_probing_does_not_see_the_lie(capsys):
    assert answer(capsys, "seccomp-lies", "explain", "--no-probe")[0] == 0


@pytest.mark.parametrize("words", [["frobnicate"], ["info", "--frobnicate"]])
def test_wrong_usage_is_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2


def test_an_error_of_ours_is_1_and_explains_itself(capsys, monkeypatch):
    def fail(**asked):
        raise amx.errors.AmxUnavailableError("it failed", cause="no luck", remedy="try again")

    monkeypatch.setattr("amx.cli.explain.explain", fail)
    assert cli.main(["explain"]) == 1
    assert capsys.readouterr().err == "amx: it failed. No luck. Try again.\n"


def test_the_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(command in text for command in cli.COMMANDS)


def model_name():
    with open("/proc/cpuinfo") as lines:
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


WITHOUT_BRAND = """
import os, signal, sys
from amx import machine
from amx.cli import info

class WithoutBrand(machine.Real):
    def cpuid(self, leaf, subleaf=0):
        return machine.Registers(0, 0, 0, 0) if leaf >= 0x8000_0000 else super().cpuid(leaf, subleaf)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.chdir(sys.argv[1])
with machine.use(WithoutBrand()):
    print(info.gather().brand)
"""


@needs_layer
def test_where_cpuid_has_no_brand_string_py_cpuinfo_knows_it(tmp_path):
    """Also where SIGCHLD is ignored, for which it would wait for ever; and no other module of that name."""
    (tmp_path / "cpuinfo.py").write_text('print(\'{"brand_raw": "of the current directory"}\')')
    assert children.run_python("-c", WITHOUT_BRAND, tmp_path).stdout == f"{model_name()}\n"


@needs_layer
def test_the_brand_string_is_of_this_machine(capsys):
    brand = model_name()
    assert cli.main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["processor"]["brand"] == brand
    assert cli.main(["info"]) == 0
    assert brand in capsys.readouterr().out
