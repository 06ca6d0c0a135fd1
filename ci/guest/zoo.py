"""Run tests in guests, one after the other: `zoo.py --run FOLDER [NAME…] [-- pytest arguments]`.

FOLDER has a folder with `kernel` and `initramfs` for each kernel version, and takes what a guest leaves.
`--list` says which guests there are; `--kernels [NAME…]` the kernels of these, with Debian's releases.
Settings: CC (default: cc), MINUTES that a guest may take (default: 15).
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import machine
import verdict
from guests import GUESTS, RELEASES, Guest
from selection import Selection, chosen


def visit(guest: Guest, folder: Path, tests: Selection, minutes: float) -> bool:
    """Run one guest and print what it did; whether all went well."""
    kernel = folder / guest.kernel
    files = machine.Files(kernel / "kernel", kernel / "initramfs")
    own = folder / guest.name
    by = machine.accelerator(guest, files, own)
    print(f"== {guest.name}: {guest.cpu}, Linux {guest.kernel}, {by}", flush=True)
    begun, spent = time.monotonic(), processor_seconds()
    in_time = machine.run(guest, files, own, by, tests.command, seconds=60 * minutes)
    found = verdict.read(own, machine.differences(guest, own), in_time=in_time)
    took = f"{time.monotonic() - begun:.0f} s, {processor_seconds() - spent:.0f} s of CPU time"
    print(f"{found}\n{guest.name}: {found.summary}; {took}; see {own}", flush=True)
    return found.good


def processor_seconds() -> float:
    """Of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def named(words: Sequence[str]) -> tuple[list[Guest], list[str]]:
    """The guests that the words before `--` name, all without one, and the words after it."""
    end = words.index("--") if "--" in words else len(words)
    unknown = set(words[:end]) - {guest.name for guest in GUESTS}
    if unknown:
        known = ", ".join(guest.name for guest in GUESTS)
        sys.exit(f"zoo: no guest is named {', '.join(sorted(unknown))}; there are {known}")
    return [guest for guest in GUESTS if guest.name in words[:end] or end == 0], list(words[end + 1 :])


def main(what: str, *words: str) -> int:
    """The exit status: 1 if any guest failed."""
    if what == "--list":
        for guest in GUESTS:
            print(f"{guest.name:12} {guest.cpu}, Linux {guest.kernel}: {guest.shows}")
    elif what == "--kernels":
        for kernel in sorted({guest.kernel for guest in named(words)[0]}):
            print(kernel, RELEASES[kernel])
    else:
        guests, arguments = named(words[1:])
        folder, minutes = Path(words[0]), float(os.environ.get("MINUTES", "15"))
        with tempfile.TemporaryDirectory(prefix="objects-", dir=folder) as objects:
            tests = Selection(arguments or chosen(), Path(objects))
            if not tests.prepare():
                return 1
            good = [visit(guest, folder, tests, minutes) for guest in guests]
        return 0 if all(good) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
