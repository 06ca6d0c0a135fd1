"""Products with threads, forks and signals around them."""

import os
import signal
import sys
import threading

import children
import numpy as np
import operands
import pytest

import amx


@pytest.fixture
def operand():
    """A product big enough for two threads, and its exact result."""
    rng = np.random.default_rng(21)
    a = operands.random_array(rng, (200, 300), "int8")
    b = operands.random_array(rng, (300, 170), "uint8")
    return a, b, operands.expected(a, b, "int8")


def test_two_python_threads_at_once(backend, operand):
    """Products of two threads at the same time, plain and packed, are both right."""
    a, b, want = operand
    packed = amx.pack(b)
    wrong = []

    def multiply(second):
        wrong.extend(second for _ in range(20) if not np.array_equal(amx.matmul(a, second), want))

    threads = [threading.Thread(target=multiply, args=(second,)) for second in (b, packed, packed)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_gil_is_released(backend):
    """Another Python thread makes progress while a product runs: it counts during a single call."""
    a = np.ones((700, 700), np.int8)
    amx.set_num_threads(1)
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        while counted[0] == 0:
            pass
        progress = 0
        for _ in range(50):  # a switch may be forced just around a call, so look for one with much progress
            before = counted[0]
            amx.matmul(a, a)
            progress = max(progress, counted[0] - before)
            if progress > 100:
                break
    finally:
        stop.set()
        thread.join()
        amx.set_num_threads(None)
    assert progress > 100


FORK = """
import os, sys
import numpy as np
import operands, amx
amx.set_backend(sys.argv[1])
rng = np.random.default_rng(22)
a = operands.random_array(rng, (300, 300), "int8")
want = operands.expected(a, a, "int8")
assert np.array_equal(amx.matmul(a, a), want)  # makes a thread
child = os.fork()
if child == 0:
    right = all(np.array_equal(amx.matmul(a, a), want) for _ in range(3))
    right = right and len(os.listdir("/proc/self/task")) == 2
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if np.array_equal(amx.matmul(a, amx.pack(a)), want) else 3)
    code = os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])
    os._exit(code if right else 2)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert np.array_equal(amx.matmul(a, a), want)
sys.exit(code)
"""


def test_a_forked_child_multiplies(backend):
    """After products on two threads a child and its child have two of their own; the parent goes on."""
    result = children.run_python("-c", FORK, backend, OMP_NUM_THREADS="2")
    assert children.how_it_ended(result) == 0, result.stderr


SIGNALS = """
import signal, sys, time
import numpy as np
import operands, amx
amx.set_backend(sys.argv[1])
rng = np.random.default_rng(23)
a = operands.random_array(rng, (150, 400), "bfloat16", special=0.01)
b = operands.random_array(rng, (400, 90), "bfloat16", special=0.01)
want = operands.expected(a, b, "bfloat16")
seen = 0
packed = amx.pack(b)
amx.matmul(a, packed)
def handler(number, frame):
    global seen
    seen += 1
    if seen % 5 == 0:
        amx.matmul(a[:20, :20], b[:20, :20])
packed = amx.pack(b)  # first, since a handler must not meet amx.gemm half imported
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
rounds = 0
end = time.monotonic() + 2
while time.monotonic() < end or (seen <= 10 and time.monotonic() < end + 60):
    assert np.array_equal(operands.as_bits(amx.matmul(a, b)), want)
    assert np.array_equal(operands.as_bits(amx.matmul(a, packed)), want)
    rounds += 1
signal.setitimer(signal.ITIMER_REAL, 0)
assert seen > 10
print(rounds, "rounds;", seen, "runs of Python's handler, which waits for a call to end")
"""


def test_signals_every_200_microseconds(backend):
    """SIGALRM all the while, with products in its handler, does not disturb results."""
    result = children.run_python("-c", SIGNALS, backend)
    assert children.how_it_ended(result) == 0, result.stderr
    print(result.stdout)


THREADS = """
import sys, amx
amx.set_backend("emulated")
from threadpoolctl import threadpool_info, threadpool_limits
amx.register_threadpoolctl()
amx.register_threadpoolctl()
(ours,) = [each for each in threadpool_info() if each["internal_api"] == "amx"]
assert (ours["user_api"], ours["num_threads"], ours["version"]) == ("blas", 3, amx.__version__)
seen = [amx.get_num_threads(), amx.plan(2000, 2000, 2000, threads=9).threads]
with threadpool_limits(1):
    seen.append(amx.get_num_threads())
amx.set_num_threads(1)
seen.append(amx.get_num_threads())
amx.set_num_threads(None)
seen.append(amx.get_num_threads())
print(seen)
"""


def test_thread_limits():
    """OMP_NUM_THREADS, threadpoolctl and set_num_threads each limit a product; the smallest counts."""
    pytest.importorskip("threadpoolctl")
    result = children.run_python("-c", THREADS, OMP_NUM_THREADS="3")
    assert result.stdout.strip() == "[3, 3, 1, 1, 3]", result.stderr


FEWER = """
import os, resource, sys
STACK = 1 << 30
hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
if resource.getrlimit(resource.RLIMIT_STACK)[0] != STACK:  # of each thread, for programs that begin now
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, hard))
    os.execv(sys.executable, sys.orig_argv)
import numpy as np
import operands, amx
amx.set_backend(sys.argv[1])
rng = np.random.default_rng(24)
a, b = operands.random_array(rng, (600, 500), "int8"), operands.random_array(rng, (500, 400), "int8")
p = amx.plan(600, 400, 500)
assert p.threads == 4 and p.row_parts > 1  # which a team of two cannot keep
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (size + STACK * room // 10, hard))
before = len(os.listdir("/proc/self/task"))
assert np.array_equal(amx.matmul(a, b), operands.expected(a, b, "int8"))
assert np.array_equal(amx.matmul(a, amx.pack(b)), operands.expected(a, b, "int8"))
assert len(os.listdir("/proc/self/task")) - before == room // 10
"""


@pytest.mark.skipif(
    "musl" in str(sys.implementation._multiarch), reason="musl gives all threads small stacks"
)
@pytest.mark.parametrize("room", [5, 15])
def test_fewer_threads_come_than_were_called(backend, room):
    """There is memory for the stack of no thread, or of one, not of three: the product is right."""
    result = children.run_python("-c", f"room = {room}\n{FEWER}", backend, OMP_NUM_THREADS="4")
    assert children.how_it_ended(result) == 0, result.stderr


TURNS = """
import sys
import numpy as np
import operands, amx
amx.set_backend(sys.argv[1])
p = amx.plan(400, 40, 128, batch=3)
assert p.threads == 1 or (p.row_parts > 1 and not p.over_batch)
rng = np.random.default_rng(25)
a, b = operands.random_array(rng, (3, 400, 128), "int8"), operands.random_array(rng, (3, 128, 40), "int8")
want = operands.expected(a, b, "int8")
for _ in range(300):
    assert np.array_equal(amx.matmul(a, b), want)
"""


def test_a_team_packs_the_next_operand_when_all_have_done_with_the_last(backend):
    """Four threads share the rows of each item, and one buffer for the second operands, one after another."""
    result = children.run_python("-c", TURNS, backend, OMP_NUM_THREADS="4")
    assert children.how_it_ended(result) == 0, result.stderr


def test_plans_keep_to_the_limit(backend):
    """amx.plan() without threads= follows set_num_threads."""
    amx.set_num_threads(1)
    assert amx.plan(2000, 2000, 2000).threads == 1
    amx.set_num_threads(None)
    assert amx.plan(2000, 2000, 2000).threads == amx.get_num_threads()


@pytest.mark.parametrize("count", [0, -1, 2**31, 2**40])
def test_impossible_numbers_of_threads_are_refused(count):
    """A number that is none of threads is a ValueError that names it; other types are a TypeError."""
    with pytest.raises(ValueError, match=rf"set_num_threads\({count}\)"):
        amx.set_num_threads(count)
    with pytest.raises(TypeError):
        amx.set_num_threads(2.5)


def test_signal_dispositions_stay(backend, operand):
    """A product leaves all signal handlers as they were."""
    before = [signal.getsignal(number) for number in (signal.SIGILL, signal.SIGSEGV, signal.SIGBUS)]
    amx.matmul(*operand[:2])
    assert [signal.getsignal(number) for number in (signal.SIGILL, signal.SIGSEGV, signal.SIGBUS)] == before


def test_a_forked_child_has_the_configuration_and_no_tile_data(backend):
    """The registers behave as the kernel's rule says (fpu_clone), on the software tile machine too."""
    lib, ffi = amx.lowlevel.lib, amx.lowlevel.ffi
    image = amx.TileConfig([(2, 8)]).to_bytes()
    amx.get_backend()
    engine = lib.AMX_NATIVE if backend == "native" else lib.AMX_EMULATED
    rows, config = ffi.new("uint8_t[16]", bytes(range(1, 17))), ffi.new("uint8_t[64]")
    lib.amx_ldtilecfg(engine, ffi.from_buffer("uint8_t[]", image))
    lib.amx_tileloadd(engine, ffi.NULL, 0, rows, 8)
    child = children.fork()
    if child == 0:
        lib.amx_sttilecfg(engine, config)
        lib.amx_tilestored(engine, ffi.NULL, 0, rows, 8)
        os._exit((bytes(config) == image) + 2 * (bytes(rows) == bytes(16)))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    lib.amx_tilestored(engine, ffi.NULL, 0, rows, 8)
    lib.amx_tilerelease(engine)
    assert code == 3
    assert bytes(rows) == bytes(range(1, 17))
