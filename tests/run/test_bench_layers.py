"""Linear layers of `amx bench`: each is judged by its own definition, and ours stand beside others'."""

import csv
import dataclasses
import io
import json
import sys

import benching
import children
import numpy as np
import pytest
from benching import BLINK, FakeAdvance, FakeClock, Nobody, case
from rich.console import Console

from amx import cli
from amx.bench import layers, our_layers, peers, records, session, tables
from amx.bench.grid import Dtype, parse_preset
from amx.bench.layer_operands import Weights, make_layer
from amx.bench.peers import layer as protocol
from amx.bench.peers.layer import Definition, Layer, LayerPeer, asymmetric, int8_columns, symmetric
from amx.bench.peers.peer import UnsupportedError
from amx.bench.timing import Pace

emulated, small = benching.emulated, benching.small  # fixtures


class FakeLayer(LayerPeer):
    """A library that quantises all rows by one scale, and sums in NumPy's int64, as `behaviour` has it."""

    module = package = "numpy"
    weights = (Weights.INT8,)

    def __init__(self, behaviour="right", name="fake"):
        self.behaviour, self.name = behaviour, name

    def prepare(self, operands, weights, threads):
        if self.behaviour == "fails":
            raise RuntimeError("out of luck")
        if self.behaviour == "has none":
            raise UnsupportedError("no layers")
        x, weight = operands.rows, operands.int8
        scale = (x.max() - x.min()) / np.float32(255)
        zero = int(np.rint(-x.min() / scale))
        q = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.int64)
        sums = q @ weight.values.T.astype(np.int64)
        if self.behaviour == "saturates":
            pairs = [
                q[:, k : k + 2] @ weight.values.T[k : k + 2].astype(np.int64) for k in range(0, q.shape[1], 2)
            ]
            sums = sum(np.clip(pair, -(1 << 15), (1 << 15) - 1) for pair in pairs)
        sums -= zero * weight.values.sum(1, dtype=np.int64)
        y = sums.astype(np.float32) * (scale * weight.scale) + operands.bias
        if self.behaviour == "NaN":
            y[0, 0] = np.nan
        if self.behaviour == "transposed":
            y = y.T
        left = iter([y])

        def call():
            if self.behaviour == "fails later":
                return next(left)
            return y

        definition = Definition(asymmetric(255, of_all=True), int8_columns(operands))
        return Layer(call, lambda result: result, definition)


class Float32(LayerPeer):
    name = "fake-float32"
    module = package = "numpy"
    weights = (Weights.FLOAT32,)

    def prepare(self, operands, weights, threads):
        chosen = operands.weight[operands.judged_columns].astype(np.float64)
        definition = Definition(protocol.as_they_are, chosen, operands.case.shape.k)
        return Layer(
            lambda: operands.rows @ operands.weight.T + operands.bias, lambda result: result, definition
        )


def measured(text, *others, copies=1):
    return layers.measure(make_layer(case(text), 1), others, 1, BLINK, FakeAdvance(), copies)


def report_of_layers(*texts, others=()):
    options = session.Options(
        tuple(case(text) for text in texts), (), (*others, Float32()), quick=True, seed=7
    )
    return session.run(options, Nobody())


def of(rows, library, weights=None):
    (row,) = (row for row in rows if row.library == library and weights in (None, row.weights))
    return row


def test_a_layer_is_written_with_its_shape():
    assert str(case("layer:2x3x5:bf16")) == "layer:2x3x5:bf16"
    assert case("layer:2x3x5").layer
    assert not case("2x3x5").layer
    cases = parse_preset("layers", (Dtype.INT8,))
    assert len(cases) == 12
    assert all(each.layer for each in cases)
    assert {(each.shape.k, each.shape.n) for each in cases} == {
        (384, 1536), (768, 3072), (4096, 4096), (4096, 11008),
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["layer:7x2x3x5", "layer:2x3x5@8", "layer:2x3", "layer:layer:2x3x5", "layer:"]
)
def test_what_is_no_layer_is_an_error_that_names_it(text):
    with pytest.raises(ValueError, match=text):
        parse_preset(text, (Dtype.INT8,))


def test_rows_are_rounded_as_the_libraries_say():
    """Expected values by hand: scales 1, 2 and a half, and zero points of 10, 5 and none."""
    rows = np.array([[-10, 245, 0.4, 0.6], [-10, 500, 1.4, 2.6]], np.float32)
    each = asymmetric(255, of_all=False)(rows)
    np.testing.assert_array_equal(each.real, [[-10, 245, 0, 1], [-10, 500, 2, 2]])
    at_once = asymmetric(255, of_all=True)(rows)
    np.testing.assert_array_equal(at_once.real, [[-10, 244, 0, 0], [-10, 500, 2, 2]])
    halves = symmetric(127, -127, 2)(np.array([[63.5, 0.2, -127, 1.4]], np.float32))
    np.testing.assert_array_equal(halves.real, [[63.5, 0, -127, 1]])
    np.testing.assert_array_equal(
        symmetric(127.5, -128)(np.array([[127.5, -127.5]], np.float32)).real, [[127, -128]]
    )


