"""ALT: alternate signal stacks."""

from __future__ import annotations

import os
import signal
from errno import ENOSPC

from amx.conformance.check import Judge, Need, check
from amx.conformance.show import XTILEDATA, ending, fault, result

_VALIDATE = "arch/x86/kernel/fpu/xstate.c, validate_sigaltstack()"
_SIZE_VALID = "arch/x86/kernel/signal.c, sigaltstack_size_valid()"


@check(
    "ALT-01",
    "A request with an alternate stack too small for tile data is ENOSPC, until the stack is gone.",
    authority=_VALIDATE,
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-02", "DISC-08"),
    covers=("K06", "K08"),
    documented='Documentation/arch/x86/xstate.rst: "ARCH_REQ_XCOMP_SUPP results in -ENOSUPP". '
    "There is no such operation and no such errno: ARCH_REQ_XCOMP_PERM gives ENOSPC.",
)
def _(seen: Judge) -> None:
    seen.equal("sigaltstack(AT_MINSIGSTKSZ less the tile data) before permission", seen["set"], 0, result)
    seen.equal("the request", seen["refused"], -ENOSPC, result)
    seen.equal("the permission after it", seen["after refusal"], seen["before"], hex)
    seen.equal("sigaltstack(SS_DISABLE)", seen["disabled"], 0, result)
    seen.equal("the request without the stack", seen["granted"], 0, result)
    seen.equal("tile data permitted", seen["after"] & XTILEDATA, XTILEDATA, hex)


@check(
    "ALT-02",
    "The request wants AT_MINSIGSTKSZ bytes, and no more.",
    authority=_VALIDATE,
    since="5.16",
    needs={Need.AMX},
    depends=("ALT-01",),
)
def _(seen: Judge) -> None:
    size = seen["minsigstksz"]
    seen.equal(f"sigaltstack({size - 1})", seen["set below"], 0, result)
    seen.equal("the request with it", seen["below"], -ENOSPC, result)
    seen.equal(f"sigaltstack({size})", seen["set at"], 0, result)
    seen.equal("the request with it", seen["at"], 0, result)
    seen.equal("tile data permitted", seen["permission"] & XTILEDATA, XTILEDATA, hex)


@check(
    "ALT-03",
    "Another thread's small alternate stack refuses the request as well, until that thread exits.",
    authority=f"{_VALIDATE}: for_each_thread()",
    since="5.16",
    needs={Need.AMX},
    depends=("ALT-01",),
)
def _(seen: Judge) -> None:
    seen.equal("sigaltstack(8192) in the thread", seen["set by the thread"], 0, result)
    seen.equal("the request meanwhile", seen["refused"], -ENOSPC, result)
    seen.equal("tile data permitted", seen["after refusal"] & XTILEDATA, 0, hex)
    seen.equal("the request after the thread's exit", seen["granted"], 0, result)
    seen.equal("tile data permitted", seen["after"] & XTILEDATA, XTILEDATA, hex)


@check(
    "ALT-04",
    "With permission no thread can set an alternate stack that is too small; disabling is possible.",
    authority=_SIZE_VALID,
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-02", "DISC-08"),
    covers=("K11",),
    documented="Documentation/arch/x86/elf_auxvec.rst: AT_MINSIGSTKSZ is the least for a signal to arrive. "
    "sigaltstack() accepts less than the request does (by 115 bytes where it was measured).",
)
def _(seen: Judge) -> None:
    size, state = seen["minsigstksz"], seen["xsave"]
    for who in ("leader", "old thread", "new thread"):
        plain, autodisarm, disabled = seen[who]
        for flags, least in (("", plain), (" with SS_AUTODISARM", autodisarm)):
            seen.true(
                f"smallest stack accepted{flags}, {who}",
                state < least <= size,
                least if least >= 0 else "none, or another error than ENOMEM below it",
                f"more than the state ({state}), up to AT_MINSIGSTKSZ ({size})",
            )
        seen.equal(f"sigaltstack(SS_DISABLE), {who}", disabled, 0, result)


