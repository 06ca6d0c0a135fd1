"""`amx demo`: what the machine offers, products of tiles, and a digit classifier in int8 and bfloat16."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import amx
from amx.bench.timing import RealClock, rest
from amx.cli import _network
from amx.data import digits
from amx.dtypes import Element, as_elements

__all__ = ["add_parser", "run"]

SCHEMA = 1
TRAINING = 1200  # images; the others are for the test


@dataclasses.dataclass(frozen=True)
class Machine:
    """What the machine offers, what the kernel answered, and which engines run products, and tiles."""

    processor: str
    offers: str
    permission: str
    backend: str
    tiles: str

    def __str__(self) -> str:
        return "\n".join(
            f"{name.capitalize() + ':':12}{text}" for name, text in dataclasses.asdict(self).items()
        )


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Whether tile products equal NumPy's, bit for bit."""

    dpbusd: bool
    dpbf16ps: bool

    def __str__(self) -> str:
        names = {True: "equals NumPy's product", False: "DIFFERS from NumPy's product"}
        return f"Tiles: dpbusd {names[self.dpbusd]}, dpbf16ps {names[self.dpbf16ps]}."


@dataclasses.dataclass(frozen=True)
class Model:
    """One number format: accuracy on the test images, and the speed of the middle layer."""

    format: str
    engine: str
    accuracy: float
    gops: float

    def __str__(self) -> str:
        return f"  {self.format:9} {self.engine:14} {self.accuracy:7.2%} right {self.gops:9.1f} GOP/s"


@dataclasses.dataclass(frozen=True)
class Classifier:
    """The same classifier in three number formats."""

    trained: int
    tested: int
    seconds: float
    product: tuple[int, int, int]
    models: tuple[Model, ...]

    def __str__(self) -> str:
        m, n, k = self.product
        return "\n".join(
            [
                "Handwritten digits (Alpaydin and Kaynak, UCI, CC BY 4.0): a network of three layers,",
                f"trained in float32 with NumPy on {self.trained} images in {self.seconds:.1f} s, "
                f"tested on {self.tested} others.",
                f"The speed is that of its middle layer, {m}x{k} by {k}x{n}.",
                *map(str, self.models),
            ]
        )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="multiply tiles and classify handwritten digits, on AMX where there is any",
        description="Say what this machine offers, ask for permission, multiply tiles, and classify "
        "handwritten digits with an int8 and a bfloat16 model. Status 1 when a tile product is wrong.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when the tile products equal NumPy's, else 1."""
    report: dict[str, Machine | Tiles | Classifier] = {}

    def add(name: str, facts: Machine | Tiles | Classifier) -> None:
        report[name] = facts
        if not arguments.json:
            print(facts, end="\n\n", flush=True)

    machine = _machine()
    add("machine", machine)
    tiles = _tiles()
    add("tiles", tiles)
    add("classifier", _classifier())
    if arguments.json:
        found = {name: dataclasses.asdict(facts) for name, facts in report.items()}
        print(json.dumps({"schema": SCHEMA, **found}, indent=2))
    return 0 if tiles.dpbusd and tiles.dpbf16ps else 1


def _machine() -> Machine:
    diagnosis = amx.explain()
    features = ", ".join(sorted(map(str, amx.cpu.features())))
    try:
        amx.request()
        permission = "granted"
    except amx.errors.AmxUnavailableError as error:
        permission = f"not granted. {error.cause}"
    return Machine(
        processor=str(amx.cpu.processor()),
        offers=f"no usable AMX. {diagnosis.cause}. {diagnosis.remedy}" if diagnosis.cause else features,
        permission=permission,
        backend=_backend("int8"),
        tiles=_backend("tile"),
    )


def _backend(group: str) -> str:
    with warnings.catch_warnings():  # the permission line says why it is not AMX
        warnings.simplefilter("ignore", amx.AmxWarning)
        return amx.get_backend(group).value


def _tiles() -> Tiles:
    random = np.random.default_rng(0)
    a = random.integers(0, 256, (16, 64), dtype=np.uint8)
    b = random.integers(-128, 128, (64, 16), dtype=np.int8)
    with amx.TileContext(amx.TileConfig.for_product("int8", m=16, n=16, k=64)) as tiles:
        tiles.zero(0)
        tiles.load(1, a)
        tiles.load(2, _vnni(b, 4))
        tiles.dpbusd(0, 1, 2)
        integers = tiles.store(0)

    # Small integers are exact in bfloat16, and so are their sums in float32.
    x, y = random.integers(-64, 65, (16, 32)), random.integers(-64, 65, (32, 16))
    with amx.TileContext(amx.TileConfig.for_product("bfloat16", m=16, n=16, k=32)) as tiles:
        tiles.zero(0)
        tiles.load(1, _bfloat16(x), dtype="bfloat16")
        tiles.load(2, _vnni(_bfloat16(y), 2), dtype="bfloat16")
        tiles.dpbf16ps(0, 1, 2)
        floats = tiles.store(0)
    return Tiles(
        dpbusd=np.array_equal(integers, a.astype(np.int32) @ b.astype(np.int32)),
        dpbf16ps=np.array_equal(floats, (x @ y).astype(np.float32)),
    )


def _vnni(b: NDArray[np.generic], group: int) -> NDArray[np.generic]:
    """(K, N) as the instructions want it: b[k / group][n][k % group], two-dimensional."""
    k, n = b.shape
    return b.reshape(k // group, group, n).transpose(0, 2, 1).reshape(k // group, n * group)


def _bfloat16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Rounded to bfloat16, as its bits."""
    return as_elements(values.astype(np.float32), Element.BFLOAT16, "values")[0]


def _classifier() -> Classifier:
    data = digits()
    images, labels = data.images[TRAINING:], data.labels[TRAINING:]
    start = time.perf_counter()
    float32 = _network.train(data.images[:TRAINING], data.labels[:TRAINING])
    seconds = time.perf_counter() - start
    inputs = _network.activations(float32, images)[1]
    m, (k, n) = len(inputs), float32[1].weights.shape

    def model(name: str, engine: str, layers: Sequence[_network.Layer]) -> Model:
        right = _network.classify(layers, images) == labels
        seconds = _fastest(lambda: layers[1](inputs))
        return Model(name, engine, float(right.mean()), 2e-9 * m * n * k / seconds)

    return Classifier(
        trained=TRAINING,
        tested=m,
        seconds=seconds,
        product=(m, n, k),
        models=(
            model("float32", "NumPy", float32),
            model("bfloat16", _backend("bf16"), _network.rounded(float32, "bfloat16")),
            model("int8", _backend("int8"), _network.rounded(float32, "int8")),
        ),
    )


def _fastest(product: Callable[[], object], runs: int = 7) -> float:
    """Seconds of the fastest of `runs` calls, once the threads of what ran before are at rest."""
    rest(0.02, RealClock())
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
