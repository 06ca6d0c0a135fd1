"""Logs of amx-provoke: each is judged and reported, or refused; nothing in it ends who reads it."""

import io
import json
import random
import re
import zlib
from typing import Any

from amx import recorded_facts
from amx.conformance.guest import judging, log
from amx.conformance.report import html, json_report, ktap, markdown
from amx.conformance.report.terminal import Terminal
from fuzz import changing
from fuzz.engine import Fuzzer

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
KERNEL = (
    b"[   12.3] usb 1-1: new device\r\n",
    b"[   14.5] WARNING: CPU: 0 PID: 9 at kernel/x.c:1 f+0x1/0x2\n",
    b"BUG: \x1b[31m\x9b\x00\n",
    b"[    0.0] Linux version 6.1.0 (gcc)\n",
    b"Kernel panic - not syncing: x\n",
)


def judge(data: bytes) -> None:
    """All that `amx check --judge` does with it."""
    half = data.find(b"\x00\x00second\x00\x00")
    try:
        found = log.read([data] if half < 0 else [data[:half], data[half:]])
    except log.LogError as error:
        _shown(str(error))
        return
    place = judging.environment(found, source="a log")
    selection = judging.chosen(found, [])
    runner = judging.LogRunner(found, place, asked=selection.asked)
    said = io.StringIO()
    shown = Terminal(said)
    shown.begin(place)
    results = list(runner.run(selection.checks))
    for result in results:
        shown.show(result)
    report = judging.report(found, place, selection, results, "")
    shown.end(report)
    assert report.exit_status in (0, 1, 77)
    texts = [said.getvalue(), ktap.render(report), markdown.of_report(report), json_report.render(report)]
    for text in texts:
        _shown(text)
    html.render(report).encode(errors="backslashreplace")


def _shown(text: str) -> None:
    assert not CONTROL.search(text), "a terminal would obey it"


def change(chance: random.Random, corpus: list[bytes]) -> bytes:
    """A run that says other things, torn or not, with good checksums most of the time."""
    objects = [json.loads(line) for line in chance.choice(corpus).splitlines()]
    if chance.random() < 0.8:
        objects = changing.spoil_tree(chance, objects)
    if not isinstance(objects, list):
        objects = [objects]
    text = _framed(objects) if chance.random() < 0.8 else _lines(objects)
    for _ in range(chance.choice((0, 0, 1, 3))):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(KERNEL) + text[at:]
    if chance.random() < 0.3:
        text = changing.spoil(chance, text, [text])
    if chance.random() < 0.2:
        text += b"\x00\x00second\x00\x00" + changing.spoil(chance, text, [text])
    return text


def _framed(objects: list[Any]) -> bytes:
    bodies = (json.dumps(each).encode() for each in objects)
    return b"".join(
        b"AMX1 %d %08x %s\n" % (number, zlib.crc32(b"%d %s" % (number, body)), body)
        for number, body in enumerate(bodies)
    )


def _lines(objects: list[Any]) -> bytes:
    return b"".join(
        json.dumps(each["seen"] if isinstance(each, dict) and "seen" in each else each).encode() + b"\n"
        for each in objects
    )


def _plant_unchecked() -> None:
    """The machine in a log is taken to be one."""
    recorded_facts.what_is_wrong = lambda facts: ""


FUZZER = Fuzzer("logs", judge, change, planted={"unchecked": _plant_unchecked})
