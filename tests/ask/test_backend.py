"""Which engine multiplies: what AMX_BACKEND and set_backend say, and what the machine allows."""

import os
import re
import threading
import warnings

import children
import machines
import numpy as np
import pytest

import amx
from amx import backend, errors, machine
from amx._lib import ffi, lib


@pytest.fixture
def on():
    """Believe in a machine of tests/data/machines for the rest of the test; nothing of it executes."""
    scopes = []

    def believe(name, mode):
        scope = machine.use(machines.load(name))
        scope.__enter__()
        scopes.append(scope)
        amx.set_backend(mode)

    yield believe
    for scope in reversed(scopes):
        scope.__exit__(None, None, None)
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))


@pytest.fixture
def with_avx2():
    """Skip where the CPU has no kernels for floats in vector registers."""
    if lib.amx_vector_family(lib.AMX_TDPBF16PS, 0) == ffi.NULL:
        pytest.skip("this CPU lacks AVX2, FMA or F16C")


def test_native_where_everything_is_there(on):
    """On a Granite Rapids machine all groups run natively, and the first use has requested permission."""
    on("granite-rapids-bare-metal", "auto")
    assert not amx.permission.granted()
    assert [amx.get_backend(group) for group in ("int8", "bf16", "fp16")] == [amx.Backend.NATIVE] * 3
    assert amx.permission.granted()


def engines():
    """Of tiles and of products of each group."""
    return [amx.get_backend(group) for group in ("tile", "int8", "bf16", "fp16")]


def warned(*calls):
    """The categories of what is warned of while these are called, and the messages."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for call in calls:
            call()
    return [warning.category for warning in caught], [str(warning.message) for warning in caught]


IN_VECTORS = [amx.Backend.EMULATED] + [amx.Backend.VECTOR] * 3
ONE, HALF = np.ones((2, 2), np.int8), np.ones((2, 2), np.float16)


def multiply():
    """An exact product of each of two groups."""
    assert (amx.matmul(ONE, ONE) == 2).all()
    assert (amx.matmul(HALF, HALF) == 2).all()


def test_auto_multiplies_in_vector_registers_and_says_once_why(on, with_avx2):
    """Without AMX; the warning carries the diagnosis, and how it is silenced. Tiles are not spoken of."""
    on("ice-lake", "auto")
    categories, (message,) = warned(multiply, lambda: amx.get_backend("bf16"), multiply)
    assert categories == [amx.VectorWarning]
    assert re.search(r"no AMX\. Products run in vector registers.*AMX_BACKEND=vector", message)
    assert not issubclass(amx.VectorWarning, amx.EmulatedWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", amx.EmulatedWarning)
        assert engines() == IN_VECTORS


@pytest.mark.parametrize("calls", [(amx.get_backend, multiply), (multiply, amx.get_backend)])
def test_tiles_without_amx_are_emulated_and_say_so_once(on, with_avx2, calls):
    """The slow machine's warning is for tiles alone, before products or after them."""
    on("ice-lake", "auto")
    categories, messages = warned(*calls, *calls, engines)
    assert sorted(categories, key=str) == [amx.EmulatedWarning, amx.VectorWarning]
    message = messages[categories.index(amx.EmulatedWarning)]
    assert re.search(r"no AMX\. Tiles run on the software tile machine, slowly.*AMX_BACKEND=vector", message)
    amx.set_backend("auto")  # decides anew
    assert warned(*calls)[0] == categories


def test_what_was_said_is_not_said_again_after_another_machine(on, with_avx2):
    """Nor decided again; the other machine says its own."""
    on("ice-lake", "auto")
    assert warned(lambda: amx.matmul(ONE, ONE))[0] == [amx.VectorWarning]
    with backend.decided_anew():
        assert warned(lambda: amx.matmul(ONE, ONE), amx.get_backend)[0] == [
            amx.VectorWarning,
            amx.EmulatedWarning,
        ]
    assert warned(multiply)[0] == []
    assert warned(amx.get_backend)[0] == [amx.EmulatedWarning]


def test_nobody_decides_for_one_machine_by_the_other(on, with_avx2, monkeypatch):
    """A thread that wants to decide while another machine takes the place of one does so afterwards."""
    on("ice-lake", "auto")
    found, put = [], machine.put
    thread = threading.Thread(target=lambda: found.append(amx.get_backend("int8")))

    def put_later(another):
        monkeypatch.undo()
        thread.start()
        thread.join(0.2)
        return put(another)

    monkeypatch.setattr(machine, "put", put_later)
    with backend.decided_anew(machines.load("permission-granted")):
        thread.join()
        assert amx.get_backend("int8") is amx.Backend.NATIVE
    assert found == [amx.Backend.NATIVE]


