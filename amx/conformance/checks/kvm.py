"""KVM: permission for guests."""

from __future__ import annotations

import errno
import signal

from amx.conformance.check import Judge, Need, check
from amx.conformance.show import XTILEDATA, result, signal_name

PERM = "arch/x86/kernel/fpu/xstate.c: __xstate_request_perm(), xstate_get_guest_group_perm()"
LOCK = "arch/x86/kernel/fpu/core.c: fpu_lock_guest_permissions(); FPU_GUEST_PERM_LOCKED"
KVM_XSAVE = 4096  # struct kvm_xsave, the least that KVM_CAP_XSAVE2 gives
ILL_ILLOPC = 1


@check(
    "KVM-01",
    "Permission for guests is separate from the process's own, and no signal stack is in its way.",
    authority=f"{PERM}; Sean Christopherson, LKML 12 April 2021, on guests' own XCR0",
    since="5.17",
    needs=(Need.AMX, Need.KERNEL_TILES),
    depends=("PERM-02", "FAULT-01", "ALT-01"),
)
def _separate(seen: Judge) -> None:
    seen.equal("guest permission before", seen["guest_before"] & XTILEDATA, 0, hex)
    seen.equal("ARCH_REQ_XCOMP_GUEST_PERM on a small signal stack", seen["request"], 0, result)
    seen.equal("guest permission", seen["guest"], seen["guest_before"] | XTILEDATA, hex)
    seen.equal("the process's own permission", seen["host"], seen["host_before"], hex)
    seen.equal("a tile touched by the process", seen["touch"], signal.SIGILL.value, signal_name)
    seen.equal("its si_code (ILL_ILLOPC)", seen["touch_code"], ILL_ILLOPC)
    seen.equal("ARCH_REQ_XCOMP_PERM on the same signal stack", seen["host_request"], -errno.ENOSPC, result)


@check(
    "KVM-02",
    "After the first virtual CPU guest permission is refused with EBUSY, also when it is gone and in a"
    " child; exec ends that.",
    authority=LOCK,
    since="5.17",
    needs=(Need.AMX, Need.KVM),
    depends=("KVM-01",),
)
def _locked(seen: Judge) -> None:
    if not seen.exited("child_ending", "the child"):
        return
    for when in ("after_vcpu", "after_close", "child"):
        seen.equal(f"request {when.replace('_', ' ')}", seen[when], -errno.EBUSY, result)
    seen.equal("guest permission", seen["guest"] & XTILEDATA, 0, hex)
    seen.equal("request after exec", seen["after_exec"], 0, result)


@check(
    "KVM-03",
    "Guest permission that was granted before the first virtual CPU may be asked for again after it.",
    authority=LOCK,
    since="5.17",
    needs=(Need.AMX, Need.KVM),
    depends=("KVM-01",),
)
def _granted(seen: Judge) -> None:
    seen.equal("request before the virtual CPU", seen["before_vcpu"], 0, result)
    seen.equal("request after it", seen["after_vcpu"], 0, result)
    seen.equal("guest permission", seen["guest"] & XTILEDATA, XTILEDATA, hex)


@check(
    "KVM-04",
    "KVM offers guests no more than the kernel has, and sizes their state by what is offered and permitted.",
    authority="arch/x86/kvm/x86.c: KVM_X86_XCOMP_GUEST_SUPP, KVM_CAP_XSAVE2; Documentation/virt/kvm/api.rst",
    since="5.17",
    needs=(Need.KVM, Need.OPT_IN),
    depends=("DISC-01",),
)
def _offer(seen: Judge) -> None:
    beyond = seen["offered"] & ~seen["supported"]
    seen.equal("components offered beyond ARCH_GET_XCOMP_SUPP", beyond, 0, hex)
    seen.equal("KVM_CAP_XSAVE2", seen["size"], max(KVM_XSAVE, seen["needed"]))
    seen.equal("KVM_CAP_XSAVE2 after the request", seen["size_after"], max(KVM_XSAVE, seen["needed_after"]))
    granted = seen["request"] == 0
    expected = seen["guest"] | (XTILEDATA if granted else 0)
    seen.equal("guest permission after the request", seen["guest_after"], expected, hex)
    if granted and not seen["offered"] & XTILEDATA:
        seen.note("the grant does not imply an offer: this KVM has no tile data for guests")
