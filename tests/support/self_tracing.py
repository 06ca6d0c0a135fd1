"""Scripts that trace themselves into the directory that is their first argument, and what was counted."""

from trapping import PRELUDE

from amx import machine
from amx._lib import lib
from amx.xstate import XFEATURE_MASK_XTILE

HAS_TILES = not lib.amx_is_stub() and bool((machine.Real().xgetbv(0) or 0) & XFEATURE_MASK_XTILE)
CONFIGURING = ("ldtilecfg", "sttilecfg", "tilerelease")

# TDPBSSD tmm0, tmm1, tmm2; TDPBF16PS tmm0, tmm1, tmm2; TILEZERO tmm3
TRACED = (
    PRELUDE
    + """
def start_traced(directory, patch=0):
    name, path = ffi.new("char[]", b"spr"), ffi.new("char[]", directory.encode())
    options = {"cpu": name, "patch": patch, "hybrid": -1, "trace": path}
    return lib.amx_trap_start(ffi.new("struct amx_trap_options *", options))

tdpbssd, tdpbf16ps = function("c4e26b5ec1"), function("c4e26a5cc1")
tilezero3 = function("c4e27b49d8")
"""
)
START = "assert start_traced(sys.argv[1]) == 0 and request() == 0\n"


def expected(**counts):
    """Counts by mnemonic, without what a CPU with AMX executes by itself."""
    return {name: count for name, count in counts.items() if not (HAS_TILES and name in CONFIGURING)}


def executed(found):
    """The same of a trace."""
    return expected(**{total.mnemonic: total.executed for total in found.totals})
