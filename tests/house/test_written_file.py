"""What others than commands write is whole or not there, too; tests/house/test_cli_files.py has the cases."""

import os

import children
import pytest

from amx.emulation import trace


def test_a_trace_that_finds_no_room_leaves_the_old_one(tmp_path):
    """In a child: the limit stays."""
    file = tmp_path / "trace"
    file.write_text("old")
    code = (
        "import resource, sys\n"
        "from amx.emulation import trace\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "trace.Trace(()).write(sys.argv[1])\n"
    )
    done = children.run_python("-c", code, file)
    assert done.stderr.endswith("OSError: [Errno 27] File too large\n")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["trace"]


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_trace_is_written_by_any_name(tmp_path, kind):
    trace.Trace(()).write(kind(tmp_path / "trace"))
    assert trace.Trace.load(tmp_path / "trace") == trace.Trace(())
