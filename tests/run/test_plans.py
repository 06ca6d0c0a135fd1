"""How products are cut: by the caches and the shape, printed with reasons, and with the same bits always."""

import os
import re
import time
from pathlib import Path

import children
import numpy as np
import operands
import pytest
import vector_family
from machines import load
from small_caches import TINY, assumed

import amx
from amx import machine, planning
from amx.backend import vector_families
from amx.caches import Caches, own_caches
from amx.lowlevel import ffi, lib

GRANITE_RAPIDS = Caches(48 << 10, 2 << 20)
ICE_LAKE = Caches(32 << 10, 1 << 20)


def plan(m, n, k, dtype="int8", *, caches=GRANITE_RAPIDS, threads=1, **options):
    return amx.plan(m, n, k, dtype, threads, caches=caches, backend="native", **options)


class WithCaches:
    """A recorded machine whose leaf 4 says what `caches` says."""

    def __init__(self, name, caches):
        self.recorded, self.caches = load(name), caches
        self.stub = False

    def cpuid(self, leaf, subleaf=0):
        if leaf == 4:
            size, kind = {0: (self.caches.l1, 0x21), 1: (self.caches.l2, 0x43)}.get(subleaf, (0, 0))
            ways = 8
            return machine.Registers(kind, (ways - 1) << 22 | 63, max(0, size // 64 // ways - 1), 0)
        return self.recorded.cpuid(leaf, subleaf)


def plan_on(name, caches, *sizes):
    with machine.use(WithCaches(name, caches)):
        assert own_caches() == caches
        return plan(*sizes, caches=own_caches())


def test_a_plan_follows_the_caches_not_the_model():
    """Two models with the same caches get the same plan, one model with other caches another one."""
    sizes = 4096, 4096, 4096
    one = plan_on("sapphire-rapids", GRANITE_RAPIDS, *sizes)
    assert plan_on("granite-rapids-d", GRANITE_RAPIDS, *sizes) == one
    other = plan_on("sapphire-rapids", ICE_LAKE, *sizes)
    assert (other.kc, other.mc) != (one.kc, one.mc)


def test_this_machine_is_read_alike_from_python_and_c():
    """The caches of a plan are what amx.caches reads."""
    amx.set_backend("emulated")
    if not isinstance(machine.current(), machine.Real):
        pytest.skip("the machine is a recorded one")
    assert amx.plan(1, 1, 1).caches == own_caches()


@pytest.mark.parametrize("caches", [GRANITE_RAPIDS, ICE_LAKE, Caches(64 << 10, 512 << 10)])
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
@pytest.mark.parametrize("size", [64, 100, 256, 512, 1000, 2048, 4096, 20_000])
def test_blocks_stay_in_the_caches_they_are_planned_for(caches, dtype, size):
    """A panel of B in two thirds of L1; in half of L2 A with all of K, or blocks of A, B and partial sums."""
    p = plan(size, size, size, dtype, caches=caches)
    width, k_bytes = p.nr, p.kc * 64
    assert width * k_bytes <= caches.l1 * 2 / 3
    if p.nc == width or p.kc == p.chunks:
        kept = p.mc * p.chunks * 64
    else:
        kept = p.mc * k_bytes + p.nc * k_bytes + 4 * p.mc * p.nc
    assert kept <= caches.l2 / 2
    assert p.mc % p.mr == p.nc % width == p.stripe % width == 0


@pytest.mark.parametrize("m", [1, 16])
def test_few_rows_are_a_stream_of_b(m):
    """One pass over B, whole K at once, so that no byte of it is loaded twice and C is written once."""
    p = plan(m, 4096, 4096, packed=True)
    assert (p.mr, p.nr) == (16, 64)
    assert p.kc == p.chunks
    assert p.nc == p.stripe == 4096
    assert p.stream_b
    assert p.huge_pages


def test_a_stream_may_be_of_any_size():
    """2**63 bytes of B and more are beyond L1 as well: sizes overflow nothing."""
    for k in (40, 46, 47, 48):
        assert plan(16, 1 << 16, 1 << k).stream_b


MANY_THREADS = """
import amx
print(amx.get_num_threads())
p = amx.plan(64, 1 << 20, 1 << 48, "bfloat16", caches=amx.caches.Caches(48 << 10, 1 << 20), backend="native")
print(p.threads, p.prefetch_b)
"""


def test_many_threads_overflow_nothing():
    """The stripe of 2048 threads, 2**65 bytes, stays in no cache."""
    result = children.run_python("-c", MANY_THREADS, OMP_NUM_THREADS="2048")
    assert result.returncode == 0, result.stderr
    threads, line = result.stdout.splitlines()
    assert (threads, line) == ("2048", "2048 True")


def test_threads_split_the_columns_of_a_stream():
    """Each thread has columns of B of its own."""
    if amx.get_num_threads() < 2:
        pytest.skip("this process may use one CPU")
    p = plan(16, 4096, 4096, threads=2)
    assert (p.threads, p.row_parts, p.column_parts) == (2, 1, 2)


@pytest.mark.parametrize(("distinct", "over_batch"), [(1, False), (2, True), (8, True), (0, True)])
def test_a_batch_is_shared_as_its_operands_are(distinct, over_batch):
    """Two threads take whole items, unless both would pack the one second operand; 0: packed already."""
    if amx.get_num_threads() < 2:
        pytest.skip("this process may use one CPU")
    p = ffi.new("struct amx_gemm_plan *")
    sizes = 512, 512, 512, 8
    assert lib.amx_gemm_make_plan(lib.AMX_NATIVE, lib.AMX_TDPBSSD, 2, *sizes, distinct, ffi.NULL, p) == 0
    assert (p.threads, p.over_batch) == (2, over_batch)


FEW_ITEMS = """
import amx
print(amx.get_num_threads())
for m, n, batch in (32, 32, 3), (64, 32, 3), (64, 64, 3), (64, 512, 3), (32, 32, 20):
    p = amx.plan(m, n, 4096, batch=batch, backend="native")
    print(p.threads, p.over_batch)
"""


def test_a_batch_of_fewer_items_than_threads():
    """Eight threads: three items of one or two blocks go to a thread each, those of more are shared."""
    result = children.run_python("-c", FEW_ITEMS, OMP_NUM_THREADS="8")
    assert result.returncode == 0, result.stderr
    threads, *lines = result.stdout.splitlines()
    assert threads == "8"
    assert lines == ["3 True", "3 True", "4 False", "8 False", "8 True"]


def test_the_kernel_follows_the_size_of_l2():
    """1x4 tiles where A, B and C stay in half of L2 (256: 384 KiB), else 2x2."""
    assert plan(256, 256, 256).nr == 64
    assert plan(256, 256, 256, caches=Caches(48 << 10, 512 << 10)).nr == 32
    assert plan(512, 512, 512).nr == 32  # 1.5 MiB
    assert plan(64, 64, 2048).nr == 32  # 64 columns of B are 128 KiB, no panel for L1


def test_stores_go_past_the_caches_where_c_does_not_fit():
    """C of 1 MiB stays in half of 2 MiB, that of 4 MiB does not; a shallow K could not hide the stores."""
    assert not plan(512, 512, 512).stream_c
    assert plan(1024, 1024, 1024).stream_c
    assert not plan(1024, 1024, 1024, caches=Caches(48 << 10, 16 << 20)).stream_c
    assert not plan(1024, 1024, 64).stream_c
    assert plan(20_000, 20_000, 64).stream_c  # C is larger than any cache


def test_c_that_does_not_stay_in_l1_is_prefetched():
    """16 KiB do, 64 KiB do not; nor 4 MiB, where rows that are no whole lines keep it in the caches."""
    assert not plan(64, 64, 64).prefetch_c
    assert plan(128, 128, 128).prefetch_c
    assert plan(1000, 1001, 1000).prefetch_c


def test_b_from_beyond_l2_is_prefetched_beside_products():
    """4 MiB are, and 1 MiB beside A; not 256 KiB, nor where one row of blocks leaves no products beside."""
    assert plan(2048, 2048, 2048, packed=True).prefetch_b
    assert plan(1024, 1024, 1024, packed=True).prefetch_b
    assert not plan(512, 512, 512, packed=True).prefetch_b
    assert not plan(32, 4096, 4096, packed=True).prefetch_b
    assert not plan(64, 4096, 4096).prefetch_b  # packed by the call, into L2


def test_a_deep_product_keeps_a_in_l2():
    """192 rows of 4096 bytes are three eighths of 2 MiB, and 128 of 8192 half; else square blocks.

    A tile of B comes from beyond L2 in 105 cycles, and is multiplied by 105 rows in as many.
    """
    p = plan(4096, 4096, 4096)
    assert (p.mc, p.nc, p.kc) == (192, 32, 16)
    p = plan(4096, 4096, 4096, "bfloat16")
    assert (p.mc, p.nc, p.kc) == (128, 32, 16)
    p = plan(4096, 4096, 10923)  # 96 rows
    assert p.mc == p.nc > 128
    p = plan(4096, 4096, 65536)
    assert p.mc == p.nc > 128


def test_blocks_of_rows_are_equal():
    """Three eighths of L2 hold 768 rows of 1024: two blocks of 512; 700 rows are one, and 800 two of 416."""
    for m, mc in (1024, 512), (700, 704), (800, 416):
        assert plan(m, 1024, 1024).mc == mc


def test_where_a_may_be_packed():
    """Where A comes from L2 and enough columns use it; not for few columns, nor from L1."""
    assert plan(1024, 1024, 1024).pack_a
    assert not plan(1024, 128, 1024).pack_a
    assert not plan(64, 64, 64).pack_a


def test_a_plan_says_why():
    """Printed: kernel, blocks, packing, loads, stores, huge pages and threads, each with its reason."""
    text = str(plan(4096, 4096, 4096))
    for words in (
        "48 KiB L1, 2048 KiB L2", "2x2 tiles: one load for each product", "of 64 chunks of K",
        "TILELOADDT1, since it exceeds L1", "columns at a time, on huge pages", "past the caches",
    ):  # fmt: skip
        assert words in text
    assert "packed already" in str(plan(4096, 4096, 4096, packed=True))
    assert "one row of tiles" in str(plan(16, 64, 64))
    if amx.get_num_threads() > 1:  # a row of blocks each
        assert "each panel of B is used once" in str(plan(64, 32, 65536, threads=2))


@pytest.mark.parametrize("family", ["", *vector_family.others()])
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_plan_in_vector_registers_speaks_of_no_tiles(dtype, family):
    """It names the family; panels of tiles hold whole blocks of columns, and nothing goes past the caches."""
    names = vector_families({"int8": "int8", "bfloat16": "bf16"}[dtype])
    with vector_family.selected(family):
        p = amx.plan(1000, 1000, 3000, dtype, 1, caches=GRANITE_RAPIDS, backend="vector")
        few = amx.plan(1, 4096, 4096, dtype, 1, backend=amx.Backend.VECTOR)
    if not names:
        pytest.skip("this CPU has no kernels for it")
    assert p.backend is few.backend is amx.Backend.VECTOR
    assert p.family == (family if family in names else names[0])
    assert p.kc < p.chunks
    assert p.mc % p.mr == p.nc % 32 == 32 % p.nr == p.stripe % 32 == 0
    assert not any([p.stream_a, p.stream_b, p.pack_a, p.stream_c, p.prefetch_b])
    assert f"of {dtype} on vector, 48 KiB L1" in str(p)
    assert f"{p.family}: {p.mr} rows and {p.nr} columns of C in vector registers" in str(p)
    assert "the rows of A and partial sums in L2" in str(p)
    assert f"the next {p.nr} columns are prefetched" in str(p)
    assert "B goes by once" in str(few)
    assert few.kc == few.chunks
    assert "prefetched" not in str(few)
    assert not re.search("(?i)tile", str(p) + str(few))
    for backend in ("native", "emulated"):
        assert amx.plan(100, 100, 100, dtype, backend=backend).family is None


def test_where_vector_registers_have_no_kernels_the_plan_is_one_of_tiles(monkeypatch):
    """As C then takes it: on the software tile machine."""

    class WithoutFamilies:
        def __getattr__(self, name):
            return getattr(lib, name)

        def amx_gemm_make_plan(self, engine, *arguments):
            assert engine == lib.AMX_VECTOR
            return lib.amx_gemm_make_plan(lib.AMX_EMULATED, *arguments)

    monkeypatch.setattr(planning, "lib", WithoutFamilies())
    p = amx.plan(100, 100, 100, "bf16", backend="vector")
    assert (p.backend, p.family) == (amx.Backend.EMULATED, None)
    assert "bfloat16 on emulated" in str(p)
    assert "2x2 tiles" in str(p)


def test_impossible_plans_are_refused():
    """Caches and threads that cannot be, and unknown backends, are named."""
    for size in (0, -1, 2**62, 2**64):
        for caches in (Caches(size, 1 << 20), Caches(32 << 10, size)):
            with pytest.raises(amx.errors.ShapeError, match=rf"caches=.*{size}"):
                plan(1, 1, 1, caches=caches)
    for threads in (-1, 2**31, 2**70):
        with pytest.raises(amx.errors.ShapeError, match=rf"threads={threads}"):
            plan(1, 1, 1, threads=threads)
    with pytest.raises(amx.errors.BackendError, match="quantum"):
        amx.plan(1, 1, 1, backend="quantum")
    with pytest.raises(TypeError, match=r"caches=\(49152, 2097152\): pass amx\.caches\.Caches"):
        plan(1, 1, 1, caches=(48 << 10, 2 << 20))


def aligned(shape, dtype, apart):
    """A C-ordered array from a 64-byte boundary, its rows `apart` elements of 4 bytes beyond each other."""
    rows, columns = shape
    row = columns + apart
    memory = np.full(rows * row * 4 + 64, 0x55, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + rows * row * 4].view(dtype).reshape(rows, -1)


def rows_4096_bytes_apart(a):
    """Rows that share sets of a small second-level cache, which are packed."""
    memory = aligned((a.shape[0], 1024), a.dtype, 0)
    memory[:, : a.shape[1]] = a
    return memory[:, : a.shape[1]]


LAYOUTS = (np.asarray, np.asarray, rows_4096_bytes_apart, np.asfortranarray)


@pytest.mark.parametrize("caches", TINY, ids=str)
def test_small_caches_turn_every_loop(backend, caches):
    """Cut K with partial sums, blocks, stripes and stores past the caches, all tails: the oracle's bits."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    seen = set()
    with assumed(caches):
        for number in range(30):
            pairs = operands.pairs_of(backend)
            pair = pairs[number % len(pairs)]
            m, n, k = (int(x) for x in rng.integers([1, 1, 1], [100, 160, 700]))
            if number < 3:  # what every one of the loops needs, and a stream
                m, n, k = [(130, 272, 3000), (97, 160, 200), (8, 300, 500)][number]
            elif number % 3 == 0:
                n = (n + 15) // 16 * 16  # whole lines, which stores past the caches want
            a = operands.random_array(rng, (m, k), pair[0], special=0.02)
            b = operands.random_array(rng, (k, n), pair[1], special=0.02)
            want = operands.expected(a, b, pair[0])
            threads = 1 if number < 3 else int(rng.integers(1, 3))
            p = amx.plan(m, n, k, pair[0], threads, packed=number % 2 == 1)
            assert p.caches == caches
            seen |= {("cut", p.kc < p.chunks), ("kernel", p.nr), ("past", p.stream_c)}
            seen |= {("square", p.kc < p.chunks and p.nc > p.nr), ("ahead", p.prefetch_b)}
            seen |= {("packs A", p.pack_a), ("fetches C", p.prefetch_c)}
            seen |= {("blocks", p.mc < m or p.nc < n), ("stripes", p.stripe < n)}
            out = aligned((m, n), np.int32 if pair[0].endswith("int8") else np.float32, apart=16)
            amx.set_num_threads(threads)
            first = LAYOUTS[number % 4](a)
            amx.matmul(first, amx.pack(b) if number % 2 else b, out=out[:, :n])
            assert np.array_equal(operands.as_bits(np.ascontiguousarray(out[:, :n])), want), (
                f"seed {seed}, product {number}: {pair}, {m} {n} {k}, {threads} thread(s)\n{p}"
            )
            assert (out[:, n:].view(np.uint8) == 0x55).all(), f"seed {seed}, product {number}: beyond C"
        amx.set_num_threads(None)
    assert {("cut", True), ("blocks", True), ("stripes", True)} <= seen
    if backend == "vector":
        assert not {("past", True), ("packs A", True), ("fetches C", True), ("ahead", True)} & seen
        return
    assert {("kernel", 32), ("kernel", 64)} <= seen
    assert (("past", True) in seen) == (backend == "native")
    assert caches == TINY[0] or (("packs A", True) in seen) == (backend == "native")
    assert (("fetches C", True) in seen) == (backend == "native")
    assert caches != TINY[1] or (("ahead", True) in seen) == (backend == "native")
    assert (("square", True) in seen) == (caches == TINY[1])


def test_batches_with_a_shared_operand(backend):
    """Operands that are broadcast over a batch, in runs and in turns, packed in several stripes."""
    rng = np.random.default_rng(41)
    with assumed(TINY[0]):
        for a_batch, b_batch in [
            ((3, 2), (1, 2)),
            ((2, 3), (2, 1)),
            ((4,), (1,)),
            ((1, 2), (3, 1)),
            ((5,), ()),
        ]:
            a = operands.random_array(rng, (*a_batch, 20, 70), "int8")
            b = operands.random_array(rng, (*b_batch, 70, 150), "uint8")
            want = np.matmul(a.astype(np.int64), b.astype(np.int64))
            for threads in (1, 2):
                amx.set_num_threads(threads)
                np.testing.assert_array_equal(amx.matmul(a, b), want)
                np.testing.assert_array_equal(amx.matmul(a[..., ::-1, :], b), want[..., ::-1, :])
        amx.set_num_threads(None)


HUGE_PAGES = """
import pathlib, sys
import numpy as np
import amx
amx.set_backend("emulated")
b = np.ones((2048, 2048), np.int8)
packed = amx.pack(b)
assert (amx.matmul(np.ones((3, 2048), np.int8), packed) == 2048).all()
advised = 0
for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
    words = line.split()
    if words[0] == "Size:":
        size = int(words[1])
    if words[0] == "VmFlags:" and "hg" in words:
        advised = max(advised, size)
print(advised)
"""


def test_large_packed_operands_ask_for_huge_pages():
    """4 MiB of panels lie in memory that was advised as MADV_HUGEPAGE."""
    if not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this kernel has no transparent huge pages")
    result = children.run_python("-c", HUGE_PAGES)
    assert children.how_it_ended(result) == 0, result.stderr
    assert int(result.stdout) >= 4 << 10  # KiB


NO_ADVICE = """
import under_seccomp
under_seccomp.SYS_ARCH_PRCTL = 28  # madvise, whose operation is its third argument
under_seccomp.OFFSET_ARG0 += 16
under_seccomp.install("errno=22", [14])  # MADV_HUGEPAGE
"""


def test_huge_pages_are_only_asked_for():
    """Where the kernel answers MADV_HUGEPAGE with EINVAL, as without transparent huge pages, all works."""
    result = children.run_python("-c", NO_ADVICE + HUGE_PAGES)
    assert children.how_it_ended(result) == 0, result.stderr
    assert result.stdout.strip() == "0"


# MxNxK of int8: products, loads of A, loads of B, and how often another shape is configured. Each product's
# tile of C is zeroed and stored once besides, and loaded and stored once more for each further block of K;
# STTILECFG and TILERELEASE come once.
COUNTED = {
    (64, 64, 64): (16, 4, 16, 1),
    (1, 512, 512): (32 * 8, 8 * 8, 32 * 8, 1),  # B once, A for each 64 columns
    (16, 512, 512): (32 * 8, 8 * 8, 32 * 8, 1),
    (100, 100, 100): (49 * 2, 2 * 7 * 2, 7 * 7 * 2, 4),
    (512, 512, 64): (32 * 32, 32 * 16, 32 * 16, 1),  # 2x2 tiles
    (96, 64, 2048): (6 * 4 * 32, 2 * 6 * 32, 3 * 4 * 32, 1),  # 2x2, and K in two blocks
    # Two shapes in two panels of four blocks of K: one changes in each, none from one to the next.
    (40, 64, 4096): (12 * 64, 2 * 3 * 64, 2 * 4 * 64, 1 + 2 * 4),
    # Four shapes in 16 blocks of K: each block begins with the last one of the block before.
    (70, 72, 16384): (25 * 256, (2 * 6 + 2) * 256, 3 * 5 * 256, 1 + 3 * 16),
    # Two where the last column tile is whole, and one where the last row tile is too.
    (70, 80, 16384): (25 * 256, (2 * 6 + 2) * 256, 3 * 5 * 256, 1 + 16),
    (80, 80, 16384): (25 * 256, (2 * 6 + 2) * 256, 3 * 5 * 256, 1),
}


def executed(a, packed):
    """How many instructions the product of ones takes on one thread."""
    import native_lane

    if not native_lane.is_trapped():
        pytest.skip("tiles are the CPU's here, and nothing counts their instructions")
    amx.set_backend("native")
    assert amx.get_backend("int8") is amx.Backend.NATIVE  # decided, so that arrays are read in place
    amx.set_num_threads(1)
    lib.amx_gemm_ask(ffi.NULL)  # it costs three instructions, every few milliseconds
    try:
        with assumed(GRANITE_RAPIDS):
            before = native_lane.emulated()
            assert (amx.matmul(a, packed) == a.shape[-1]).all()
            count = native_lane.emulated() - before
    finally:
        lib.amx_gemm_ask(ffi.addressof(lib, "amx_run_handlers"))
    amx.set_num_threads(None)
    return count


def ones(*shape):
    return np.ones(shape, np.int8)


@pytest.mark.in_lane
@pytest.mark.parametrize("sizes", COUNTED, ids=str)
def test_no_instruction_is_executed_that_the_plan_does_not_need(sizes):
    """Counted by the emulator: loads of each operand, configurations only where shapes change."""
    m, n, k = sizes
    products, loads_of_a, loads_of_b, shapes = COUNTED[sizes]
    tiles = -(-m // 16) * -(-n // 16)
    p = plan(m, n, k, packed=True)
    spills = -(-p.chunks // p.kc) - 1
    want = products + loads_of_a + loads_of_b + 2 * tiles * (1 + spills) + shapes + 2
    assert executed(ones(m, k), amx.pack(ones(k, n))) == want


@pytest.mark.in_lane
@pytest.mark.parametrize("n", [40, 64])
def test_items_of_a_batch_begin_with_what_is_configured(n):
    """Of 20 rows, in two shapes: one changes in each item, none from one to the next."""
    alone, five = (executed(ones(items, 20, 64), amx.pack(ones(items, 64, n))) for items in (1, 5))
    around = 2  # STTILECFG and TILERELEASE
    assert alone - around - 2 == (five - around - 6) / 5


@pytest.mark.in_lane
@pytest.mark.parametrize(
    ("a_shape", "b_shape", "taller"),
    [
        ((5, 20, 64), (1, 64, 40), (1, 100, 64)),
        ((64, 1, 64), (64, 40), (1, 64, 64)),
        ((2, 5, 20, 64), (2, 1, 64, 40), (2, 100, 64)),
    ],
)
def test_items_that_share_a_second_operand_are_one_taller_product(a_shape, b_shape, taller):
    """Rows that follow each other from item to item take as many instructions as those of one matrix."""
    packed = amx.pack(ones(*b_shape))
    want = executed(ones(*taller), amx.pack(ones(taller[0], 64, 40)))
    assert executed(ones(*a_shape), packed) == want
    apart = np.ones((*a_shape[:-2], a_shape[-2] + 1, 64), np.int8)[..., 1:, :]
    assert executed(apart, packed) >= want
