"""The guests of ci/zoo: which CPU and kernel each has, and what it shows that no other does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Guest:
    """One virtual machine."""

    name: str
    cpu: str  # as qemu names it
    kernel: str  # how its version begins
    flags: str  # of /proc/cpuinfo: it has these, and lacks those with a minus, or it is not this guest
    shows: str


# Debian's releases, by the version of the kernel that is theirs.
RELEASES = {"5.10": "bullseye", "6.1": "bookworm"}
PROCESSORS, MEMORY_MIB = 1, 1536  # of each guest
GUESTS = [
    Guest("nehalem", "Nehalem", "6.1", "sse4_2 -xsave -avx", "no XSAVE and no AVX: frames of 512 bytes"),
    Guest("haswell", "Haswell", "6.1", "avx2 -xgetbv1 -avx512f", "no AVX-512, no XGETBV with ECX = 1"),
    Guest("la57", "max", "6.1", "la57 avx2 xgetbv1 pku -avx512f", "addresses of 57 bits, PKRU"),
    Guest("no-la57", "max,la57=off", "6.1", "avx2 xgetbv1 pku -la57 -avx512f", "of 48 bits, PKRU"),
    Guest("linux-5.10", "Haswell", "5.10", "avx2 -avx512f", "a kernel without permissions"),
]
