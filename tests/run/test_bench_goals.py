"""Goals of a product, the round size that an odd one stands beside, and what was recorded of others."""

import dataclasses

import benching
import pytest
from benching import case, kernel_row, report_of
from rich.console import Console

from amx.backend import Backend
from amx.bench import calls, goals, recorded, tables
from amx.bench.calls import CallRow
from amx.bench.grid import PRESETS, Case, Dtype, parse_preset
from amx.bench.neighbour import neighbour
from amx.bench.peers.peer import Form
from amx.bench.timing import Summary

NATIVE = Backend.NATIVE
VECTOR = Backend.VECTOR

emulated, small = benching.emulated, benching.small  # fixtures


def our_row(text, form, of_neighbour):
    one = Summary(0.5, 0.4, 0.6, 7)
    return CallRow(case(text), calls.OURS, form, 1, one, 1.0, None, of_neighbour, "", "", None)


def test_every_product_of_the_preset_has_a_goal():
    for each in parse_preset("goals", (Dtype.INT8, Dtype.BF16)):
        assert goals.goal_of(each, 1, NATIVE) is not None
        assert goals.goal_of(each, 1, VECTOR) is not None
        assert goals.goal_of(each, 1, Backend.EMULATED) is None
    for engine in (NATIVE, VECTOR):
        assert goals.goal_of(case("192x192x192"), 1, engine) is None
        assert goals.goal_of(case("64x64x64"), 3, engine) is None
    assert goals.goal_of(case("64x64x64:fp16"), 1, NATIVE) is None


def test_goals_of_one_thread_and_two():
    assert goals.goal_of(case("64x64x64"), 1, NATIVE) == goals.Goal(1.3, 0.45)
    assert goals.goal_of(case("64x64x64"), 2, NATIVE) is None
    assert goals.goal_of(case("4096x4096x4096:bf16"), 1, NATIVE) == goals.Goal(1.4, 0.65)
    assert goals.goal_of(case("512x512x512"), 2, NATIVE) == goals.Goal(1.3)
    assert goals.goal_of(case("4096x4096x4096"), 2, NATIVE) == goals.Goal(1.5, scaling=1.9)
    assert goals.goal_of(case("16x4096x4096"), 2, NATIVE) == goals.Goal(of_stream=0.95)


@pytest.mark.parametrize(
    ("text", "threads", "goal"),
    [
        # shares of the ceiling by size; calls, also against float32
        ("64x64x64", 1, goals.Goal(1.3, 0.85, of_float32=1.3)),
        ("128x128x128", 1, goals.Goal(1.3, 0.90, of_float32=1.3)),
        ("512x512x512", 1, goals.Goal(1.3, 0.92, of_float32=1.3)),
        ("1024x1024x1024", 1, goals.Goal(1.1, 0.92, of_float32=1.1)),
        ("4096x4096x4096", 1, goals.Goal(1.1, 0.88, of_float32=1.1)),
        # 16 bits: libraries of 16 bits, and float32 in twice the memory
        ("64x64x64:bf16", 1, goals.Goal(1.3, 0.80, of_float32=1.0)),
        ("256x256x256:fp16", 1, goals.Goal(1.3, 0.88, of_float32=1.0)),
        ("2048x2048x2048:fp16", 1, goals.Goal(1.3, 0.82, of_float32=1.0)),
        ("128x4096x4096", 1, goals.Goal(1.1, of_float32=1.1)),
        ("128x4096x4096:bf16", 2, goals.Goal(1.3, of_float32=1.0)),
        # two threads
        ("256x256x256", 2, goals.Goal(1.3, of_float32=1.3)),
        ("512x512x512:bf16", 2, goals.Goal(1.3, scaling=1.9, of_float32=1.0)),
        # streams of B
        ("1x4096x4096", 1, goals.Goal(of_stream=0.9, of_float32=3.5)),
        ("1x4096x4096:bf16", 2, goals.Goal(of_stream=0.9, of_float32=1.8)),
        ("16x4096x4096:fp16", 1, goals.Goal(of_neighbour=0.85, beside=case("256x256x256:fp16"))),
        # batches
        ("64x128x64x128", 1, goals.Goal(1.1, of_float32=1.1)),
        ("64x128x128x64:bf16", 1, goals.Goal(1.1)),
    ],
)
def test_goals_of_vectors(text, threads, goal):
    assert goals.goal_of(case(text), threads, VECTOR) == goal


