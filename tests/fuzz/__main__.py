"""`ci/fuzz`: run fuzzers, repeat what one found, or plant faults that they must find."""

import argparse
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz import engine
from fuzz.fuzzers import FUZZERS

FOUND = Path(__file__).parents[2] / "build/fuzz"
SECONDS, SELF_TEST_SECONDS = 4, 60


def main() -> int:
    """0: nothing found; 1: something, of which the inputs are kept in build/fuzz."""
    parser = argparse.ArgumentParser(prog="ci/fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FUZZERS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="fuzzers at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of all inputs (default: a random one, which is printed)")
    parser.add_argument(
        "--repeat", type=Path, metavar="FILE", help="try one input, in the folder of its fuzzer"
    )
    parser.add_argument("--self-test", action="store_true", help="plant faults, all of which must be found")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in FUZZERS]:
        parser.error(f"no fuzzer {', '.join(unknown)}: there are {', '.join(FUZZERS)}")
    if options.repeat:
        return _repeat(parser, options.repeat)
    seed = random.getrandbits(32) if options.seed is None else options.seed
    if options.jobs > 1 and not options.self_test:
        return _run_at_once(options.names or list(FUZZERS), seed, options.seconds, options.jobs)
    print(f"seed {seed}", flush=True)
    chosen = [FUZZERS[name] for name in options.names or FUZZERS]
    if options.self_test:
        return max(_self_test(fuzzer, seed) for fuzzer in chosen)
    return max(_run(fuzzer, seed, options.seconds) for fuzzer in chosen)


def _run_at_once(names: list[str], seed: int, seconds: float, jobs: int) -> int:
    """Each in a process of its own, since they fork and change limits and signals."""

    def run(name: str) -> int:
        command = [sys.executable, "-m", "fuzz", name, f"--seconds={seconds}", f"--seed={seed}"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False
        )
        print(done.stdout, end="", flush=True)
        return done.returncode

    with ThreadPoolExecutor(jobs) as pool:
        return max(pool.map(run, names))


def _run(fuzzer: engine.Fuzzer, seed: int, seconds: float) -> int:
    result = engine.run(fuzzer, seed, seconds=seconds)
    print(f"{fuzzer.name}: {result.inputs} inputs, {len(result.findings)} findings", flush=True)
    for kind, finding in result.findings.items():
        path = engine.keep(fuzzer, finding, FOUND)
        print(
            f"\n{fuzzer.name}: {kind}, {result.times[kind]} times; ci/fuzz --repeat {path}\n{finding.said}\n"
        )
    return int(bool(result.findings))


def _repeat(parser: argparse.ArgumentParser, path: Path) -> int:
    name = path.resolve().parent.name
    tried = [fuzzer for each, fuzzer in FUZZERS.items() if name in (each, each.partition("-")[0])]
    if not tried:
        parser.error(f"the folder {name} is no fuzzer's: {', '.join(FUZZERS)}")
    data = path.read_bytes()
    found = [finding for fuzzer in tried if (finding := engine.repeat(fuzzer, data))]
    for finding in found:
        print(f"{finding.kind}\n{finding.said}")
    return int(bool(found))


def _self_test(fuzzer: engine.Fuzzer, seed: int) -> int:
    missed = 0
    for name in fuzzer.planted:
        result = engine.run(fuzzer, seed, seconds=SELF_TEST_SECONDS, plant=name)
        said = next(iter(result.findings), "not found")
        print(f"{fuzzer.name}: planted {name}, after {result.inputs} inputs: {said}", flush=True)
        missed += not result.findings
    return int(bool(missed))


sys.exit(main())
