"""CORE: tile state in core dumps."""

from __future__ import annotations

import signal
from collections import Counter

from amx.conformance.check import Judge, KnownBug, Need, check
from amx.conformance.checks.frames import TILES
from amx.conformance.show import signal_name

MAIN, THREAD, NO_DATA = 7, 5, 0  # which pattern a thread's TMM0 has


def _crashed(seen: Judge) -> bool:
    """Expect the crash that was meant; False: there is no core file of it."""
    number = seen["dumped"].get("signal", 0)
    seen.equal("how the process ended", number, signal.SIGABRT.value, signal_name)
    return bool(number == signal.SIGABRT.value)


@check(
    "CORE-01",
    "A core file has each thread's own tile state: live data as it was, zeros where there is none.",
    authority="fs/binfmt_elf.c: fill_thread_core_info(); arch/x86/kernel/fpu/regset.c: xstateregs_get()",
    since="5.16",
    needs=(Need.AMX, Need.REAL_FRAMES, Need.CORE_FILE),
    depends=("PERM-02",),
    bugs=(
        KnownBug(
            "init_fpstate claimed dynamic states and initial states were taken from it (471f0aa7fa64)",
            "6.1, 6.0.7",
        ),
    ),
    timeout=15.0,
)
def _states(seen: Judge) -> None:
    if not _crashed(seen):
        return
    states = seen.all("state")
    seen.equal("NT_X86_XSTATE notes of the four threads", len(states), 4)
    for size, *_ in states:
        seen.equal("bytes of a note (CPUID.D.0:EBX)", size, seen["size"])
    tiles = [tile for *_, tile in states]
    seen.equal("tiles of the thread that crashed, which comes first", (tiles or [-1])[0], MAIN)
    found, expected = Counter(tiles), Counter([MAIN, THREAD, NO_DATA, NO_DATA])
    seen.equal("threads by their tiles", sorted(found.items()), sorted(expected.items()))
    for _, xstate_bv, configured, tile in states:
        live = tile in (MAIN, THREAD)
        seen.equal(f"XSTATE_BV of the thread with tiles {tile}", xstate_bv & TILES, TILES if live else 0, hex)
        seen.equal(f"configuration of the thread with tiles {tile}", bool(configured), live)


@check(
    "CORE-02",
    "A core file describes the layout of the saved states once, as CPUID has it.",
    authority="arch/x86/kernel/fpu/xstate.c: dump_xsave_layout_desc(), note NT_X86_XSAVE_LAYOUT (0x205)",
    since="6.12",
    needs=(Need.CORE_FILE, Need.ONE_MACHINE),
    bugs=(KnownBug("core files were cut short where the CPU has no extended component", "6.12.64", "6.12"),),
    timeout=15.0,
    depends=("DISC-01",),
)
def _layout(seen: Judge) -> None:
    if not _crashed(seen):
        return
    seen.equal("layout notes", seen["layouts"], 1)
    components = sorted(map(tuple, seen.all("component")))
    records = sorted((type, size, offset) for type, size, offset, _ in seen.all("record"))
    seen.equal("components (number, size, offset)", records, components)
    seen.equal("bytes behind the last record", sum(seen.all("rest")), 0)
    flags = {flags for *_, flags in seen.all("record")}
    if flags - {0}:
        seen.note(f"the records' flags, which are reserved, are {sorted(flags)}")