def test_goals_of_vectors_stand_beside_what_was_measured():
    """A library of bytes, float32 apart from it, the kernel beside 256 x 256 x 256."""
    slow, fast = Summary(1.2, 1.0, 1.5, 7), Summary(1.7, 1.6, 1.8, 7)
    theirs = CallRow(case("64x64x64"), "fake", Form.PACKED, 1, slow, 1.0, slow, None, "", "", None)
    float32 = dataclasses.replace(theirs, library="floats", ratio=fast, float32=True)
    rows = [
        kernel_row("64x64x64", engine=VECTOR),
        kernel_row("16x4096x4096", of_stream=fast, of_neighbour=slow, engine=VECTOR),
    ]
    found = goals.standings(rows, [theirs, float32])
    share = Summary(0.5, 0.4, 0.6, 7)
    assert [(row.figure, row.form, row.goal, row.against, row.measured) for row in found] == [
        (goals.Figure.RATIO, Form.PLAIN, 1.3, "", None),
        (goals.Figure.RATIO, Form.PACKED, 1.3, "fake", slow),
        (goals.Figure.OF_FLOAT32, Form.PLAIN, 1.3, "", None),
        (goals.Figure.OF_FLOAT32, Form.PACKED, 1.3, "floats", fast),
        (goals.Figure.OF_CEILING, None, 0.85, "fastest loop", share),
        (goals.Figure.OF_NEIGHBOUR, None, 0.85, "256x256x256", slow),
    ]
    assert all(row.engine is VECTOR and not row.native for row in found)


def test_goals_of_vectors_are_printed_without_rates_of_amx(emulated, small, capsys):
    rows = (
        kernel_row("64x64x64", engine=VECTOR),
        kernel_row("16x4096x4096", of_neighbour=Summary(0.61, 0.6, 0.62, 7), engine=VECTOR),
    )
    report = dataclasses.replace(report_of("8x9x10"), kernels=rows, calls=())
    tables.show(report, Console(width=240))
    text = capsys.readouterr().out
    assert "oneDNN" not in text
    *_, of_goals = (line.split() for line in text.splitlines() if line.startswith("64x64x64"))
    assert of_goals[2:] == ["vector", "1.3", "1.3", "50%", "85%", "1000"]
    *_, of_goals = (line.split() for line in text.splitlines() if line.startswith("16x4096x4096"))
    assert of_goals[2:] == ["vector", "256x256x256", "61%", "85%", "1000"]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        # 67^3 / (80 80 128), 100^3 / (112 112 128), 131^3 / (144 144 192), 333^3 / (336 336 384)
        ("67x67x67", 300763 / 819200),
        ("100x100x100", 1000000 / 1605632),
        ("131x131x131", 2248091 / 3981312),
        ("333x333x333", 36926037 / 43352064),
        # a tile of 16-bit numbers has 32 of K: 67^3 / (80 80 96)
        ("67x67x67:bf16", 300763 / 614400),
        # whole tiles, but of a larger array
        ("1024x1024x1024@2048", 1.0),
        ("5x128x64x100", 100 / 128),
    ],
)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_odd_sizes_keep_085_of_what_tile_rounding_leaves_and_lose_to_nobody(text, share, threads):
    beside = neighbour(case(text))
    for engine in (NATIVE, Backend.EMULATED):
        goal = goals.goal_of(case(text), threads, engine)
        assert goal == goals.Goal(1.0, of_neighbour=pytest.approx(0.85 * share, rel=1e-12), beside=beside)
    # vectors round nothing up
    of_float32 = None if "bf16" in text else 1.1
    goal = goals.goal_of(case(text), threads, VECTOR)
    assert goal == goals.Goal(1.1, of_neighbour=0.85, of_float32=of_float32, beside=beside)


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        ("67x67x67", "64x64x64"),
        ("100x100x100", "128x128x128"),
        ("333x333x333", "320x320x320"),
        ("1537x1537x1537", "1536x1536x1536"),
        ("127x509x251:bf16", "128x512x256:bf16"),
        ("3x100x64x64", "3x128x64x64"),
        ("1024x1024x1024@2048", "1024x1024x1024"),
        # nearer to nothing than to 64: whole tiles
        ("7x1024x20", "16x1024x64"),
        ("7x1024x20:bf16", "16x1024x32:bf16"),
        ("17x31x33", "32x32x64"),
    ],
)
def test_the_neighbour_is_the_nearest_round_size(text, beside):
    assert neighbour(case(text)) == case(beside)
    assert neighbour(case(beside)) is None


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        ("67x67x67", "64x64x64"),
        ("7x1024x1000", "7x1024x1024"),
        ("100x31x20:bf16", "128x31x20:bf16"),
        ("7x1024x20@2048", "7x1024x20"),
    ],
)
def test_without_tiles_what_is_nearer_to_nothing_stays_as_it_is(text, beside):
    assert neighbour(case(text), on_tiles=False) == case(beside)
    assert neighbour(case(beside), on_tiles=False) is None
    assert goals.goal_of(case(text), 1, VECTOR).beside == case(beside)
    assert goals.goal_of(case("16x16x16"), 1, VECTOR) is None