def test_only_a_number_at_a_tie_may_go_either_way():
    rows = np.array([[0, 510, 1, 1.0001, 1.01, 509.0]], np.float32)  # steps of 2
    np.testing.assert_array_equal(asymmetric(255, of_all=True)(rows).unsure, [[0, 0, 2, 2, 0, 2]])


def test_what_is_clipped_either_way_is_sure():
    rows = np.array([[127.5, -127.5, 0.5]], np.float32)
    np.testing.assert_array_equal(symmetric(127.5, -128)(rows).unsure, [[0, 1, 1]])


def test_a_step_is_allowed_at_a_tie_and_nowhere_else():
    operands = make_layer(case("layer:3x4x6"), 1)
    rows = np.tile(np.array([0, 510, 1, 2, 3.9, 4.2], np.float32), (3, 1))
    operands = dataclasses.replace(operands, rows=rows)
    weight = int8_columns(operands)
    definition = Definition(asymmetric(255, of_all=True), weight)
    down, up = (np.array([0, 510, at_tie, 2, 4, 4]) @ weight.T + operands.bias for at_tie in (0, 2))
    results = np.stack([down, up, down]).astype(np.float32)
    assert definition.error(results, operands) == ""
    beyond = up + 0.1 * (up - down)
    assert definition.error(np.stack([down, beyond, down]), operands).startswith("4 of 12 results are not")


@pytest.mark.parametrize("text", ["layer:1x7x40", "layer:5x9x33", "layer:3x1x2", "layer:70x300x64"])
@pytest.mark.parametrize("dtype", ["int8", "bf16", "fp16"])
def test_our_layers_are_what_they_should_be(emulated, text, dtype):
    rows = measured(f"{text}:{dtype}", Float32())
    ours = of(rows, "amx", Weights(dtype))
    assert ours.wrong == ""
    assert ours.seconds.count == ours.of_product.count == BLINK.rounds
    product = of(rows, "amx product")
    assert (product.weights, product.ratio, product.of_product) == (Weights(dtype), None, None)
    assert of(rows, "fake-float32").ratio.count == BLINK.rounds


def test_ours_in_4_bits_stand_beside_those_in_8(emulated):
    ours = of(measured("layer:3x8x72"), "amx", Weights.UINT4)
    assert ours.of_int8.count == BLINK.rounds
    assert (ours.of_product, ours.reason) == (None, "")


@pytest.mark.parametrize("text", ["layer:1x9x64", "layer:8x9x64"])
def test_a_peer_that_saturates_is_wrong_and_not_timed(emulated, text):
    rows = measured(text, FakeLayer("saturates"), FakeLayer(name="right"))
    wrong = of(rows, "fake")
    assert "results are not its own definition's, for example" in wrong.wrong
    assert wrong.reason == f"wrong: {wrong.wrong}"
    assert (wrong.seconds, wrong.gops, wrong.ratio) == (None, None, None)
    assert layers.best(rows, case(text), Weights.INT8).library == "right"


@pytest.mark.parametrize(
    ("behaviour", "words"), [("NaN", "1 of 72 results"), ("transposed", "has shape (9, 8)")]
)
def test_a_result_that_is_none_is_wrong(emulated, behaviour, words):
    assert words in of(measured("layer:8x9x64", FakeLayer(behaviour)), "fake").wrong


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("fails", "failed: RuntimeError: out of luck"),
        ("fails later", "failed: StopIteration: "),
        ("has none", "no layers"),
    ],
)
def test_a_peer_without_a_layer_is_a_row_with_the_reason(emulated, behaviour, reason):
    """And the others go on."""
    rows = measured("layer:8x9x64", FakeLayer(behaviour), FakeLayer(name="other"))
    assert (of(rows, "fake").reason, of(rows, "fake").seconds) == (reason, None)
    assert of(rows, "other").seconds.count == BLINK.rounds


def test_a_peer_takes_part_where_it_holds_such_weights(emulated):
    assert "fake" not in {row.library for row in measured("layer:8x9x64:bf16", FakeLayer())}


