"""How tests of `amx bench` measure: without waiting, with emulated tiles, beside peers that are stand-ins."""

import itertools
import os

import numpy as np
import pytest

import amx
from amx.backend import Backend
from amx.bench import session
from amx.bench.grid import Dtype, parse_preset
from amx.bench.kernels import KernelRow
from amx.bench.peers.peer import Form, Peer, Product, UnsupportedError
from amx.bench.timing import Pace, Summary

BLINK = Pace(rounds=2, sample=1e-6, pause=0.0)


class FakeClock:
    """Time that passes only where it is told to."""

    def __init__(self):
        self.time = 0.0
        self.slept = []
        self.spinning = 0.0  # seconds that threads will still burn a CPU while we sleep

    def now(self):
        return self.time

    def busy(self):
        return -self.spinning

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds
        self.spinning = max(0.0, self.spinning - seconds)


class FakePeer(Peer):
    """A library that multiplies with NumPy's int64, as `behaviour` has it."""

    name = "fake"
    module = package = "numpy"

    def __init__(self, behaviour="right"):
        self.behaviour = behaviour

    def prepare(self, operands, form, threads):
        if self.behaviour == "fails":
            raise RuntimeError("out of luck")
        if form is Form.PACKED:
            raise UnsupportedError("no packed operands")
        product = np.matmul(operands.a.astype(np.int64), operands.b).astype(np.int32)
        if self.behaviour == "wrong":
            product.flat[-1] ^= 1
        if self.behaviour == "transposed":
            product = product.T
        left = itertools.count(2, -1)  # calls that succeed: the one that is compared, and that of amx.used

        def call():
            if self.behaviour == "fails later" and next(left) <= 0:
                raise MemoryError("out of luck in the end")
            return product

        return Product(call, lambda result: result, None)


class Nobody:
    """Progress for nobody."""

    def start(self, steps):
        self.left = steps

    def step(self, text):
        self.left -= 1


def case(text):
    (only,) = parse_preset(text, (Dtype.INT8,))
    return only


@pytest.fixture
def emulated():
    amx.set_backend("emulated")
    yield
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))


@pytest.fixture
def small(monkeypatch):
    """Streams of 1 MiB, and nothing larger than 64 x 64 x 64."""
    monkeypatch.setattr(session, "QUICK_MEMORY_BYTES", 1 << 20)
    monkeypatch.setattr(session, "LARGEST_QUICK", 1 << 19)


def report_of(*texts, behaviour="right", others=()):
    options = session.Options(
        tuple(case(text) for text in texts), (FakePeer(behaviour), *others), quick=True, seed=7
    )
    return session.run(options, Nobody())


class FakeAdvance(FakeClock):
    """A millisecond passes whenever somebody looks."""

    def now(self):
        self.time += 0.001
        return self.time


def kernel_row(text, threads=1, of_stream=None, scaling=None, of_neighbour=None, engine=Backend.NATIVE):
    """Half as fast as the ceiling."""
    one = Summary(0.5, 0.4, 0.6, 7)
    return KernelRow(
        case=case(text),
        engine=engine,
        native=engine is Backend.NATIVE,
        threads=threads,
        seconds=one,
        gops=1000.0,
        ceiling="fastest loop",
        of_ceiling=one,
        copies=1,
        b_gbs=1.0,
        stream_gbs=None if of_stream is None else 1.0 / of_stream.median,
        of_stream=of_stream,
        scaling=scaling,
        of_neighbour=of_neighbour,
        difference="",
    )