@check(
    "ALT-05",
    "A signal arrives on the smallest alternate stack that is accepted, with tile data live.",
    authority=f"{_SIZE_VALID}; get_sigframe()",
    since="5.16",
    needs={Need.AMX, Need.REAL_FRAMES},
    depends=("ALT-04",),
)
def _(seen: Judge) -> None:
    if seen["size"] < 0:
        seen.true("an alternate stack is accepted", False, "none, or another error than ENOMEM", "one is")
    elif seen.exited("child", f"a child with an alternate stack of {seen['size']} bytes"):
        seen.equal("the handler ran", seen["delivered"], 1)
        seen.equal("the tile afterwards is intact", seen["same data"], 1)


@check(
    "ALT-06",
    "No race of request and sigaltstack ends with permission and a small alternate stack.",
    authority="arch/x86/kernel/fpu/xstate.c, xstate_request_perm() and kernel/signal.c, do_sigaltstack(): "
    "both under sighand->siglock (sigaltstack_lock())",
    since="5.16",
    needs={Need.AMX, Need.ALONE},
    depends=("ALT-03", "ALT-04"),
    timeout=30.0,
)
def _(seen: Judge) -> None:
    seen.equal("races that ended with both", seen["granted and small"], 0)
    seen.equal("races never granted", seen["never granted"], 0)
    seen.equal("races with an answer that is neither 0 nor ENOSPC", seen["other answers"], 0)
    seen.equal("races that ended otherwise", seen["other endings"], 0)
    met, missed = seen["met the stack"], seen["missed the stack"]
    seen.equal("races as they should be", met + missed, seen["races"])
    seen.true("requests that the small stack refused", met > 0, met, "1 or more")
    seen.note(f"The request met the small stack in {met} of {seen['races']} races.")


@check(
    "ALT-07",
    "A signal that does not fit on its alternate stack is a SIGSEGV; one that fits is delivered.",
    authority="arch/x86/kernel/signal.c, get_sigframe(); tools/testing/selftests/x86/sigaltstack.c",
    since="5.14",
    covers=("sigaltstack.c",),
)
def _(seen: Judge) -> None:
    rt_sigframe, alignment = 440, 63 + 15  # arch/x86/include/asm/sigframe.h; the state to 64, the frame to 16
    state = seen["frame"]["extended_size"] or 512  # without magic1 an FXSAVE image
    # As it was on a large stack, where its alignment may have taken more; records of before lack it.
    least = seen["room for a frame"] - alignment if "room for a frame" in seen else state + rt_sigframe
    size, delivered = seen["size"], seen["delivered on the small one"]
    if least > size:
        seen.equal(f"a frame of {least} bytes on a stack of {size}: delivered", delivered, 0)
    elif least + 2 * alignment <= size:
        seen.equal(f"a frame of {least} bytes on a stack of {size}: delivered", delivered, 1)
    else:
        seen.note(f"A frame of {least} bytes may or may not fit into {size}, depending on its alignment.")
    if not delivered:
        overflow = seen["overflow"]
        kind = {name: overflow[name] for name in ("signal", "code")}
        seen.equal("the signal instead", kind, {"signal": int(signal.SIGSEGV), "code": 128}, fault)
    if "two on the small one" in seen and 2 * least > size:
        ended = seen["two on the small one"].get("signal")
        seen.equal("the signal that two frames on it end in", ended, int(signal.SIGSEGV))
    seen.equal("delivered on a stack of AT_MINSIGSTKSZ", seen["delivered on AT_MINSIGSTKSZ"], 1)


@check(
    "ALT-08",
    "This Python interpreter's alternate stack, faulthandler's included, allows the request.",
    authority="CPython bpo-46968: faulthandler's stack has AT_MINSIGSTKSZ added since 3.11",
    since="5.16",
    needs={Need.AMX, Need.OPT_IN, Need.REAL_FRAMES},
    depends=("PERM-02",),
)
def _(seen: Judge) -> None:
    observed = seen["errno of the request"]
    status = observed.get("exit", -1)
    shown = ending(observed) if status < 0 else (os.strerror(status) if status else "0")
    seen.true(f"the request by {seen['interpreter']}", status == 0, shown, "0")
