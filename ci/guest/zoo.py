"""Run tests in guests, one after the other: `zoo.py --run FOLDER [NAME…] [-- pytest arguments]`.

FOLDER has a folder with `kernel` and `initramfs` for each kernel version, and takes what a guest leaves.
`--list` says which guests there are; `--kernels [NAME…]` the kernels of these, with Debian's releases.
Settings: CC (default: cc), MINUTES that a guest may take (default: 15).
"""

import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import machine
import verdict
from guests import GUESTS, RELEASES, Guest

HERE = Path(__file__).parent
PYTHON = machine.CHECKOUT / ".venv/bin/python"


def chosen() -> list[str]:
    """What ci/guest/tests lists, as arguments of pytest: the first word of each line."""
    lines = (HERE / "tests").read_text().splitlines()
    words = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    return [f"--deselect={word[1:]}" if word.startswith("-") else word for word in words]


def environment(folder: Path) -> dict[str, str]:
    """Of the tests: the same on the host, which collects them, and in a guest."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "CHECKOUT": str(machine.CHECKOUT),
        "HOST_CC": os.environ.get("CC", "cc"),
        "CC": shlex.quote(str(HERE / "cc")),
        "AMX_TEST_OBJECTS": str(folder / "objects"),  # of tests/compiling.py
        "AMX_BACKEND": "emulated",
    }


def command(folder: Path, arguments: list[str]) -> str:
    """The shell script that runs pytest in the guest."""
    words = [PYTHON, HERE / "session.py", "/run/host/results", "-p", "no:cacheprovider", "-v", *arguments]
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in environment(folder).items()]
    return "".join(exports) + f"cd {shlex.quote(str(machine.CHECKOUT))}\nexec {shlex.join(map(str, words))}\n"


def compile_objects(folder: Path) -> bool:
    """Compile csrc/trap/ for the tests that link it, on all CPUs; whether it compiles."""
    shutil.rmtree(folder / "objects", ignore_errors=True)
    (folder / "objects").mkdir(parents=True)
    code = "import compiling; compiling.objects(compiling.TRAP)"  # which shares the work
    processes = [
        subprocess.Popen([PYTHON, "-c", code], cwd=machine.CHECKOUT / "tests", env=environment(folder))
        for _ in os.sched_getaffinity(0)
    ]
    return [process.wait() for process in processes] == [0] * len(processes)


def collect(folder: Path, arguments: list[str]) -> bool:
    """Whether pytest finds what is asked for; the modules of tests are compiled then."""
    command = [str(PYTHON), "-m", "pytest", "--collect-only", "-qq", *arguments]
    found = subprocess.run(
        command, cwd=machine.CHECKOUT, env=environment(folder), capture_output=True, text=True, check=False
    )
    if found.returncode:
        print(found.stdout + found.stderr)
    return found.returncode == 0


def visit(guest: Guest, folder: Path, arguments: list[str], minutes: float) -> bool:
    """Run one guest and print what it did; whether all went well."""
    kernel = folder / guest.kernel
    files = machine.Files(kernel / "kernel", kernel / "initramfs")
    own = folder / guest.name
    by = machine.accelerator(guest, files, own)
    print(f"== {guest.name}: {guest.cpu}, Linux {guest.kernel}, {by}", flush=True)
    begun, spent = time.monotonic(), processor_seconds()
    in_time = machine.run(guest, files, own, by, command(folder, arguments), seconds=60 * minutes)
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
        arguments = arguments or chosen()
        minutes = float(os.environ.get("MINUTES", "15"))
        # On the host, since it would take each guest minutes.
        if not (collect(Path(words[0]), arguments) and compile_objects(Path(words[0]))):
            return 1
        good = [visit(guest, Path(words[0]), arguments, minutes) for guest in guests]
        return 0 if all(good) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
