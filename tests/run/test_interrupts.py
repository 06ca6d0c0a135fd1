"""Signals during long products and packing: Python's handlers run meanwhile, and may end them."""

import children
import pytest

# A thread signals until a handler has run while C asks, often enough; those within it or later do nothing.
PREAMBLE = """
import contextlib, os, signal, sys, threading, time
import numpy as np
import amx
from amx.lowlevel import lib  # not first in a handler, which may interrupt the import

class Stop(Exception):
    pass

def ones(*shape, dtype=np.int8):
    return np.ones(shape, dtype)

class Handler:
    def __init__(self, act=None):
        self.act, self.enough, self.during, self.frames, self.acts = act, 1, 0, 0, False

    def __call__(self, number, frame):
        self.frames += 1
        if lib.amx_gemm_asking() and not self.acts and self.during < self.enough:
            self.during += 1
            self.acts = True
            try:
                if self.act is not None:
                    self.act()
            finally:
                self.acts = False

@contextlib.contextmanager
def signals(handler, enough=1):
    handler.enough = enough
    signal.signal(signal.SIGUSR1, handler)
    done, sends = threading.Event(), threading.Event()
    def send():
        while handler.during < handler.enough and not done.wait(1e-3):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            sends.set()
        sends.set()  # nothing was left to send
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    sends.wait()
    try:
        yield
    finally:
        done.set()
        sender.join()

def interrupted(product, enough=1):
    # what it returned when a handler had run meanwhile; before that it may end too soon
    for attempt in range(1000):
        with signals(handler, enough):
            found = product()
        if handler.during:
            return found
    sys.exit(f"never interrupted by {handler.frames} signals")

def stop():
    raise Stop(handler.during)

handler = Handler(stop)
amx.set_num_threads(int(sys.argv[1]))
amx.get_backend()
"""

WORK = {
    "plain": "a, b = ones(1600, 1600), ones(1600, 1600)",
    "packed": "a, b = ones(1600, 1600), amx.pack(ones(1600, 1600))",
    "rows are shared": """a, b = ones(20_000, 3000), ones(3000, 32)
assert amx.plan(20_000, 32, 3000).row_parts == amx.get_num_threads()""",
    "one row": "a, b = np.broadcast_to(np.int8(1), (1, 2**28)), np.broadcast_to(np.int8(1), (2**28, 64))",
    "batch": "a, b = ones(2000, 100, 200), ones(2000, 200, 100)",
    "batch of one operand": "a, b = ones(900, 64, 900)[:, ::2], ones(900, 128)",
    "rounded": """a = b = ones(1600, 1600, dtype=np.float32)
options = {'dtype': 'bfloat16'}""",
}


def run(code, threads=1, **environment):
    result = children.run_python("-c", PREAMBLE + code, threads, **environment)
    assert (result.stdout, result.returncode) == ("right\n", 0), result.stdout + result.stderr


STOPPED = """
shape = (*a.shape[:-1], b.shape[-1])
for way in ("the long one, the first time", "the shortest one"):
    handler.during = 0
    out = np.empty(shape, np.float32 if options else np.int32)
    def product():
        out.fill(7)
        amx.matmul(a, b, out, **options)
    try:
        interrupted(product)
        print("ended by itself")
    except Stop as caught:
        assert caught.args == (1,) and handler.during == 1, way
        assert (out != a.shape[-1]).any(), way  # what was not computed, or not summed up
    assert (amx.matmul(ones(70, 90), ones(90, 33)) == 90).all()
print("right")
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("work", WORK)
def test_what_a_handler_raises_stops_a_product(backend, work, threads):
    """It comes out of matmul before `out` is the product, and the next product is right."""
    run("options = {}\n" + WORK[work] + STOPPED, threads, AMX_BACKEND=backend)


GOES_ON = """
def act():
    assert (amx.matmul(ones(100, 200), ones(200, 300)) == 200).all()
    with amx.TileContext(amx.TileConfig.for_product("int8")) as tiles:
        tiles.zero(0)
        assert (tiles.store(0) == 0).all()
    # and as other libraries do it, whatever they find
    lib.amx_tilerelease(lib.AMX_NATIVE if amx.get_backend() is amx.Backend.NATIVE else lib.AMX_EMULATED)

handler.act = act
rng = np.random.default_rng(80)
a, b = (rng.integers(-128, 128, shape, dtype=np.int8) for shape in ((3000, 2600), (2600, 2400)))
want = a.astype(np.float64) @ b.astype(np.float64)
a = np.asfortranarray(a)
found = interrupted(lambda: amx.matmul(a, b), enough=3)
assert (found == want).all()
print("right")
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_product_goes_on_after_a_handler_that_multiplies(backend, threads):
    """Handlers may use tiles and buffers of the same thread: the product that they interrupt is right."""
    run(GOES_ON, threads, AMX_BACKEND=backend)


