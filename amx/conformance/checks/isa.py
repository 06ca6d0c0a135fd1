"""ISA: what instructions do to user-space buffers."""

from __future__ import annotations

from amx.conformance.check import Judge, Need, check
from amx.conformance.show import XTILEDATA


@check(
    "ISA-01",
    "XSAVE of everything writes zeros as tile data even without permission, which overruns areas of the size"
    " without it; XSAVEOPT, XSAVEC and XSAVE without bit 18 do not.",
    authority="SDM vol. 1, 13.7 to 13.10: XSAVE writes components in their initial state, XSAVEOPT and XSAVEC"
    " leave them out; 13.14: extended feature disable",
    since="5.16",
    needs=(Need.TILES, Need.FRAMES),
    depends=("DISC-01", "PERM-01"),
    information=True,
)
def _overrun(seen: Judge) -> None:
    small, big, zeros = seen["small"], seen["big"], seen["data_size"]
    seen.equal("XSAVE of all: last byte written", seen["xsave_all.written_end"], big)
    seen.equal("XSAVE of all: zeros of tile data", seen["xsave_all.data_zeros"], zeros)
    for name in ("xsave_without_18", "xsaveopt_all", "xsavec_all"):
        end = seen[f"{name}.written_end"]
        seen.true(f"{name}: last byte written", end <= small, end, f"at most {small}")
        seen.equal(f"{name}: XSTATE_BV of tile data", seen[f"{name}.xstate_bv"] & XTILEDATA, 0, hex)
    seen.equal("permission afterwards", seen["permission_after"], seen["permission"], hex)
    seen.note(
        f"without permission XSAVE of all components writes {seen['xsave_all.written_end']} bytes,"
        f" of all but tile data {seen['xsave_without_18.written_end']}"
    )
