"""The command line: `amx COMMAND`. Exit status 0 is yes, 1 is no or failed, 2 is wrong usage.

`amx check` has 77 besides: nothing could be judged.

Each command is a module of this package with `add_parser(subparsers)` and `run(arguments) -> int`; only the
one that was asked for is imported.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import amx

__all__ = ["main"]

COMMANDS = {
    "info": "what the processor, the kernel and this process's permission offer",
    "explain": "whether AMX can be used here, on what evidence, and if not, why",
    "matmul": "multiply two matrices in .npy files",
    "check": "does the kernel keep the AMX ABI: the conformance suite",
    "demo": "multiply tiles and classify handwritten digits, on AMX where there is any",
    "emulate": "run a program as on a CPU and a kernel with AMX",
    "bench": "measure this machine's ceiling, our products, and other libraries'",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="amx", description="Ask Linux for Intel AMX, and run it.")
    parser.add_argument("--version", action="version", version=f"linux-amx {amx.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name == asked:
            importlib.import_module(f"{__name__}.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    arguments = parser.parse_args(words)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough; nothing is left to say at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except amx.AmxError as error:
        print(f"amx: {error}", file=sys.stderr)
        return 1
    return status
