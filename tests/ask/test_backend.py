"""Which engine runs tiles: what AMX_BACKEND and set_backend say, and what the machine allows."""

import os
import warnings

import children
import machines
import numpy as np
import pytest

import amx
from amx import errors, machine
from amx._lib import lib


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


def test_native_where_everything_is_there(on):
    """On a Granite Rapids machine all groups run natively, and the first use has requested permission."""
    on("granite-rapids-bare-metal", "auto")
    assert not amx.permission.granted()
    assert [amx.get_backend(group) for group in ("int8", "bf16", "fp16")] == [amx.Backend.NATIVE] * 3
    assert amx.permission.granted()


def test_auto_falls_back_with_one_warning_that_says_why(on):
    """Without AMX auto emulates; the warning carries the diagnosis and comes once."""
    on("ice-lake", "auto")
    with pytest.warns(errors.EmulatedWarning, match=r"AMX runs on the software tile machine.*no AMX"):
        assert amx.get_backend() is amx.Backend.EMULATED
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for group in ("tile", "int8", "bf16", "fp16"):
            assert amx.get_backend(group) is amx.Backend.EMULATED
        amx.matmul(np.ones((2, 2), np.int8), np.ones((2, 2), np.int8))
        amx.matmul(np.ones((2, 2), np.float16), np.ones((2, 2), np.float16))


def test_the_warning_points_at_the_caller(on):
    """The line that the warning names is the one outside the package that needed a backend."""
    on("ice-lake", "auto")
    with pytest.warns(errors.EmulatedWarning) as caught:
        amx.matmul(np.ones((2, 2), np.int8), np.ones((2, 2), np.int8))
    assert [warning.filename for warning in caught] == [__file__]


def test_native_raises_where_auto_would_emulate(on):
    """Under native the diagnosis is an error, again on every use."""
    on("ice-lake", "native")
    for _ in range(2):
        with pytest.raises(errors.AmxUnavailableError, match="no AMX") as caught:
            amx.matmul(np.ones((2, 2), np.int8), np.ones((2, 2), np.int8))
    assert caught.value.evidence


def test_a_refused_request_is_explained(on):
    """A filter that denies the request: auto emulates, native raises a permission error."""
    on("seccomp-eperm-request", "auto")
    with pytest.warns(errors.EmulatedWarning, match=r"EPERM|seccomp|filter"):
        assert amx.get_backend() is amx.Backend.EMULATED
    on("seccomp-eperm-request", "native")
    with pytest.raises(errors.AmxPermissionError):
        amx.get_backend()


def test_hidden_fp16(on):
    """Sapphire Rapids has no AMX-FP16: auto emulates that group alone, native names the CPUID bit."""
    on("sapphire-rapids", "auto")
    assert amx.get_backend("bf16") is amx.Backend.NATIVE
    with pytest.warns(errors.EmulatedWarning, match=r"fp16 group .*EAX\[21\]"):
        assert amx.get_backend("fp16") is amx.Backend.EMULATED
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
        assert not amx.permission.granted()
        assert amx.get_backend() is amx.Backend.NATIVE
        assert amx.get_backend(request=False) is amx.Backend.NATIVE


def test_emulated_asks_nothing(on):
    """The emulated backend does not even look at the machine."""
    on("granite-rapids-bare-metal", "emulated")
    assert amx.get_backend(request=False) is amx.Backend.EMULATED
    assert not amx.permission.granted()


@pytest.mark.parametrize("name", ["nativ", "", "NATIVE", None])
def test_unknown_backends_are_refused(name):
    """A misspelt backend is a ValueError that lists the right ones."""
    with pytest.raises(ValueError, match="auto, native, emulated"):
        amx.set_backend(name)
    with pytest.raises(errors.BackendError, match="fp8"):
        amx.get_backend("fp8")


def test_the_environment_decides_at_first_use():
    """AMX_BACKEND is read at the first use; a misspelt one is an error then, not at import."""
    say = "import amx; print(amx.get_backend().value)"
    assert children.run_python("-c", say, AMX_BACKEND="emulated").stdout == "emulated\n"
    result = children.run_python("-c", "import amx; amx.get_backend()", AMX_BACKEND="fast")
    assert result.returncode == 1
    assert "the environment variable AMX_BACKEND says 'fast'" in result.stderr


FORK_WHILE_DECIDING = """
import os, signal, threading, warnings
import numpy as np, amx, machines
from amx import machine
deciding, forked = threading.Event(), threading.Event()
def slow(*arguments, **options):
    deciding.set()
    forked.wait(10)
warnings.showwarning = slow
one = np.ones((2, 2), np.int8)
with machine.use(machines.load("ice-lake")):
    amx.set_backend("auto")
    thread = threading.Thread(target=lambda: amx.matmul(one, one))
    thread.start()
    deciding.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        warnings.showwarning = lambda *arguments, **options: None
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
    with backend.decided_anew():
        thread = threading.Thread(target=lambda: amx.matmul(long, long.T))
        thread.start()
        while lib.amx_gemm_native(True) == 0:
            time.sleep(1e-4)
    assert len(handled) > 1, "the wait was not interrupted"
    thread.join()
    multiply()
assert all(handled)
"""


@pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")
def test_a_signal_handler_multiplies_while_products_of_others_are_waited_for():
    """On the thread that waits, and native as before: the handler would wait for itself."""
    result = children.run_python("-c", PRODUCT_IN_A_HANDLER, AMX_BACKEND="")
    assert result.returncode == 0, result.stderr
