"""The C surface one to one. Hazardous: a wrong call ends the process or corrupts memory.

Nothing is checked. `lib` and `ffi` are cffi's; what `lib` holds is documented in `amx/_native.cdef.txt`. With
engine `lib.AMX_NATIVE` a tile function acts on the CPU, and SIGILL or SIGSEGV is its error;
with `lib.AMX_EMULATED` it acts on the software tile registers of the calling thread and returns -errno.
Products take `lib.AMX_VECTOR` too. The rest of the package is the safe way.
"""

from __future__ import annotations

from amx._lib import ffi, lib

__all__ = ["ffi", "lib"]
