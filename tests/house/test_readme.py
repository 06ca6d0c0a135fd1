"""README.md: its Python runs, as that of docs/emulation.md; its table has all causes the package can name."""

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
    _, _, section = README.partition("\n## What `amx.explain` can tell\n")
    rows = re.findall(r"^\| (.*) \| (.*) \|$", section, re.MULTILINE)
    assert rows[1:] == [(cause.words, cause.remedy) for cause in Cause]
