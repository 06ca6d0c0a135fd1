"""Other threads and forked children of a process in a block of amx.emulate()."""

import pytest
from emulating import child

import amx
from amx._lib import lib
from amx.emulation import session

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")


def test_threads_and_forked_children_are_emulated():
    child("""
import os, threading
wrong = []
def work():
    if not (amx.matmul(a, b) == expected).all():
        wrong.append(threading.get_ident())
with amx.emulate():
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong
    pid = os.fork()
    if pid == 0:
        os._exit(0 if (amx.matmul(a, b) == expected).all() else 1)
    assert os.waitpid(pid, 0)[1] == 0
""")


def test_blocks_come_and_go_while_other_threads_multiply():
    """Which never notice; children forked meanwhile leave the block as well."""
    child("""
import os, threading, time, warnings
warnings.simplefilter("ignore", amx.AmxWarning)
right, wrong, done = [], [], False
def work():
    while not done:
        (right if (amx.matmul(a, b) == expected).all() else wrong).append(None)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
pid = None
for _ in range(10):
    with amx.emulate() as emulation:
        amx.matmul(a, b)
        before = len(right)
        while len(right) < before + 5:
            time.sleep(0.001)
        pid = os.fork()
    if pid == 0:
        os._exit(not (amx.matmul(a, b) == expected).all())
    assert os.waitpid(pid, 0)[1] == 0
    assert emulation.counts.instructions > 0
done = True
for thread in threads:
    thread.join()
assert not wrong
""")


def test_contexts_of_other_threads_are_closed_between_two_instructions():
    """Those find out by an error, whatever they were doing."""
    child("""
import threading, time, warnings
warnings.simplefilter("ignore", amx.EmulatedWarning)
config, rows = amx.TileConfig.for_product("int8"), np.ones((16, 64), np.int8)
closed, rounds, done = [], [], False
def work():
    while not done:
        try:
            with amx.TileContext(config) as tiles:
                for _ in range(50):
                    tiles.zero(0)
                    tiles.load(1, rows)
                    tiles.load(2, rows)
                    tiles.dpbssd(0, 1, 2)
                    assert (tiles.store(0) == 64).all()
            rounds.append(None)
        except amx.errors.ContextClosedError:
            closed.append(None)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
left_open = 0
for _ in range(40):
    try:
        with amx.emulate():
            time.sleep(0.005)
    except amx.errors.ContextError:
        left_open += 1
    except amx.errors.EmulationError as error:
        assert "TileContext open" in error.what
done = True
for thread in threads:
    thread.join()
assert left_open and closed and rounds
""")


def test_the_counts_are_those_of_the_block_alone():
    """Also where a thread that executed something in an earlier one is still there, or ended."""
    child("""
import threading
leave = threading.Event()
def work(wait):
    amx.matmul(a, b)
    done.release()
    wait and leave.wait()
done = threading.Semaphore(0)
with amx.emulate() as first:
    threads = [threading.Thread(target=work, args=[wait]) for wait in (False, True)]
    for thread in threads:
        thread.start()
        done.acquire()
    threads[0].join()
    amx.matmul(a, b)
with amx.emulate() as second:
    pass
leave.set()
assert first.counts.instructions > 0 and first.counts.traps > 0
assert (second.counts.instructions, second.counts.traps) == (0, 0), second.counts
""")


def test_one_block_at_a_time_also_of_another_thread():
    child("""
import threading
opened, leave = threading.Event(), threading.Event()
def other():
    with amx.emulate("gnr"):
        opened.set()
        leave.wait()
thread = threading.Thread(target=other)
thread.start()
opened.wait()
error = raised(amx.errors.EmulationError, amx.emulate("dmr").__enter__)
assert "while gnr is emulated" in error.what
leave.set()
thread.join()
with amx.emulate("dmr"):
    raised(amx.errors.EmulationError, amx.emulate("dmr").__enter__)
    assert (amx.matmul(a, b) == expected).all()
""")


def test_a_block_may_end_while_another_is_refused(monkeypatch):
    """What the error says is read once: the first block is gone by then."""

    class Second:
        @property
        def cpu(self):
            session._active = None
            return "dmr"

    monkeypatch.setattr(session, "_active", session.Emulation("gnr"))
    with pytest.raises(amx.errors.EmulationError, match="while gnr is emulated"):
        session._one_at_a_time(Second()).__enter__()