def test_ratios_are_to_layers_of_the_same_weights(emulated, monkeypatch):
    """1 ms of ours and half a ms of the product beside 3 and 4 ms of bytes and 2 of floats."""
    clock = FakeClock()

    def taking(seconds, call):
        def timed():
            clock.time += seconds
            return call()

        return timed

    def slowed(kind, seconds, name):
        class Timed(kind):
            def prepare(self, *arguments):
                made = super().prepare(*arguments)
                return dataclasses.replace(made, call=taking(seconds, made.call))

        Timed.name = name
        return Timed

    monkeypatch.setattr(layers, "OurLayer", slowed(our_layers.OurLayer, 0.001, "amx"))
    monkeypatch.setattr(layers, "product_of", lambda operands: taking(0.0005, lambda: None))
    fake, slow = slowed(FakeLayer, 0.003, "fake"), slowed(FakeLayer, 0.004, "slow")
    others = [slow(name="slow"), fake(name="fake"), slowed(Float32, 0.002, "floats")()]
    operands = make_layer(case("layer:8x9x64"), 1)
    rows = layers.measure(operands, others, 1, Pace(4, 0.02), clock)
    assert of(rows, "amx", Weights.INT8).of_product.median == pytest.approx(0.5)
    best, floats = (layers.best(rows, operands.case, each) for each in (Weights.INT8, Weights.FLOAT32))
    assert (best.library, best.ratio.median) == ("fake", pytest.approx(3))
    assert (floats.library, floats.ratio.median) == ("floats", pytest.approx(2))


def test_copies_of_the_weights_take_turns(emulated, monkeypatch):
    made = []
    monkeypatch.setattr(
        FakeLayer, "prepare", lambda self, *_, of=FakeLayer.prepare: made.append(1) or of(self, *_)
    )
    rows = measured("layer:1x9x64", FakeLayer(), copies=3)
    assert len(made) == 3
    assert {row.copies for row in rows} == {3}


def test_reports_have_a_row_for_each(emulated, small, capsys):
    report = report_of_layers(
        "layer:3x9x64", "layer:2x8x8:bf16", others=[FakeLayer("saturates"), FakeLayer(name="right")]
    )
    rows = json.loads(json.dumps(records.as_json(report)))["layers"]
    assert {row["case"] for row in rows} == {"layer:3x9x64:int8", "layer:2x8x8:bf16"}
    assert len(rows) == len(report.layers)
    (ours,) = (row for row in rows if (row["library"], row["weights"]) == ("amx", "int8"))
    assert ours["gops"] == pytest.approx(2 * 3 * 9 * 64 / ours["seconds"]["median"] / 1e9)
    assert [row["library"] for row in rows if row["wrong"]] == ["fake"]

    text = io.StringIO()
    records.write_csv(report, text)
    text.seek(0)
    lines = [line for line in csv.DictReader(text) if line["table"] == "layers"]
    assert len(lines) == len(rows)
    (line,) = (line for line in lines if (line["library"], line["weights"]) == ("amx", "int8"))
    assert float(line["of_product"]) == ours["of_product"]["median"]

    tables.show(report, Console(width=240))
    shown = capsys.readouterr().out
    assert "Linear layers from Python" in shown
    (row,) = (line.split() for line in shown.splitlines() if line.startswith("3x9x64") and " int8 " in line)
    assert {"wrong", "right", "fake-float32"} <= set(row)
    assert "- layers: fake, int8: wrong: " in shown


def test_products_are_not_measured_for_layers_alone(emulated, small, capsys):
    words = ["bench", "--quick", "--json", "layer:2x8x8:int8", "--peers", "numpy"]
    assert cli.main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["kernels"], report["calls"], report["peers"]) == ([], [], [])
    assert {row["library"] for row in report["layers"]} == {"amx", "amx product"}


def test_a_wrong_layer_of_ours_is_exit_status_1(emulated, small, capsys, monkeypatch):
    right = our_layers.OurLayer.prepare

    def wrong(self, *arguments):
        made = right(self, *arguments)
        return dataclasses.replace(made, call=lambda: made.call() * np.float32(1.001))

    monkeypatch.setattr(our_layers.OurLayer, "prepare", wrong)
    assert cli.main(["bench", "--quick", "layer:2x8x64:int8", "--peers", "none"]) == 1
    assert "layer:2x8x64:int8 amx int8: 16 of 16 results are not" in capsys.readouterr().err


def test_large_layers_are_left_out_of_a_quick_look(emulated, small):
    report = report_of_layers("layer:64x65x64")
    assert [str(left.case) for left in report.left_out] == ["layer:64x65x64:int8"]
    assert report.layers == ()


@pytest.mark.peer
@pytest.mark.parametrize("name", peers.LAYERS)
def test_an_installed_peer_is_right_by_its_own_definition(name):
    """In a process of its own. Groups of 32 that fill K or do not; several rows and one."""
    products = ["layer:33x40x96", "layer:1x40x64", "layer:5x48x72"]
    child = children.run(
        [
            sys.executable, "-c", "import sys; from amx.cli import main; sys.exit(main())",
            "bench", "--quick", "--json", "--dtype", "int8,bf16", "--peers", name, *products,
        ],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    report = json.loads(child.stdout)
    (facts,) = report["peers"]
    if facts["missing"]:
        pytest.skip(f"{name} is missing: {facts['missing']}")
    theirs = [row for row in report["layers"] if row["library"] == name]
    assert {row["case"].split(":")[1] for row in theirs} == {text.split(":")[1] for text in products}
    assert [row["reason"] for row in theirs if row["reason"]] == []
