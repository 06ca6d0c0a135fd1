"""Products that are cut as for a core with other caches: loops over blocks that turn with small products."""

import contextlib
import dataclasses

from amx.caches import Caches
from amx.lowlevel import ffi, lib

TINY = [
    Caches(4 << 10, 16 << 10),
    Caches(4 << 10, 64 << 10),
    Caches(12 << 10, 24 << 10),
    Caches(48 << 10, 8 << 10),
]


@contextlib.contextmanager
def assumed(caches):
    lib.amx_gemm_assume_caches(ffi.new("struct amx_caches *", dataclasses.asdict(caches)))
    try:
        yield
    finally:
        lib.amx_gemm_assume_caches(ffi.NULL)
