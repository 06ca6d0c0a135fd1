"""The plan of a thread's last product serves the next one only if that is the same (csrc/gemm/kept.c)."""

import subprocess

import children
import compiling

CHANGES = ("engine", "op", "threads", "threads", "m", "n", "k", "batch", "operands")


def test_a_plan_is_kept_for_the_same_product_only(tmp_path):
    """1: planned anew, 0: kept, -1: another plan than a first product has; with each thing that it follows.

    Threads count by how many there will be: two of two are as many as are available.
    """
    want = ["first 1", "again 0", *(f"{what} 1 back 1" for what in CHANGES)]
    want += ["in vectors 1 other family 1 again 0", "back 1"]
    want += ["fewer available 1", "as many as available 0", "one available 1"]
    want += ["assumed caches 1", "own caches 1", "another thread's first 1", "after it 0"]
    want += ["impossible -1", "after the impossible 1"]
    sources = ["tests/c/kept_plans.c"]
    sources += [f"csrc/gemm/{name}.c" for name in ("kept", "plan", "workspace", "pages")]
    program = compiling.compile_c(tmp_path / "kept_plans", [compiling.ROOT / source for source in sources])
    result = children.run([program], timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (result.returncode, result.stdout.splitlines()) == (0, want)
