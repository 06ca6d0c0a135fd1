"""A roofline of `amx bench --json`: kernels on packed operands, below what memory and instructions allow.

All are best samples: other work on the machine takes from a median, and adds nothing to the best.
"""

from __future__ import annotations

import json
import math
from typing import Any

from draw.svg import document, text

COMMAND = "amx bench square 1x4096x4096 16x4096x4096 --quick --peers none --json"
LEFT, RIGHT, TOP, BOTTOM, WIDTH, HEIGHT = 70, 24, 64, 56, 760, 500
RANGE, RATES = (0.5, 1024), (10, 20, 50, 100, 200, 500, 1000)  # operations per byte; GOP/s
BYTES = {"int8": 1, "bf16": 2}  # of an element of A and B; C has 4
STYLE = """
.axis { stroke: #9aa5b1; fill: none } .grid { stroke: #cbd2d9; stroke-width: 0.5; fill: none }
.roof { fill: none; stroke-width: 1.5 } .int8 { stroke: #0072b2 } .bf16 { stroke: #c26a00 }
circle.int8 { fill: #0072b2 } circle.bf16 { fill: #ffffff; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  .axis { stroke: #7b8794 } .grid { stroke: #3e4c59 } .int8 { stroke: #56b4e9 } .bf16 { stroke: #e69f00 }
  circle.int8 { fill: #56b4e9 } circle.bf16 { fill: #11181f }
}
"""


def intensity(kernel: dict[str, Any]) -> float:
    """Operations per byte of A, B and C."""
    m, n, k = kernel["m"], kernel["n"], kernel["k"]
    return 2 * m * n * k / ((m * k + k * n) * BYTES[kernel["dtype"]] + 4 * m * n)


def best_rate(kernel: dict[str, Any]) -> float:
    """GOP/s of the fastest sample."""
    return float(kernel["gops"] * kernel["seconds"]["median"] / kernel["seconds"]["low"])


def x_of(value: float) -> float:
    """Where so many operations per byte are."""
    low, high = RANGE
    return round(LEFT + math.log(value / low) / math.log(high / low) * (WIDTH - LEFT - RIGHT), 1)


def y_of(gops: float) -> float:
    """Where so many GOP/s are."""
    low, high = RATES[0], RATES[-1]
    return round(HEIGHT - BOTTOM - math.log(gops / low) / math.log(high / low) * (HEIGHT - TOP - BOTTOM), 1)


def axes() -> list[str]:
    """The grid and its numbers."""
    drawn = [text(WIDTH / 2, HEIGHT - 14, "operations per byte of A, B and C", anchor="middle")]
    drawn.append(text(16, TOP - 8, "GOP/s", "quiet"))
    value = RANGE[0]
    while value <= RANGE[1]:
        drawn.append(f'<path class="grid" d="M{x_of(value):g} {TOP} V{HEIGHT - BOTTOM}"/>')
        drawn.append(text(x_of(value), HEIGHT - BOTTOM + 18, f"{value:g}", "quiet", anchor="middle"))
        value *= 4
    for rate in RATES:
        drawn.append(f'<path class="grid" d="M{LEFT} {y_of(rate):g} H{WIDTH - RIGHT}"/>')
        drawn.append(text(LEFT - 8, y_of(rate) + 4, f"{rate}", "quiet", anchor="end"))
    return drawn


def roof(dtype: str, row: dict[str, Any], memory: float) -> list[str]:
    """What GB/s of memory and then the best instruction allow."""
    rate = row["rate"]["high"]
    start = max(RANGE[0], RATES[0] / memory)
    path = (
        f"M{x_of(start):g} {y_of(memory * start):g} L{x_of(rate / memory):g} {y_of(rate):g} H{WIDTH - RIGHT}"
    )
    words = f"{dtype}: {row['name']}, {rate:.0f} GOP/s"
    line = f'<path class="roof {dtype}" d="{path}"/>'
    return [line, text(WIDTH - RIGHT, y_of(rate) - 7, words, anchor="end")]


def point(kernel: dict[str, Any]) -> list[str]:
    """One kernel; the name of a square stands below, others beside it."""
    x, y = x_of(intensity(kernel)), y_of(best_rate(kernel))
    circle = f'<circle class="{kernel["dtype"]}" cx="{x:g}" cy="{y:g}" r="4"/>'
    if kernel["m"] == kernel["n"]:
        return [circle, text(x, y + 17, str(kernel["m"]), "quiet", anchor="middle")]
    return [circle, text(x + 8, y + 4, f"{kernel['m']}x{kernel['n']}", "quiet")]


def draw(record: str) -> str:
    """The SVG; the record is without its command."""
    report = json.loads(record)
    measured = [row for row in report["ceiling"] if row["rate"] and row["threads"] == 1]
    memory = next(row["rate"]["high"] for row in measured if row["name"].startswith("read memory"))
    where = f"{report['conditions']['processor']}; linux-amx {report['version']}; no AMX: vector registers"
    drawn = [text(LEFT, 24, "Kernels on packed operands, one thread, best samples", "title")]
    drawn += [text(LEFT, 44, where, "quiet"), *axes()]
    for dtype in BYTES:
        drawn += roof(dtype, next(row for row in measured if dtype in row["limits"]), memory)
    for kernel in report["kernels"]:
        drawn += point(kernel)
    drawn.append(text(LEFT + 6, y_of(RATES[-1]) + 16, f"slope: memory, {memory:.0f} GB/s", "quiet"))
    description = (
        "Memory allows a rate that grows with the operations per byte, the best instruction a constant "
        "one. Points are kernels, by M, or M x N, of the product: filled for int8, hollow for bf16. "
        + "; ".join(f"{each['case']} {best_rate(each):.0f} GOP/s" for each in report["kernels"])
    )
    return document(WIDTH, HEIGHT, "Roofline of a machine without AMX", description, drawn, STYLE)
