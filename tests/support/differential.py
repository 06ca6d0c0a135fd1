"""Compare AMX instructions on this CPU with the software tile machine, byte for byte.

    python tests/support/differential.py --count N --seed S

Compiles tests/c/differential/ and csrc/emulator/ and runs random instructions, right and wrong ones, through
both. Exit status 0: all equal; 1: a difference, and the first case with its data shrunk to what it needs is
printed; 77: could not run.

--lane native     needs a CPU with AMX and the kernel's permission
--lane trapped    for CPUs without AMX: the same bytes raise #UD, and the tile machine executes them behind
                  SIGILL (csrc/trap/); proves encodings, operands, decode and step, not silicon's numerics
--lane patched    for any CPU: a call of the tile machine stands where the instruction was; proves besides
                  that nothing else changes
--sweep EVERY     instead of random instructions: all encodings of the first instructions, or every n-th;
                  #UD or not must be the same for the table of encodings, the decoder and the CPU
--record FILE     on a CPU with AMX: write SHA-256 digests of its results, for test_differential.py to replay
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import children
import compiling

ROOT = Path(__file__).resolve().parents[2]
DIGESTS = ROOT / "tests/data/silicon-digests.json"
FAMILIES = (
    "config", "memory", "int8", "bf16", "fp16", "encoding", "complex", "fp8", "row", "movrs", "newer-encoding"
)  # fmt: skip
EVERY_CPU = ("config", "memory", "int8", "bf16")  # with AMX has these
RECORDED_SEEDS = range(1, 6)
RECORDED_COUNT = 4000  # instructions for each family and seed
CANNOT_RUN = 77


def compiler() -> list[str] | None:
    """$CC or cc as a list of words; None where there is none."""
    words = shlex.split(os.environ.get("CC", "cc"))
    return words if words and shutil.which(words[0]) else None


def build(directory: Path, instead: dict[Path, Path] | None = None) -> Path:
    """Compile the program into `directory`; of its own files some `instead` of others."""
    sources = [*sorted(ROOT.glob("tests/c/differential/*.c")), *compiling.TRAP]
    objects = dict(zip(sources, compiling.objects(sources), strict=True))
    for source, changed in (instead or {}).items():
        output = directory / "changed.o"
        compiling.run([*compiling.FLAGS, "-w", "-iquote", source.parent, "-c", changed, "-o", output])
        objects[source] = output
    return compiling.link(directory / "differential", *objects.values())


def digest(program: Path, lane: str, family: str, seed: int, count: int, vectors: int | None = None) -> str:
    """SHA-256 of all results of a run: outcomes, faults, tiles, configuration, memory.

    `vectors`: as on a CPU whose vector registers have so many bytes, without rows where that is not 64.
    """
    arguments = ["--stream", "--lane", lane, "--family", family, "--seed", str(seed), "--count", str(count)]
    arguments += ["--vectors", str(vectors)] if vectors else []
    total = hashlib.sha256()
    with children.start([program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while block := process.stdout.read(1 << 20):
            total.update(block)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, shlex.join([str(program), *arguments]))
    return total.hexdigest()


def record(program: Path, file: Path) -> None:
    """Write the digests of this CPU's results, for the families it has all instructions of."""
    entries = []
    for family in FAMILIES:
        try:
            entries += [
                {
                    "family": family,
                    "seed": seed,
                    "sha256": digest(program, "native", family, seed, RECORDED_COUNT),
                }
                for seed in RECORDED_SEEDS
            ]
        except subprocess.CalledProcessError as error:
            if error.returncode != CANNOT_RUN or family in EVERY_CPU:
                raise
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    machine = {
        "cpu": names[0].partition(":")[2].strip() if names else "unknown",
        "kernel": platform.release(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    content = {"machine": machine, "count": RECORDED_COUNT, "digests": entries}
    file.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{len(entries)} digests of {RECORDED_COUNT} instructions each in {file}")


def main() -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200_000, help="instructions (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="default: a random one, which is printed")
    parser.add_argument(
        "--lane", choices=("auto", "native", "trapped", "patched", "emulated"), default="auto"
    )
    parser.add_argument("--family", choices=FAMILIES, help="default: all in turn")
    parser.add_argument("--sweep", type=int, metavar="EVERY")
    parser.add_argument("--record", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.count < 1:
        parser.error("--count must be at least 1")
    if options.sweep is not None and (options.sweep < 1 or options.lane == "patched"):
        parser.error("--sweep must be at least 1, and not in lane patched")
    if compiler() is None:
        print(f"cannot run: no C compiler at CC={os.environ.get('CC', 'cc')}", file=sys.stderr)
        return CANNOT_RUN
    with tempfile.TemporaryDirectory() as directory, compiling.objects_of_this_run():
        program = build(Path(directory))
        if options.record:
            try:
                record(program, options.record)
            except subprocess.CalledProcessError as error:
                print(f"nothing recorded: {error}", file=sys.stderr)
                return error.returncode
            return 0
        seed = random.getrandbits(32) if options.seed is None else options.seed
        arguments = ["--lane", options.lane, "--count", str(options.count), "--seed", str(seed)]
        arguments += ["--family", options.family] if options.family else []
        arguments += ["--sweep", str(options.sweep)] if options.sweep else []
        return children.run([program, *arguments], stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())
