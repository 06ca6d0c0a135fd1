"""What a session of `amx bench` leaves out, and the reason that it says."""

import os

import benching
import pytest
from benching import case, report_of
from rich.console import Console

import amx
from amx.backend import Backend, vector_families
from amx.bench import memory, records, session, tables

emulated, small = benching.emulated, benching.small  # fixtures


@pytest.mark.parametrize(
    ("text", "quick", "reasons"),
    [
        ("512x512x512", True, []),
        ("513x512x512", True, ["too large for --quick"]),
        ("1024x1024x1025", False, ["too large for the emulated backend"]),
    ],
)
def test_large_products_are_left_out_with_the_reason(emulated, text, quick, reasons):
    _, left_out = session._choose(session.Options((case(text),), (), quick=quick))
    assert [left.reason for left in left_out] == reasons


def test_what_memory_does_not_hold_is_left_out(emulated):
    """Before anything is allocated: a row of 10^12 elements."""
    _, (left,) = session._choose(session.Options((case("8x8x8@1000000000000"),), ()))
    assert left.reason.startswith("needs some ")
    assert memory.needed(case("7x8x9x10")) == 7 * memory.needed(case("8x9x10")) == 7 * 12 * (80 + 90 + 4 * 72)


def test_what_cannot_be_measured_is_a_row_with_the_reason(emulated, small):
    rows = report_of("8x9x10").ceiling.rows
    tiles = [row for row in rows if "tileload" in row.name or row.dtype]
    assert tiles
    assert all(row.rate is None and row.reason for row in tiles)
    assert all(row.rate.low > 0 for row in rows if row not in tiles)


def test_a_report_names_the_engine_and_its_kernels(small, capsys):
    """Without tiles: those that `amx.backend` has of this CPU, in JSON and in words."""
    amx.set_backend("vector")
    try:
        report = report_of("8x9x10")
    finally:
        amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))
    engine = Backend.VECTOR if vector_families("int8") else Backend.EMULATED
    families = {"int8": vector_families("int8")[0]} if engine is Backend.VECTOR else {}
    assert [row.engine for row in report.kernels] == [engine]
    conditions = records.as_json(report)["conditions"]
    assert (conditions["engines"], conditions["families"]) == ({"int8": engine.value}, families)
    tables.show(report, Console(width=240))
    said = " ".join(["int8", engine.value, *(f"({name})" for name in families.values())])
    assert f"engines: {said}\n" in capsys.readouterr().out
