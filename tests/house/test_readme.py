"""The Python of README.md and docs/emulation.md runs; docs/reference/causes.md has all causes there are."""

import re
import sys
from pathlib import Path

import children
import pytest

from amx.causes import Cause

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EMULATION = (ROOT / "docs" / "emulation.md").read_text()


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", README + EMULATION, re.DOTALL))
def test_the_example_runs(example, tmp_path):
    child = children.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    print(child.stdout)
    assert child.returncode == 0, child.stderr


def test_the_table_of_causes_is_the_packages():
    page = (ROOT / "docs/reference/causes.md").read_text()
    rows = re.findall(r"^\| (.*) \| (.*) \|$", page, re.MULTILINE)
    assert rows[1:] == [(cause.words, cause.remedy) for cause in Cause]
