"""docs/dask.md and the examples over Dask run as they stand; the neighbours found are the nearest."""

import importlib.util
import re
import sys

import children
import numpy as np
import pytest

pytest.importorskip("dask.array")
pytest.importorskip("distributed")

EXAMPLES = children.ROOT / "examples"
PAGE = (children.ROOT / "docs/dask.md").read_text()


def example(name):
    spec = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("source", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_page_runs(source, tmp_path):
    script = tmp_path / "page.py"
    script.write_text(source)
    child = children.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    print(child.stdout)
    assert child.returncode == 0, child.stderr


def test_the_picture_of_tasks_is_of_todays_graph(tmp_path):
    child = children.run_python(EXAMPLES / "task_graph.py", tmp_path / "graph.svg")
    assert (child.returncode, child.stderr) == (0, "")
    assert (tmp_path / "graph.svg").read_text() == (children.ROOT / "docs/dask.svg").read_text()


def test_neighbours_of_few_are_found_on_a_cluster(tmp_path):
    pytest.importorskip("zarr")
    options = [
        "--count",
        "30000",
        "--questions",
        "20",
        "--top",
        "3",
        "--dimensions",
        "64",
        "--compare",
        "8192",
    ]
    child = children.run_python(EXAMPLES / "neighbours.py", *options, "--store", tmp_path / "store")
    print(child.stdout)
    assert child.returncode == 0, child.stderr
    assert "have the neighbours that NumPy finds in int64" in child.stdout
    again = [*options[:1], "20000", *options[2:]]
    child = children.run_python(EXAMPLES / "neighbours.py", *again, "--store", tmp_path / "store")
    assert (child.returncode, child.stdout) == (1, "")
    assert "remove it" in child.stderr


@pytest.fixture(scope="module")
def neighbours():
    pytest.importorskip("zarr")
    return example("neighbours")


def by_sorting(scores, top):
    """(2, top, questions): by score, downwards, and then by row."""
    order = np.stack([np.lexsort((np.arange(len(each)), -each))[:top] for each in scores.T], axis=1)
    return np.stack([np.take_along_axis(scores, order, axis=0), order])


@pytest.mark.parametrize("rows", [3, 16, 37, 160, 1000])
@pytest.mark.parametrize("most", [2, 1000, 2**31 - 1])
def test_the_best_of_a_chunk_are_those_of_sorting(rng, neighbours, rows, most):
    scores = rng.integers(-most, most, (rows, 7), np.int32)
    found = neighbours.best_of_chunk(scores, 3, 100, (2, 0))
    want = by_sorting(scores.astype(np.int64), 3)
    assert np.array_equal(found[0, 0], want[0])
    assert np.array_equal(found[0, 1], want[1] + 200)


def test_the_best_of_several_chunks_are_those_of_all(rng, neighbours):
    scores = rng.integers(-5, 5, (100, 7), np.int32)
    parts = [neighbours.best_of_chunk(scores[i : i + 20], 25, 20, (i // 20, 0)) for i in range(0, 100, 20)]
    found = neighbours.best_of_several(np.concatenate(parts))
    assert np.array_equal(found[0], by_sorting(scores.astype(np.int64), 25))
