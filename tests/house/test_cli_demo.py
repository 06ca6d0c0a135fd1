"""`amx demo`, from end to end on the backend of the lane."""

import json
import os
import re

import children
import pytest

import amx
from amx import cli


@pytest.fixture
def report(capsys):
    assert cli.main(["demo", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_report_is_true(report):
    assert report["tiles"] == {"dpbusd": True, "dpbf16ps": True}
    assert report["machine"]["backend"] == amx.get_backend("int8").value
    assert report["machine"]["tiles"] == amx.get_backend().value
    engines = {model["format"]: model["engine"] for model in report["classifier"]["models"]}
    assert (engines["int8"], engines["bfloat16"]) == (
        amx.get_backend("int8").value,
        amx.get_backend("bf16").value,
    )
    accuracy = {model["format"]: model["accuracy"] for model in report["classifier"]["models"]}
    # Training gives about 0.94; a wrong zero point or scale costs far more than 0.01.
    assert accuracy["float32"] > 0.9
    assert abs(accuracy["bfloat16"] - accuracy["float32"]) < 0.01
    assert abs(accuracy["int8"] - accuracy["float32"]) < 0.01


def test_every_key_is_documented(report):
    _, _, section = (children.ROOT / "docs/json.md").read_text().partition("\n## `amx demo --json`\n")
    section = section.partition("\n## ")[0]
    assert report["schema"] == 1
    for part in (report["machine"], report["tiles"], report["classifier"], report["classifier"]["models"][0]):
        assert all(f"`{key}`" in section for key in part)


def test_the_text_names_the_backend_and_the_speeds(capsys):
    amx.set_backend("vector")
    try:
        assert cli.main(["demo"]) == 0
    finally:
        amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))
    text = capsys.readouterr().out
    assert re.search(r"^Backend: +vector\nTiles: +emulated$", text, re.MULTILINE)
    assert text.count("GOP/s") == 3
