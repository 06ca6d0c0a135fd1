"""amx.dask on workers of their own: what arrives there, once; what they have; and when one is killed."""

import os
import time

import children
import pytest

from amx.pytest_plugin import reason_against

pytest.importorskip("dask.array")
pytest.importorskip("distributed")

CASES = [
    "products_in_processes",
    "products_on_a_cluster",
    "packed_once_on_each_worker",
    "layer_made_once_on_each_worker",
    "plugin_prepares_workers",
    "adaptive_workers_get_it",
    "worker_started_by_hand",
    "worker_without_the_package",
    "killed_in_the_middle",
]


def run(case, directory):
    seed = os.environ.get("AMX_SEED", str(time.time_ns()))
    print("seed", seed)
    done = children.run_python(
        children.SUPPORT / "dask_cluster.py",
        case,
        directory,
        AMX_SEED=seed,
        PYTHONWARNINGS="ignore",
        DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED="False",
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0


@pytest.mark.parametrize("case", CASES)
def test_on_workers(case, tmp_path):
    run(case, tmp_path)


@pytest.mark.skipif(not reason_against("native"), reason="AMX can be used here")
def test_a_worker_without_amx_fails_where_native_is_required(tmp_path):
    run("native_is_required", tmp_path)
