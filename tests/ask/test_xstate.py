"""XCR0, component layout and the sizes of frames and stacks."""

import machines
import pytest

from amx import machine, xstate
from amx._lib import lib
from amx.xstate import AltstackNeed, Component

OSXSAVE = 1 << 27


def xgetbv1(machine):
    """CPUID.D.1:EAX[2]: XGETBV knows ECX = 1."""
    return machine.cpuid(0).eax >= 0xD and machine.cpuid(0xD, 1).eax >> 2 & 1


def test_amx_components_of_a_granite_rapids_guest():
    # The figures were observed on such a guest.
    with machine.use(machines.load("granite-rapids-firecracker-hides-fp16")):
        found = xstate.layout()
        assert found.xcr0 == xstate.xcr0() == 0x600E7
        assert found.enabled
        assert found.components == (
            Component(number=17, size=64, offset=2752, supervisor=False, align64=True, xfd=False),
            Component(number=18, size=8192, offset=2816, supervisor=False, align64=True, xfd=True),
        )
        assert (found.standard_size, found.compacted_size) == (11008, 10688)
        assert xstate.altstack_need() == AltstackNeed(11952, 11952, 11952, 47808)


def test_the_standard_size_ends_with_the_tile_data():
    with machine.use(machines.load("sapphire-rapids")):
        data = xstate.layout().components[-1]
        assert xstate.layout().standard_size == data.offset + data.size


@pytest.mark.parametrize("name", ["zen5-kvm", "sierra-forest", "ice-lake", "hypervisor-hides-xcr0"])
def test_without_the_components_nothing_is_enabled(name):
    with machine.use(machines.load(name)):
        assert xstate.layout().components == ()
        assert not xstate.layout().enabled


def test_offered_components_that_xcr0_leaves_out_are_described_and_not_enabled():
    with machine.use(machines.load("kernel-leaves-xcr0")):
        assert [component.number for component in xstate.layout().components] == [17, 18]
        assert not xstate.layout().enabled


def test_without_osxsave_there_is_no_xcr0():
    with machine.use(machines.load("noxsave")):
        assert xstate.xcr0() is None
        assert xstate.xinuse() is None


def test_an_old_kernel_and_libc_state_no_sizes():
    with machine.use(machines.load("kernel-5.10")):
        assert xstate.altstack_need() == AltstackNeed(0, 0, 0, 0)


@pytest.mark.skipif(lib.amx_is_stub() == 1, reason="this build has no machine layer")
def test_this_machines_numbers_fit_each_other():
    found, real = xstate.layout(), machine.current()
    assert (found.xcr0 is not None) == bool(real.cpuid(1).ecx & OSXSAVE)
    assert (xstate.xinuse() is not None) == (found.xcr0 is not None and bool(xgetbv1(real)))
    assert (found.xcr0 or 0) & ~found.supported == 0
    assert (xstate.xinuse() or 0) & ~(found.xcr0 or 0) == 0
    assert found.standard_size <= found.standard_limit
    # A worst-case frame holds the whole standard area.
    assert xstate.altstack_need().before == 0 or xstate.altstack_need().before > found.standard_size
