"""The guests of ci/zoo: which CPU and kernel each has, and what it shows that no other does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Guest:
    """One virtual machine; `has` and `lacks` are flags in its /proc/cpuinfo, or it is not this guest."""

    name: str
    cpu: str  # as qemu names it
    kernel: str  # how its version begins
    has: frozenset[str]
    lacks: frozenset[str]
    shows: str


def _flags(text: str) -> tuple[frozenset[str], frozenset[str]]:
    words = text.split()
    lacks = frozenset(word[1:] for word in words if word.startswith("-"))
    return frozenset(word for word in words if not word.startswith("-")), lacks


# Debian's releases, by the version of the kernel that is theirs.
RELEASES = {"5.10": "bullseye", "6.1": "bookworm"}
PROCESSORS, MEMORY_MIB = 1, 1536  # of each guest
GUESTS = [
    Guest(name, cpu, kernel, *_flags(flags), shows)
    for name, cpu, kernel, flags, shows in [
        (
            "nehalem",
            "Nehalem",
            "6.1",
            "sse4_2 -xsave -avx",
            "no XSAVE, no AVX: 512-byte frames, no components",
        ),
        (
            "haswell",
            "Haswell",
            "6.1",
            "avx2 xsave -xgetbv1 -avx512f",
            "AVX2, no AVX-512, no XGETBV with ECX = 1",
        ),
        ("la57", "max", "6.1", "la57 avx2 xgetbv1 pku -avx512f", "57-bit addresses, PKRU"),
        ("no-la57", "max,la57=off", "6.1", "avx2 xgetbv1 pku -la57 -avx512f", "48-bit addresses, PKRU"),
        (
            "linux-5.10",
            "Haswell",
            "5.10",
            "avx2 xsave -avx512f",
            "a kernel that has never heard of permissions",
        ),
    ]
]
