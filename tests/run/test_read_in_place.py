"""Whether an A is read in place or packed first (csrc/gemm/blocks.c), on the caches of Sapphire Rapids."""

import subprocess

import children
import compiling

MIB = 1 << 20

# (m, n, k, address, bytes from row to row, and from column to column) of an int8 A; L2 has 2 MiB.
WHERE = {
    "whole lines": ((1024, 1024, 1024, 0, 1024, 1), "in place"),
    "whole lines with one between": ((1024, 1024, 1024, 0, 1088, 1), "in place"),
    "by columns": ((1024, 1024, 1024, 0, 1, 1024), "packed"),
    "by columns, small": ((16, 16, 64, 0, 1, 16), "packed"),
    "every other column": ((1024, 1024, 1024, 0, 2048, 2), "packed"),
    # A row of a tile in two lines costs as much as copying it in six panels of B, where it comes from L2.
    "off a line": ((1024, 1024, 1024, 16, 1024, 1), "packed"),
    "off a line now and then": ((1024, 1024, 1024, 0, 1040, 1), "packed"),
    "off a line, 256 columns": ((1024, 256, 1024, 16, 1024, 1), "packed"),
    "off a line, 255 columns": ((1024, 255, 1024, 16, 1024, 1), "in place"),
    "off a line, in L1": ((64, 1024, 128, 16, 128, 1), "in place"),
    "off a line, few rows": ((16, 4096, 4096, 16, 4096, 1), "in place"),
    # 2 MiB hold 512 rows that are 4096 bytes apart, and shorter; of K = 1024, 512 are used in turns.
    "rows share sets": ((1024, 1024, 1024, 0, 4096, 1), "packed"),
    "rows share sets, backwards": ((1024, 1024, 1024, MIB * 4, -4096, 1), "packed"),
    "rows fill what lies between": ((32, 1024, 128 << 10, 0, 128 << 10, 1), "in place"),
    "more rows than are used in turns": ((1024, 1024, 1024, 0, 2048, 1), "in place"),
    "fewer rows than whole blocks": ((36, 1024, 1024, 0, 32 << 10, 1), "in place"),
    "not so many rows": ((448, 1024, 1024, 0, 4096, 1), "in place"),
    "no power of two": ((1024, 1024, 1024, 0, 4096 + 64, 1), "in place"),
    "a multiple of one": ((1024, 1024, 1024, 0, 3 * 4096, 1), "packed"),
    "far apart": ((64, 1024, 1024, 0, 64 << 10, 1), "packed"),
    # Only what K leaves of the last 64 bytes is copied.
    "a tail": ((1024, 1024, 1000, 0, 1024, 1), "in place but for a tail"),
    "a tail of one": ((32, 32, 65, 0, 128, 1), "in place but for a tail"),
    "nothing but a tail": ((32, 32, 63, 0, 64, 1), "packed"),
    "a tail off a line": ((1024, 1024, 1000, 16, 1024, 1), "packed"),
}


def test_an_a_is_packed_only_where_that_pays(tmp_path):
    sources = ["tests/c/read_in_place.c"]
    sources += [
        f"csrc/gemm/{name}.c" for name in ("driver", "blocks", "stop", "plan", "kept", "workspace", "pages")
    ]
    program = compiling.compile_c(tmp_path / "read_in_place", [compiling.ROOT / name for name in sources])
    products = [" ".join(map(str, product)) for product, _ in WHERE.values()]
    result = children.run(
        [program, *products], timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert result.returncode == 0
    assert dict(zip(WHERE, result.stdout.splitlines(), strict=True)) == {
        name: where for name, (_, where) in WHERE.items()
    }
