"""Faults of emulated instructions: what the program's own handler sees, and that what it repaired goes on."""

from signal import SIGBUS, SIGILL, SIGSEGV

import pytest
import trapping

from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")

ILL_ILLOPC, ILL_ILLOPN, SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR, SI_KERNEL = 1, 2, 1, 2, 2, 128
UD, SS, GP, PF = 6, 12, 13, 14
PRESENT, WRITE, USER = 1, 2, 4  # of a page fault's error code


@pytest.fixture(params=[False, True], ids=["trapped", "patched"])
def patched(request):
    return request.param


def page_fault(signal, code, site, err):
    """At the first byte of the second page; the instruction then completes."""
    return {
        "signal": signal,
        "code": code,
        "offset": 4096,
        "site": site,
        "trapno": PF,
        "err": err,
        "cr2": "same",
    }


PAGE_FAULTS = {
    "load-protected": page_fault(SIGSEGV, SEGV_ACCERR, "load", USER),
    "load-unmapped": page_fault(SIGSEGV, SEGV_MAPERR, "load", USER),
    "load-beyond-file": page_fault(SIGBUS, BUS_ADRERR, "load", USER),
    "store-read-only": page_fault(SIGSEGV, SEGV_ACCERR, "store", USER | WRITE | PRESENT),
    "configuration-protected": page_fault(SIGSEGV, SEGV_ACCERR, "configure", USER),
}


def seen(expected):
    """As the program prints it."""
    return [(name, str(int(value) if isinstance(value, int) else value)) for name, value in expected.items()]


@pytest.mark.parametrize("name", PAGE_FAULTS)
def test_a_page_fault_is_the_programs_and_the_instruction_restarts(name, patched):
    """At the right address, RIP and with the kernel's codes; it goes on with the row that faulted."""
    assert trapping.scenario(name, patched) == seen(PAGE_FAULTS[name])


def general(signal, vector, site):
    return {
        "signal": signal,
        "code": SI_KERNEL,
        "address": "0",
        "site": site,
        "trapno": vector,
        "err": 0,
    }


OTHER_FAULTS = {
    "bad-configuration": general(SIGSEGV, GP, "configure"),
    "noncanonical": general(SIGSEGV, GP, "load"),
    "noncanonical-stack": general(SIGBUS, SS, "load_by_rbp"),
    "unconfigured": {"signal": SIGILL, "code": ILL_ILLOPN, "address": "rip", "site": "zero"},
    "unpermitted": {"signal": SIGILL, "code": ILL_ILLOPC, "address": "rip", "site": "zero"},
}


@pytest.mark.parametrize("name", OTHER_FAULTS)
def test_other_faults_are_the_kernels(name, patched):
    """#GP is SI_KERNEL without an address, #SS the same as SIGBUS; #UD and a missing permission name RIP."""
    assert trapping.scenario(name, patched) == seen(OTHER_FAULTS[name])


def test_an_address_of_more_than_47_bits_faults_as_the_cpu_has_it(patched):
    """With four levels of page tables it is not canonical, with five nothing is mapped there."""
    found = trapping.scenario("beyond-47-bits", patched)
    four = [f"{SIGSEGV:d} {SI_KERNEL} (nil)", f"{SIGBUS:d} {SI_KERNEL} (nil)"]  # the second by RBP
    five = [f"{SIGSEGV:d} {SEGV_MAPERR} {1 << 47:#x}"] * 2
    qemu = four[:1] * 2  # which, without KVM, raises #GP where #SS belongs
    cpu = [value for name, value in found if name == "cpu"]
    assert cpu in (four, five, qemu)
    assert [value for name, value in found if name == "emulation"] == (five if cpu == five else four)


@pytest.mark.parametrize(
    "name",
    ["killed", "killed-though-blocked", "killed-by-address-though-blocked", "killed-though-ignored"],
)
def test_a_fault_without_a_handler_kills(name, patched):
    """As the kernel forces it: neither a mask nor SIG_IGN is protection."""
    assert trapping.scenario(name, patched, ends="SIGSEGV") == []
