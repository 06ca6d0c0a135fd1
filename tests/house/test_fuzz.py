"""The fuzzers of ci/fuzz find planted faults, and nothing in their corpus; what one finds is kept."""

import itertools
import os
import signal
import time

import pytest
from fuzz import engine
from fuzz.choices import Choices
from fuzz.fuzzers import FUZZERS

from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
SEED = 1
ENOUGH = 2000  # inputs; the first fault is found far earlier
PLANTED = [
    pytest.param(fuzzer, plant, id=f"{fuzzer.name}-{plant}")
    for fuzzer in FUZZERS.values()
    for plant in fuzzer.planted
    if plant not in fuzzer.sanitized  # those are `ci/fuzz --self-test`'s
]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes a fuzzer of a function, with two inputs in its corpus; others are five random bytes."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made/1").write_bytes(b"first")
    (tmp_path / "made/2").write_bytes(b"second")
    monkeypatch.setattr(engine, "CORPUS", tmp_path)
    return lambda attack: engine.Fuzzer("made", attack, lambda chance, corpus: chance.randbytes(5))


@pytest.mark.parametrize(("fuzzer", "plant"), PLANTED)
def test_a_planted_fault_is_found(fuzzer, plant):
    found = engine.run(fuzzer, SEED, count=ENOUGH, plant=plant)
    assert found.findings, f"not among {found.inputs} inputs"


@pytest.mark.parametrize("fuzzer", FUZZERS.values(), ids=FUZZERS)
def test_the_corpus_does_no_harm(fuzzer):
    found = engine.run(fuzzer, SEED, count=len(fuzzer.corpus))
    assert found.inputs == len(fuzzer.corpus) > 0
    assert not found.findings, [finding.said for finding in found.findings.values()]


def test_the_seed_says_what_is_tried(made):
    def first(seed, number=0):
        return list(itertools.islice(engine.inputs(made(bytes), seed, number), 5))

    assert first(1) == first(1)
    assert [data for _, data in first(1)[:2]] == [b"first", b"second"]
    assert first(1)[2:] != first(2)[2:]
    assert first(1, 3)[0] == first(1)[3]


def test_the_next_child_goes_on_behind_what_ended_one(made):
    """Findings of one kind are counted, and the first is kept."""

    def attack(data):
        if data == b"second":
            raise ValueError(data)
        if data != b"first":
            raise KeyError

    found = engine.run(made(attack), SEED, count=10)
    assert found.inputs == 10
    assert found.times == {"ValueError: b'second'": 1, "KeyError": 8}
    inputs = dict(itertools.islice(engine.inputs(made(attack), SEED), 3))
    assert {finding.number: finding.data for finding in found.findings.values()} == {
        1: inputs[1],
        2: inputs[2],
    }


def test_a_signal_is_a_finding(made):
    found = engine.run(made(lambda data: os.kill(os.getpid(), signal.SIGSEGV)), SEED, count=2)
    assert found.times == {"killed by SIGSEGV": 2}


def test_what_does_not_end_is_a_finding(made, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    found = engine.run(made(lambda data: time.sleep(1000)), SEED, count=1)
    assert found.times == {"no end within 0.5 s": 1}


def test_much_memory_is_a_finding(made, monkeypatch):
    monkeypatch.setattr(engine, "MOST_MEMORY", 1 << 20)
    found = engine.run(made(lambda data: time.sleep(1000)), SEED, count=1)
    assert list(found.findings) == ["more than 1 MiB of memory"]


def test_a_found_input_is_kept_and_repeated(made, tmp_path):
    """In a folder that names the fuzzer."""

    def attack(data):
        if data == b"second":
            raise AssertionError("the second")

    fuzzer = made(attack)
    finding = engine.run(fuzzer, SEED, count=5).findings["AssertionError: the second"]
    path = engine.keep(fuzzer, finding, tmp_path / "kept")
    assert path.parent.name == "made"
    assert path.read_bytes() == b"second"
    assert engine.repeat(fuzzer, path.read_bytes()).kind == finding.kind
    assert engine.repeat(fuzzer, b"first") is None


def test_what_a_sanitizer_says_is_the_kind():
    said = (
        "==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1\n"
        "    #0 0x7 in __interceptor_memcpy ../../src/libsanitizer/interceptors.inc:827\n"
        "    #1 0x8 in amxemu_tilestored /somewhere/csrc/emulator/loadstore.c:40\n"
        "SUMMARY: AddressSanitizer: heap-buffer-overflow interceptors.inc:827 in __interceptor_memcpy\n"
    )
    assert engine.kind_of("status 1", said) == "heap-buffer-overflow in loadstore.c:40 amxemu_tilestored"
    said = "/somewhere/csrc/trap/code/scan.c:12:7: runtime error: shift exponent 65 is too large\n"
    assert engine.kind_of("status 1", said) == "scan.c:12: shift exponent 65 is too large"


def test_choices_end_with_the_bytes():
    choices = Choices(b"\x05\x01\x02")
    assert (choices.below(4), choices.bytes(3), bool(choices)) == (1, b"\x01\x02\0", False)
    assert choices.one_of("abc") == "a"