def test_an_error_on_emulation_does_not_stop_products(on, with_avx2):
    """A filter that makes EmulatedWarning an error hits what is slow alone."""
    on("ice-lake", "auto")
    with warnings.catch_warnings():
        warnings.simplefilter("error", amx.EmulatedWarning)
        warnings.simplefilter("ignore", amx.VectorWarning)
        assert (amx.matmul(ONE, ONE) == 2).all()
        for _ in range(2):
            with pytest.raises(amx.EmulatedWarning):
                amx.TileContext(amx.TileConfig([(1, 4)])).__enter__()


def test_without_vector_instructions_products_are_emulated(on, monkeypatch):
    """A CPU without kernels for floats emulates their products under auto and vector, and says it once."""
    monkeypatch.setattr(backend, "_is_in_vectors", lambda op: op < lib.AMX_TDPBF16PS)
    on("ice-lake", "auto")
    categories, messages = warned(multiply, lambda: amx.get_backend("bf16"), amx.get_backend)
    assert categories == [amx.VectorWarning, amx.EmulatedWarning]
    assert re.search(
        r"no AMX\. This CPU lacks vector instructions for fp16 products\. They run on .* slowly.*=emulated",
        messages[1],
    )
    on("ice-lake", "vector")
    with pytest.warns(amx.EmulatedWarning, match="^This CPU lacks vector instructions for bf16"):
        assert amx.get_backend("bf16") is amx.Backend.EMULATED
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert amx.get_backend("bf16") is amx.Backend.EMULATED
        assert amx.get_backend("int8") is amx.Backend.VECTOR


@pytest.mark.parametrize("name", ["ice-lake", "sapphire-rapids", "granite-rapids-bare-metal"])
def test_vector_asks_nothing_and_says_nothing(on, with_avx2, name):
    """Products in vector registers and tiles emulated, with AMX or without, and no permission."""
    on(name, "vector")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert engines() == IN_VECTORS
        assert amx.get_backend("int8", request=False) is amx.Backend.VECTOR
        assert (amx.matmul(ONE, ONE) == 2).all()
        with amx.TileContext(amx.TileConfig([(1, 4)]), request=False) as tiles:
            assert tiles.backend is amx.Backend.EMULATED
    assert not amx.permission.granted()


def test_the_warning_points_at_the_caller(on):
    """The line that the warning names is the one outside the package that needed a backend."""
    on("ice-lake", "auto")
    with pytest.warns(errors.VectorWarning) as caught:
        amx.matmul(ONE, ONE)
    assert [warning.filename for warning in caught] == [__file__]


def test_native_raises_where_auto_would_emulate(on):
    """Under native the diagnosis is an error, again on every use."""
    on("ice-lake", "native")
    for _ in range(2):
        with pytest.raises(errors.AmxUnavailableError, match="no AMX") as caught:
            amx.matmul(ONE, ONE)
    assert caught.value.evidence


def test_a_refused_request_is_explained(on, with_avx2):
    """A filter that denies the request: auto does without AMX, native raises a permission error."""
    on("seccomp-eperm-request", "auto")
    with pytest.warns(errors.VectorWarning, match=r"EPERM|seccomp|filter"):
        assert amx.get_backend("int8") is amx.Backend.VECTOR
    with pytest.warns(errors.EmulatedWarning, match=r"EPERM|seccomp|filter"):
        assert amx.get_backend() is amx.Backend.EMULATED
    for group in ("tile", "int8"):
        on("seccomp-eperm-request", "native")
        with pytest.raises(errors.AmxPermissionError):
            amx.get_backend(group)


def test_hidden_fp16(on, with_avx2):
    """Sapphire Rapids has no AMX-FP16: under auto these products alone go elsewhere, native names the bit."""
    on("sapphire-rapids", "auto")
    assert amx.get_backend("bf16") is amx.Backend.NATIVE
    with pytest.warns(errors.VectorWarning, match=r"announce amx_fp16 .*EAX\[21\]"):
        assert amx.get_backend("fp16") is amx.Backend.VECTOR
    assert amx.get_backend() is amx.get_backend("int8") is amx.Backend.NATIVE
    on("sapphire-rapids", "native")
    with pytest.raises(errors.FeatureError, match=r"7\.1.*EAX\[21\]"):
        amx.get_backend("fp16")
    assert amx.get_backend("int8") is amx.Backend.NATIVE


def test_request_can_be_forbidden(on):
    """request=False raises where permission is missing, asks for nothing, and decides nothing."""
    for mode in ("auto", "native"):
        on("granite-rapids-bare-metal", mode)
        with pytest.raises(errors.AmxPermissionError, match="request=False"):
            amx.TileContext(amx.TileConfig([(1, 4)]), request=False).__enter__()
        with pytest.raises(errors.AmxPermissionError, match="request=False"):
            amx.get_backend("int8", request=False)
        assert not amx.permission.granted()
        assert amx.get_backend() is amx.Backend.NATIVE
        assert amx.get_backend(request=False) is amx.Backend.NATIVE


