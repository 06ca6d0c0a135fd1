"""Traces that others wrote: what `Trace.load` and `read` take can be used, and the rest is refused."""

import dataclasses
import io
import json
import os
import types

import pytest
from rich.console import Console

from amx._lib import lib
from amx.emulation import trace, trace_data, trace_json, trace_reading, trace_tables
from amx.emulation.symbols import Code, Location
from amx.emulation.trace import Extent, Trace
from amx.errors import TraceError

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")


def a_trace():
    """One of everything that can be in it."""
    location = Location(Code.FILE, "/a", 1, "00", "f", 2, "a.c:3")
    extents = tuple(Extent(name, 1, full, full) for name, full in trace_data.dimensions("tdpbssd"))
    return Trace(
        (
            trace.Process(
                1, 0, 1.5, "/a", ("a", "b"),
                (trace.Site(0x1000, "tdpbssd", "tmm0, tmm1, tmm2", location, 4, 0, 5, extents),),
                (trace.Configuration(bytes(64), 1, 1),), (trace.Thread(1, 4, 1, 1, 0, True),),
                trace.Lost((("tilezero", 1),), 1, 2, 3, "full"),
            ),
        ),
        ("one",), ("another",),
    )  # fmt: skip


def replaced(value, path, with_what):
    """A copy of a JSON value with another at the place that `path` names."""
    if not path:
        return with_what
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], with_what)
    return copy


def places(value, path=()):
    """All places in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*path, key))


DERIVED = {"version", "verdicts", "totals", "instructions", "intensity", "utilisation", "tiles"}
OTHERS = (
    *(None, True, -1, 2**64, float("inf"), float("nan"), "", "\ud800", "x\x1b[2J\n", "0x1"),
    *([], [1], {}, [[]], [{}]),
)


def loaded(text):
    """The trace, or the words of the error."""
    try:
        found = trace_json.from_json(text, "it")
    except TraceError as error:
        return str(error)
    return Trace(found.processes, found.unreadable, found.unrecorded)


def test_whatever_a_file_has_is_a_trace_that_can_be_used_or_none():
    """Each value replaced by every kind of value: what is taken can be printed, written and read again."""
    content = json.loads(a_trace().to_json())
    taken = 0
    for place in places(content):
        for other in OTHERS if not DERIVED & {*place[-1:]} or place[-2:-1] == ("lost",) else ():
            found = loaded(json.dumps(replaced(content, place, other)))
            assert str(found).replace("\n", "").isprintable()
            if not isinstance(found, str):
                taken += 1
                assert loaded(found.to_json()) == found
    assert taken > 100  # texts


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 100_000, '{"a":' * 100_000, '{"schema": ' + "9" * 5000 + "}"),
        *('{"schema": 1e999}', '{"schema": [1]}', "\x00", '"schema"', "1"),
    ],
    ids=lambda text: text[:12],
)
def test_json_that_is_no_trace_is_an_error_of_one_kind(tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(TraceError) as raised:
        Trace.load(tmp_path / "file")
    assert str(raised.value).isprintable()


def test_a_fifo_or_a_device_is_no_trace(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(OSError, match="no regular file"):
            Trace.load(path)
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 2**33)
    with pytest.raises(OSError, match="more than"):
        Trace.load(tmp_path / "sparse")


def test_names_in_a_trace_are_printed_as_text(tmp_path):
    found = a_trace()
    site = dataclasses.replace(found.processes[0].sites[0], operands="\x1b[31m")
    process = dataclasses.replace(found.processes[0], sites=(site,))
    process = dataclasses.replace(process, lost=dataclasses.replace(process.lost, reason="\x9b"))
    found = Trace((process, process), ("a\x1b[2J\nb",), ("\u202e",))
    console = Console(file=io.StringIO(), width=200)
    trace_tables.show(found, console)
    for text in (str(found), console.file.getvalue()):
        assert not set(text) & {"\x1b", "\x9b", "\u202e"}
        assert r"a\x1b[2J\nb" in text


def test_no_more_reasons_are_printed_than_can_be_read():
    said = Trace((), tuple(map(str, range(1000)))).verdicts
    assert said[-2:] == ("Not read: 9", "Not read: 990 more.")


def test_more_files_and_entries_than_a_trace_has_are_said(tmp_path, monkeypatch):
    for pid in range(4):
        (tmp_path / f"{pid}.trace").touch()
    site = types.SimpleNamespace()
    raw = types.SimpleNamespace(sites=[site] * 3, configurations=[site], threads=[site])
    monkeypatch.setattr(trace_reading, "read_file", lambda path: raw)
    monkeypatch.setattr(trace_reading, "_process", lambda raw, symbols: a_trace().processes[0])
    monkeypatch.setattr(trace_reading, "FILES", 3)
    monkeypatch.setattr(trace_reading, "ENTRIES", 12)
    found = trace.read(tmp_path)
    assert len(found.processes) == 2
    assert found.unreadable == (
        f"{tmp_path}/2.trace has 5 entries, and a trace 12 in all",
        "1 files more than the 3 of a trace",
    )