def test_an_open_context_keeps_its_tiles(backend):
    """Where the product runs inside a TileContext, also while a handler runs."""
    code = """
handler.act = lambda: amx.matmul(ones(50, 50), ones(50, 50))
with amx.TileContext(amx.TileConfig.for_product("int8")) as tiles:
    tiles.load(1, np.arange(1024, dtype=np.uint8).view(np.int8).reshape(16, 64))
    found = interrupted(lambda: amx.matmul(ones(1300, 1300), ones(1300, 1300)))
    assert (tiles.store(1).ravel() == np.arange(1024, dtype=np.uint8).view(np.int8)).all()
assert (found == 1300).all()
print("right")
"""
    run(code, AMX_BACKEND=backend)


def test_ctrl_c_is_keyboard_interrupt():
    """With the handler that Python starts with, whatever the test's own disposition is."""
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)
handler.act = lambda: signal.raise_signal(signal.SIGINT)
out = np.empty((1600, 1600), np.int32)
def product():
    out.fill(7)
    amx.matmul(ones(1600, 1600), ones(1600, 1600), out)
try:
    interrupted(product)
except KeyboardInterrupt:
    assert (out == 7).any()
    print("right")
"""
    run(code, AMX_BACKEND="emulated")


PACKED = """
b = ones(2**15, 2**12)
for b in (b, b.T):
    handler.during = 0
    try:
        with signals(handler):
            amx.pack(b)
        print("ended by itself")
    except Stop:
        pass
print("right")
"""


def test_packing_stops_too():
    """By rows and by columns."""
    run(PACKED, AMX_BACKEND="emulated")


def test_other_threads_are_not_interrupted():
    """As everywhere in Python: handlers run in the main thread, and a product elsewhere ends by itself."""
    code = """
handler.act = None
found = []
thread = threading.Thread(target=lambda: found.append(amx.matmul(ones(1300, 1300), ones(1300, 1300))))
with signals(handler):
    thread.start()
    thread.join()
assert (found[0] == 1300).all() and handler.during == 0
print("right")
"""
    run(code, AMX_BACKEND="emulated")


def test_the_first_thread_of_a_forked_child_is_interrupted():
    """Its number is another one, and it is the main thread there."""
    code = """
child = os.fork()
if child == 0:
    status = 1
    try:
        interrupted(lambda: amx.matmul(ones(1600, 1600), ones(1600, 1600)))
    except Stop:
        status = 0
    os._exit(status)
print("right" if os.waitpid(child, 0)[1] == 0 else "wrong")
"""
    run(code, AMX_BACKEND="emulated")


def test_emulation_does_not_begin_under_a_product(backend):
    """A handler that enters amx.emulate() would wait for the product that waits for it: an error of ours."""
    code = """
handler.act = lambda: amx.emulate().__enter__()
try:
    interrupted(lambda: amx.matmul(ones(1600, 1600), ones(1600, 1600)))
except amx.errors.ContextError as error:
    assert "interrupts a product" in str(error)
    print("right")
except amx.errors.EmulationError:
    assert amx.explain().emulated  # which it is already
    print("right")
"""
    run(code, AMX_BACKEND=backend)


def test_an_exception_is_the_handlers_own():
    """The same object, with the handler in its traceback."""
    code = """
import traceback
raised = Stop("mine")
def act():
    raise raised
handler.act = act
try:
    interrupted(lambda: amx.matmul(ones(1600, 1600), ones(1600, 1600)))
except Stop as caught:
    assert caught is raised
    assert "act" in [frame.name for frame in traceback.extract_tb(caught.__traceback__)]
    print("right")
"""
    run(code, AMX_BACKEND="emulated")


def test_handlers_of_two_signals_raise():
    """At once: products end with one of them, or with both, and nothing is printed."""
    code = """
class First(Exception):
    pass

class Second(Exception):
    pass

def handler_of(kind):
    def handle(number, frame):
        raise kind
    return handle

signal.signal(signal.SIGUSR1, handler_of(First))
signal.signal(signal.SIGUSR2, handler_of(Second))
numbers = {signal.SIGUSR1, signal.SIGUSR2}
a = ones(1600, 1600)

def send(begun, me=threading.main_thread().ident):
    begun.wait()
    time.sleep(0.01)
    for number in numbers:
        signal.pthread_kill(me, number)

def note(error):
    # its own kind, and that of what it was raised in
    for each in (error.__context__, error):
        if isinstance(each, (First, Second)) and type(each) not in caught:
            caught.append(type(each))

def products():
    while thread.is_alive():
        amx.matmul(a, a)
    amx.matmul(a, a)

