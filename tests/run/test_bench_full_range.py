"""Peers are judged by bytes of the full range: one that saturates is wrong, and ranked nowhere."""

import csv
import io
import json
import re

import benching
import numpy as np
import pytest
from benching import BLINK, FakeAdvance, FakePeer, case, report_of

from amx import cli
from amx.bench import calls, peers
from amx.bench.operands import make_full_range, make_operands
from amx.bench.peers.peer import Form, Product

emulated, small = benching.emulated, benching.small  # fixtures


class Saturating(FakePeer):
    """As kernels for AVX2 without VNNI: sums of two products of uint8 by int8 end at the limits of int16."""

    name = "saturating"

    def prepare(self, operands, form, threads):
        a, b = operands.a.view(np.uint8).astype(np.int64), operands.b.astype(np.int64)
        if a.shape[-1] % 2:
            a, b = (np.concatenate([each, np.zeros_like(each[row])], axis) for each, row, axis in (
                (a, np.s_[..., :1], -1), (b, np.s_[..., :1, :], -2)))  # fmt: skip
        product = np.zeros((*a.shape[:-1], b.shape[-1]), np.int64)
        for k in range(0, a.shape[-1], 2):
            product += np.clip(a[..., k : k + 2] @ b[..., k : k + 2, :], -(1 << 15), (1 << 15) - 1)
        return Product(lambda: product.astype(np.int32), lambda result: result, None, unsigned=True)


class Unsigned(FakePeer):
    """As kernels with VNNI or AMX: uint8 by int8, and right."""

    name = "unsigned"

    def prepare(self, operands, form, threads):
        product = np.matmul(operands.a.view(np.uint8).astype(np.int64), operands.b).astype(np.int32)
        return Product(lambda: product, lambda result: result, None, unsigned=True)


def judged(text, *peers):
    """The rows of a product's peers."""
    operands, full = make_operands(case(text), 1), make_full_range(case(text), 1)
    rows = calls.prepare(operands, peers, 1, None, full).measure(BLINK, FakeAdvance())
    return [row for row in rows if row.library != calls.OURS]


@pytest.mark.parametrize("text", ["8x9x10", "1x1x2", "3x8x9x10", "9x8x11@20", "200x30x64"])
def test_a_peer_that_saturates_is_wrong_and_not_timed(emulated, text):
    """Though it is right where no two products leave the range of int16, as with the data that are timed."""
    for row in judged(text, Saturating()):
        assert re.search(
            r"^\d+ of \d+ sums of uint8 by int8 products of full-range data are wrong, for example -?\d+ "
            r"instead of -?\d+$",
            row.wrong,
        )
        assert row.reason == f"wrong: {row.wrong}"
        assert (row.seconds, row.gops, row.ratio, row.difference) == (None, None, None, "")
        assert calls.best([row], row.case, row.form) is None


@pytest.mark.parametrize("text", ["8x9x10", "1x1x1", "3x8x9x10", "9x8x11@20", "200x30x64"])
@pytest.mark.parametrize("kind", [FakePeer, Unsigned])
def test_a_peer_that_is_right_of_either_signedness_is_timed(emulated, text, kind):
    plain = judged(text, kind())[0]
    assert plain.wrong == ""
    assert plain.seconds


def test_one_product_alone_cannot_saturate(emulated):
    assert [row.wrong for row in judged("8x9x1", Saturating())] == ["", ""]


def test_full_range_data_have_all_extremes_and_an_exact_product():
    """Also as uint8, and of all rows of a small product."""
    full = make_full_range(case("5x7x300"), 3)
    a, b = full.operands.a, full.operands.b
    assert (a.min(), a.max(), b.min(), b.max()) == (-128, 127, -128, 127)
    assert (a.view(np.uint8).min(), a.view(np.uint8).max()) == (0, 255)
    for (exact, magnitude), first in ((full.signed, a), (full.unsigned, a.view(np.uint8))):
        first = first.astype(np.int64)
        np.testing.assert_array_equal(exact, np.matmul(first, b))
        np.testing.assert_array_equal(magnitude, np.matmul(np.abs(first), np.abs(b.astype(np.int64))))
    assert make_full_range(case("5x7x9:bf16"), 3) is None
    assert len(make_full_range(case("5000x7x9"), 3).rows) < 70


def test_a_peer_of_floats_is_judged_within_its_rounding(emulated):
    """As float32, whose sums of 3,000 products of bytes are no longer exact."""

    class Rounding(FakePeer):
        error = 0.0

        def prepare(self, operands, form, threads):
            product = operands.a.astype(np.float32) @ operands.b.astype(np.float32)
            return Product(lambda: product * np.float32(1 + self.error), lambda result: result, 2.0**-24)

    right, wrong = Rounding(), Rounding()
    wrong.error = 1e-2
    full = make_full_range(case("8x9x3000"), 1)
    assert right.prepare(full.operands, Form.PLAIN, 1).error(full) == ""
    assert "of full-range data are wrong" in wrong.prepare(full.operands, Form.PLAIN, 1).error(full)


def test_every_report_says_which_peer_is_wrong_and_ranks_it_nowhere(emulated, small, capsys, monkeypatch):
    """A peer beside it, which is right, is the best."""
    chosen = {"numpy": Unsigned(), "onnxruntime": Saturating()}
    monkeypatch.setattr(peers, "load", chosen.get)
    words = ["bench", "--quick", "33x33x33:int8", "--peers", "onnxruntime,numpy"]
    assert cli.main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    for row in report["calls"]:
        is_wrong = row["library"] == "saturating"
        assert ("full-range data" in row["wrong"], row["seconds"] is None) == (is_wrong, is_wrong)
    ratios = [row for row in report["goals"] if row["figure"] == "ratio"]
    assert [(row["against"], row["wrong"], bool(row["measured"])) for row in ratios] == [
        ("unsigned", ["saturating"], True)
    ] * 2
    assert report["differences"] == []

    assert cli.main([*words, "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    theirs = [line for line in lines if line["library"] == "saturating"]
    assert len(theirs) == 2
    assert all(line["note"].startswith("wrong: ") and not line["rate"] for line in theirs)
    notes = {line["note"] for line in lines if line["figure"] == "ratio"}
    assert notes == {"unsigned; saturating is wrong"}

    assert cli.main(words) == 0
    text = capsys.readouterr().out
    found = re.findall(r"^33x33x33 +int8 +[\d.]+ +[\d.]+ +wrong +unsigned +[\d.]+ ", text, re.MULTILINE)
    assert len(found) == 2  # plain, packed
    assert "- saturating plain, int8: wrong: " in text
    assert "No ratio is one to saturating where its products are wrong" in text


def test_the_plot_names_who_is_wrong(emulated, small, tmp_path, monkeypatch):
    axes = pytest.importorskip("matplotlib.axes")
    labels = []
    monkeypatch.setattr(axes.Axes, "plot", lambda self, *_, label="", **__: labels.append(label))
    draw = pytest.importorskip("amx.bench.plot").draw
    draw(report_of("8x9x10", others=[Saturating()]), tmp_path / "x.png")
    assert labels.count("saturating: wrong") == 2
