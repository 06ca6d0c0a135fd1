"""`amx bench` as a command: what it prints, what it refuses, and its exit status."""

import json

import benching
import pytest
from benching import FakePeer

from amx import cli
from amx.bench import peers, session

emulated, small = benching.emulated, benching.small  # fixtures


def test_quick_square_prints_the_tables(emulated, small, capsys):
    assert cli.main(["bench", "--quick", "square", "--peers", "numpy,numpy-int"]) == 0
    text = capsys.readouterr().out
    for words in ("Ceiling of this machine", "Kernels", "second operand plain", "second operand packed"):
        assert words in text
    assert "64x64x64" in text
    assert "left out: 4096x4096x4096:bf16" in text


def test_csv_and_json_print_nothing_else(emulated, small, capsys):
    words = ["bench", "--quick", "8x8x8:int8", "--peers", "none"]
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["peers"] == []
    assert cli.main([*words, "--csv"]) == 0
    assert capsys.readouterr().out.startswith("table,dtype,")


def test_a_different_result_is_exit_status_1(emulated, small, capsys, monkeypatch):
    monkeypatch.setattr(peers, "load", lambda name: FakePeer("wrong"))
    assert cli.main(["bench", "--quick", "8x9x10:int8", "--peers", "numpy"]) == 1
    assert "8x9x10:int8 fake plain: 1 of 72 integers differ" in capsys.readouterr().err


class Interrupted(FakePeer):
    """Ctrl-C comes at its product of 9x9x9."""

    def prepare(self, operands, form, threads):
        if str(operands.case.shape) == "9x9x9":
            raise KeyboardInterrupt
        return super().prepare(operands, form, threads)


def test_an_interrupt_leaves_what_was_measured(emulated, small, capsys, monkeypatch):
    monkeypatch.setattr(peers, "load", lambda name: Interrupted())
    words = ["bench", "--quick", "--json", "--peers", "numpy", "8x9x10:int8", "9x9x9:int8", "8x8x8:bf16"]
    assert cli.main(words) == 130
    text = capsys.readouterr()
    report = json.loads(text.out)
    assert [row["case"] for row in report["kernels"]] == ["8x9x10:int8"]
    assert {row["case"] for row in report["calls"]} == {"8x9x10:int8"}
    left = [(row["case"], row["reason"]) for row in report["left_out"]]
    assert left == [("9x9x9:int8", "interrupted"), ("8x8x8:bf16", "interrupted")]
    assert report["interrupted"] is True
    assert "interrupted" in text.err


def test_an_interrupt_before_any_product_is_said(emulated, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "run", interrupt)
    assert cli.main(["bench", "--quick", "8x8x8", "--peers", "none"]) == 130
    assert "interrupted before" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--emulation", "--csv"],
        ["--emulation", "8x8x8"],
        ["cube"],
        ["8x8"],
        ["8x8x8@7"],
        ["--dtype", "int4"],
        ["--peers", "abacus"],
        ["--threads", "0"],
        ["--threads", "100000"],
        ["--seed", "-1"],
        ["--seed", "-1", "--emulation"],
        ["--plot", "/no/such/directory/x.png"],
        ["--plot", "-", "--json"],
    ],
)
def test_wrong_usage_is_exit_status_2(capsys, words):
    assert cli.main(["bench", "--quick", *words]) == 2
    assert capsys.readouterr().err.startswith("amx bench: ")


@pytest.mark.parametrize("name", ["x", "x.txt", "directory.png", "file.png/x.png"])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, capsys, name):
    pytest.importorskip("matplotlib")
    (tmp_path / "directory.png").mkdir()
    (tmp_path / "file.png").touch()
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["bench", "--quick", "8x8x8", "--peers", "none", "--plot", str(tmp_path / name)]) == 2
    text = capsys.readouterr()
    assert text.out == ""
    assert f"--plot {tmp_path / name}: " in text.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_draws(emulated, small, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "x.PNG"
    assert cli.main(["bench", "--quick", "8x8x8:int8", "--peers", "none", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_on_the_standard_output_stands_there_alone(emulated, small, capsysbinary):
    pytest.importorskip("matplotlib")
    assert cli.main(["bench", "--quick", "8x8x8:int8", "--peers", "none", "--plot", "-"]) == 0
    output, errors = capsysbinary.readouterr()
    assert output.startswith(b"\x89PNG")
    assert b"GOP/s" in errors


def test_a_peer_that_is_named_twice_is_measured_once(emulated, small, capsys):
    words = ["bench", "--quick", "8x8x8:int8", "--peers", "numpy-int,numpy-int", "--json"]
    assert cli.main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert [peer["name"] for peer in report["peers"]] == ["numpy-int"]