for way in ("the long one, the first time", "the shortest one", "again"):
    begun = threading.Event()
    thread = threading.Thread(target=send, args=(begun,))
    thread.start()
    caught = []
    try:
        try:
            begun.set()
            products()
        except (First, Second) as error:
            note(error)
            products()
    except (First, Second) as error:  # the other one, if it came later
        note(error)
        products()
    assert caught
    thread.join()
print("right")
"""
    result = children.run_python("-c", PREAMBLE + code, 1, AMX_BACKEND="emulated")
    assert (result.stdout, result.stderr, result.returncode) == ("right\n", "", 0)


def test_what_could_not_be_raised_when_it_came_is_raised_later():
    """A handler that raises just before it would have been: the next product that asks ends with it."""
    code = """
from amx import interrupts
waiting = Stop("waiting")
interrupts._raised.append(waiting)
try:
    amx.matmul(ones(1600, 1600), ones(1600, 1600))
except Stop as caught:
    assert caught is waiting
    assert interrupts._raised == []
    print("right")
"""
    run(code, AMX_BACKEND="emulated")


@pytest.mark.parametrize("act", ["None", "stop"])
def test_what_is_handled_around_a_generator_does_not_stay_with_it(act):
    """Its product asks while its caller handles an exception: the generator handles none afterwards."""
    code = f"""
handler.act = {act}

def work():
    while (yield sys.exception()):
        try:
            interrupted(lambda: amx.matmul(ones(1600, 1600), ones(1600, 1600)))
        except Stop as stopped:
            assert stopped.__context__ is around
    while True:
        yield sys.exception()

generator, around = work(), ValueError("around")
next(generator)
try:
    raise around
except ValueError:
    assert generator.send(True) is around
assert handler.during > 0
assert generator.send(False) is None
print("right")
"""
    run(code, AMX_BACKEND="emulated")


def test_signals_faster_than_their_handlers():
    """Products within handlers within products, seventy deep, need no large stack."""
    code = """
depth = deepest = 0
a = ones(600, 600)

def handle(number, frame):
    global depth, deepest
    if deepest < 70:
        depth += 1
        deepest = max(depth, deepest)
        assert (amx.matmul(a, a) == 600).all()
        depth -= 1

amx.matmul(a, a)  # what is imported and chosen the first time
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
while deepest < 70:
    amx.matmul(a, a)
signal.setitimer(signal.ITIMER_REAL, 0)
assert depth == 0
print("right")
"""
    small = "import os, resource, sys\nhard = resource.getrlimit(resource.RLIMIT_STACK)[1]\n"
    small += "resource.setrlimit(resource.RLIMIT_STACK, (512 << 10, hard))\n"
    small += "os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])\n"
    result = children.run_python("-c", small, PREAMBLE + code, 1, AMX_BACKEND="emulated")
    assert (result.stdout, result.returncode) == ("right\n", 0), result.stdout + result.stderr


FORKS = """
from amx import parts

a = np.random.default_rng(81).integers(-2, 3, (900, 1000), dtype=np.int8)
options = {}
if OUTCOME == "parts":  # of K, each but the first added to the sums so far
    parts._MOST_BYTES = 4 << 20
    a, options = np.tile(a, 4).astype(np.float32), {"dtype": "bf16"}
first, want = a, a.astype(np.float64) @ a.T
parent, children = os.getpid(), []

def is_amid(frame):
    adds = frame.f_code.co_name == "call" and frame.f_locals["before"] > 0
    return lib.amx_gemm_asking() and (adds or OUTCOME != "parts")

def handle(number, frame):
    if not children and is_amid(frame):
        signal.setitimer(signal.ITIMER_REAL, 0)  # a fork that a signal interrupts begins again
        children.append(os.fork())
        if children[0] == 0 and OUTCOME == "raises":
            raise Stop

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 2e-3, 2e-3)
stopped = False
while True:
    try:
        found = amx.matmul(first, a.T, **options)
    except Stop:
        stopped = True
    if children:
        break
    first = np.concatenate((first, first))  # until it takes long enough
    assert len(first) < 100_000
in_child = os.getpid() != parent
if not (in_child and OUTCOME == "raises"):
    assert (found.reshape(-1, *want.shape) == want).all()
assert stopped == (in_child and OUTCOME == "raises")
assert lib.amx_gemm_native(1) == 0  # products that run on the CPU's tiles
assert (amx.matmul(ones(300, 300), ones(300, 300)) == 300).all()
if in_child:
    os._exit(0)
print("right" if os.waitpid(children[0], 0)[1] == 0 else "wrong")
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("outcome", ["goes on", "raises", "parts"])
def test_a_handler_forks(backend, outcome, threads):
    """And returns twice: the parent's product is right, and so is the child's, which has lost its team."""
    run(f"OUTCOME = {outcome!r}\n" + FORKS, threads, AMX_BACKEND=backend)
