"""Child process: products and tiles on operands that end, or begin, at a page nobody may touch.

Sanitizers do not see inside asm, so this proves the bounds of every access: a byte too far ends the process
    with SIGSEGV.
Usage: guard_pages.py BACKEND SEED COUNT [too-far]; the last touches one byte too far, to show that it ends.
"""

import ctypes
import mmap
import sys

import numpy as np
import operands

import amx

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PROT_NONE, PROT_RW = 0, 3


class Guarded:
    """`size` bytes flush against a forbidden page after or before them, with another at the other end."""

    def __init__(self, size, at_end):
        pages = max(1, -(-size // PAGE))
        self.length = (pages + 2) * PAGE
        self.base = libc.mmap(None, self.length, PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        assert libc.mprotect(self.base + PAGE, pages * PAGE, PROT_RW) == 0
        start = self.base + PAGE + (pages * PAGE - size if at_end else 0)
        self.memory = np.frombuffer((ctypes.c_uint8 * size).from_address(start), np.uint8)

    def release(self):
        """Unmap; the memory must not be used any more."""
        libc.munmap(self.base, self.length)


def place(rng, array, keep):
    """A copy of `array`, perhaps with other strides, whose first or last byte touches a forbidden page."""
    at_end = bool(rng.integers(2))
    layout = rng.integers(4)
    dtype = array.dtype
    if array.size == 0:
        return array
    rows, columns = array.shape
    if layout == 0:  # rows apart: the gap after the last row does not exist
        row_bytes = columns * dtype.itemsize + int(rng.integers(0, 100)) * dtype.itemsize
        guarded = Guarded((rows - 1) * row_bytes + columns * dtype.itemsize, at_end)
        view = np.lib.stride_tricks.as_strided(
            guarded.memory[: dtype.itemsize].view(dtype), array.shape, (row_bytes, dtype.itemsize)
        )
    elif layout == 1:  # columns apart
        step = int(rng.integers(2, 5)) * dtype.itemsize
        guarded = Guarded(rows * columns * step - step + dtype.itemsize, at_end)
        view = np.lib.stride_tricks.as_strided(
            guarded.memory[: dtype.itemsize].view(dtype), array.shape, (columns * step, step)
        )
    else:
        guarded = Guarded(array.nbytes, at_end)
        view = guarded.memory.view(dtype)
        view = view.reshape(array.shape) if layout == 2 else view.reshape(array.shape[::-1]).T
    keep.append(guarded)
    view[...] = array
    return view


def products(rng, count):
    pairs = operands.pairs_of(amx.get_backend("int8").value)
    for number in range(count):
        pair = pairs[number % len(pairs)]
        m, n, k = (int(x) for x in rng.integers(1, 140, 3))
        a, b = operands.random_array(rng, (m, k), pair[0]), operands.random_array(rng, (k, n), pair[1])
        want = operands.expected(a, b, pair[0])
        keep = []
        first, second = place(rng, a, keep), place(rng, b, keep)
        out = place(rng, np.zeros((m, n), np.int32 if want.dtype == np.int32 else np.float32), keep)
        amx.set_num_threads(int(rng.integers(1, 3)))
        amx.matmul(first, amx.pack(second) if number % 3 == 0 else second, out=out)
        assert np.array_equal(operands.as_bits(np.ascontiguousarray(out)), want), (pair, m, n, k)
        for guarded in keep:
            guarded.release()


def tiles(rng, count):
    for _ in range(count):
        rows, colsb = int(rng.integers(1, 17)), 4 * int(rng.integers(1, 17))
        data = rng.integers(0, 256, (rows, colsb), dtype=np.uint8)
        for at_end in (False, True):
            stride = int(rng.integers(colsb, 5000)) * (1 if rng.integers(2) else -1)
            size = (rows - 1) * abs(stride) + colsb
            offset = 0 if stride > 0 else (rows - 1) * -stride
            source, target = Guarded(size, at_end), Guarded(size, at_end)
            for r in range(rows):
                source.memory[offset + r * stride :][:colsb] = data[r]
            with amx.TileContext(amx.TileConfig([(rows, colsb)])) as context:
                context.load(0, memoryview(source.memory), offset=offset, stride=stride)
                context.store(0, memoryview(target.memory), offset=offset, stride=stride)
            assert (source.memory == target.memory).all()
            source.release()
            target.release()


def main():
    backend, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    amx.set_backend(backend)
    rng = np.random.default_rng(seed)
    products(rng, count)
    tiles(rng, count)
    if len(sys.argv) > 4:  # the guard itself: one byte too far must end this process
        guarded = Guarded(100, at_end=True)
        ctypes.string_at(guarded.memory.ctypes.data, 101)
    print(f"{count} products and {2 * count} tiles on {amx.get_backend('int8').value}")


if __name__ == "__main__":
    main()