def test_emulated_asks_nothing(on):
    """The emulated backend does not even look at the machine."""
    on("granite-rapids-bare-metal", "emulated")
    assert engines() == [amx.Backend.EMULATED] * 4
    assert amx.get_backend(request=False) is amx.Backend.EMULATED
    assert not amx.permission.granted()


@pytest.mark.parametrize("name", ["nativ", "", "NATIVE", None])
def test_unknown_backends_are_refused(name):
    """A misspelt backend is a ValueError that lists the right ones."""
    with pytest.raises(ValueError, match="auto, native, vector, emulated"):
        amx.set_backend(name)
    with pytest.raises(errors.BackendError, match="fp8"):
        amx.get_backend("fp8")


def test_the_environment_decides_at_first_use():
    """AMX_BACKEND is read at the first use; a misspelt one is an error then, not at import."""
    say = "import amx; print(amx.get_backend().value, amx.get_backend('int8').value)"
    assert children.run_python("-c", say, AMX_BACKEND="emulated").stdout == "emulated emulated\n"
    assert children.run_python("-c", say, AMX_BACKEND="vector").stdout == "emulated vector\n"
    result = children.run_python("-c", "import amx; amx.get_backend()", AMX_BACKEND="fast")
    assert result.returncode == 1
    assert "the environment variable AMX_BACKEND says 'fast'" in result.stderr


FORK_WHILE_DECIDING = """
import os, signal, threading, warnings
import numpy as np, amx, machines
from amx import backend, machine
warnings.simplefilter("ignore")  # which waits for a lock that a child does not renew, from Python 3.14 on
deciding, forked = threading.Event(), threading.Event()
decide = backend._make_tiles_usable
def slow(*arguments):
    deciding.set()
    forked.wait(10)
    decide(*arguments)
backend._make_tiles_usable = slow
one = np.ones((2, 2), np.int8)
with machine.use(machines.load("ice-lake")):
    amx.set_backend("auto")
    thread = threading.Thread(target=lambda: amx.matmul(one, one))
    thread.start()
    deciding.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        backend._make_tiles_usable = decide
        os._exit(0 if (amx.matmul(one, one) == 2).all() else 1)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_fork_while_another_thread_decides():
    """A child forked during the first use of another thread does not wait for that thread's lock."""
    result = children.run_python("-W", "ignore::DeprecationWarning", "-c", FORK_WHILE_DECIDING)
    assert result.returncode == 0, result.stderr


PRODUCT_IN_A_HANDLER = """
import signal, threading, time, types
import numpy as np, amx
from amx import backend
from amx._lib import lib

one, long = np.ones((2, 2), np.int8), np.ones((512, 2048), np.int8)
handled = []

def multiply(*_):
    handled.append(bool((amx.matmul(one, one) == 2).all()))

def interrupted(seconds):
    signal.raise_signal(signal.SIGUSR1)
    time.sleep(seconds)

signal.signal(signal.SIGUSR1, multiply)
backend.time = types.SimpleNamespace(sleep=interrupted)
with amx.emulate("gnr"):
    amx.set_backend("native")
    multiply()
    while len(handled) < 2:  # until one product lasts till the wait, which a signal interrupts
        with backend.decided_anew():
            thread = threading.Thread(target=lambda: amx.matmul(long, long.T))
            thread.start()
            while thread.is_alive() and lib.amx_gemm_native(True) == 0:
                time.sleep(1e-4)
        thread.join()
    multiply()
assert all(handled)
"""

SETTINGS_MEANWHILE = """
import threading, time, types
import numpy as np, amx
from amx import backend
from amx._lib import lib

long = np.ones((512, 2048), np.int8)
waiting, stuck = [], []

def meanwhile(seconds):
    waiting.append(None)
    thread = threading.Thread(target=lambda: amx.set_backend("auto"), daemon=True)
    thread.start()
    thread.join(20)
    stuck.append(thread.is_alive())

while not waiting:  # until a product lasts till its tiles are wanted back
    backend.time = time
    with amx.emulate("gnr"):
        amx.set_backend("native")
        thread = threading.Thread(target=lambda: amx.matmul(long, long.T))
        thread.start()
        while thread.is_alive() and lib.amx_gemm_native(True) == 0:
            time.sleep(1e-4)
        backend.time = types.SimpleNamespace(sleep=meanwhile)
    thread.join()
assert not any(stuck)
"""


@pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
def test_a_signal_handler_multiplies_while_products_of_others_are_waited_for():
    """On the thread that waits, and native as before: the handler would wait for itself."""
    result = children.run_python("-c", PRODUCT_IN_A_HANDLER, AMX_BACKEND="")
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
def test_settings_change_while_products_of_others_are_waited_for():
    """In the handler of a signal that interrupts such a product, too, which would never end otherwise."""
    result = children.run_python("-c", SETTINGS_MEANWHILE, AMX_BACKEND="")
    assert result.returncode == 0, result.stderr