def test_the_odd_preset_has_what_it_says():
    """Sizes that were named, primes, three different dimensions, and leading dimensions of both kinds."""
    shapes = PRESETS["odd"]

    def is_prime(number):
        return all(number % divisor for divisor in range(2, number))

    assert {100, 333, 1000, 1537} <= {shape.m for shape in shapes if shape.m == shape.n == shape.k}
    assert any(
        is_prime(s.m) and is_prime(s.n) and is_prime(s.k) and len({s.m, s.n, s.k}) == 3 for s in shapes
    )
    strided = [shape for shape in shapes if shape.ld]
    assert {shape.ld.bit_count() == 1 for shape in strided} == {True, False}
    assert all(neighbour(Case(shape, dtype)) for shape in shapes for dtype in Dtype)


def test_goals_stand_beside_what_was_measured():
    ratio = Summary(1.25, 1.0, 1.5, 7)
    theirs = CallRow(case("64x64x64"), "fake", Form.PACKED, 1, ratio, 1.0, ratio, None, "", "", None)
    found = goals.standings([kernel_row("64x64x64"), kernel_row("192x192x192")], [theirs])
    assert [(row.figure, row.form, row.goal, row.against, row.measured) for row in found] == [
        (goals.Figure.RATIO, Form.PLAIN, 1.3, "", None),
        (goals.Figure.RATIO, Form.PACKED, 1.3, "fake", ratio),
        (goals.Figure.OF_CEILING, None, 0.45, "fastest loop", Summary(0.5, 0.4, 0.6, 7)),
    ]
    emulated = dataclasses.replace(kernel_row("64x64x64"), native=False)
    assert goals.standings([emulated], []) == []
    emulated = kernel_row("64x64x64", engine=Backend.EMULATED)
    assert goals.standings([emulated], []) == []


def test_odd_sizes_stand_beside_their_floor_on_every_backend():
    kernel, plain, packed = (Summary(median, 0.1, 0.9, 7) for median in (0.3, 0.4, 0.5))
    row = kernel_row("67x67x67", of_neighbour=kernel, engine=Backend.EMULATED)
    ours = [our_row("67x67x67", Form.PLAIN, plain), our_row("67x67x67", Form.PACKED, packed)]
    found = [each for each in goals.standings([row], ours) if each.figure is goals.Figure.OF_NEIGHBOUR]
    assert [(each.form, each.measured, each.against, each.native) for each in found] == [
        (None, kernel, "64x64x64", False),
        (Form.PLAIN, plain, "64x64x64", False),
        (Form.PACKED, packed, "64x64x64", False),
    ]
    assert [each.goal for each in found] == pytest.approx([0.85 * 300763 / 819200] * 3)


def test_goals_are_printed_without_a_verdict(emulated, small, capsys):
    report = report_of("8x9x10")
    half = Summary(0.5, 0.25, 0.75, 7)
    rows = (
        kernel_row("64x64x64"),
        kernel_row("16x4096x4096", of_stream=Summary(0.97, 0.9, 1.0, 7)),
        kernel_row("1024x1024x1024", threads=2, scaling=Summary(1.87, 1.8, 1.9, 7)),
        kernel_row("100x100x100", of_neighbour=Summary(0.61, 0.6, 0.62, 7)),
    )
    ours = (our_row("100x100x100", Form.PLAIN, half),)
    tables.show(dataclasses.replace(report, kernels=rows, calls=ours), Console(width=240))
    text = capsys.readouterr().out
    assert "Goals of this project" in text
    of_kernels, of_goals = (line.split() for line in text.splitlines() if line.startswith("64x64x64"))
    # on one thread: no peer measured, 1.3 wanted; the kernel's GOP/s; recorded of libxsmm and oneDNN
    assert of_goals[2:] == ["native", "1.3", "50%", "45%", "1000", "1968", "656", "769"]
    assert text.count("97%") == 2  # of the stream: among the kernels, and beside its goal
    of_kernels, of_goals = (line.split() for line in text.splitlines() if line.startswith("1024x1024x1024"))
    assert of_kernels[-1] == "1.87"
    assert of_goals[4:6] == ["1.87", "1.9"]
    *_, odd = (line.split() for line in text.splitlines() if line.startswith("100x100x100"))
    # beside 128 x 128 x 128: kernel 61 %, the plain call 50 %; the floor is 0.85 x 0.623
    assert odd == [
        "100x100x100", "int8", "native", "128x128x128", "61%", "60%-62%", "50%", "25%-75%", "53%", "1.0",
    ]  # fmt: skip


def test_recorded_figures_are_those_of_the_goals():
    """Each product of the preset has one, on one thread and on two; libxsmm on one, up to 512."""
    for each in parse_preset("goals", (Dtype.INT8, Dtype.BF16)):
        one, two = recorded.recorded(each, 1), recorded.recorded(each, 2)
        assert one.onednn_packed > 0
        assert two.onednn_packed > 0
        small_square = each.shape.m == each.shape.n == each.shape.k <= 512
        assert (one.libxsmm is not None, two.libxsmm) == (small_square, None)
    assert len(recorded.RECORDED) == len({(row.case, row.threads) for row in recorded.RECORDED}) == 56
    assert recorded.recorded(case("100x100x100"), 1) is None
