"""The command line: `amx COMMAND`. Exit status 0 is yes, 1 is no or failed, 2 is wrong usage or trouble.

Trouble is what has nothing to do with the question: a file that cannot be read or written, also the standard
output. Where that is a pipe that nobody reads any more, SIGPIPE ends the command (141 to a shell), as an
interrupt does (130). `amx check` has 77 besides: nothing could be judged; `amx emulate` and `amx ci` have
the program's own.

Each command is a module of this package with `add_parser(subparsers)` and `run(arguments) -> int`; only the
one that was asked for is imported.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import signal
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import amx
from amx.cli import _streams
from amx.printable import printable_lines

__all__ = ["main", "parser_of"]

TROUBLE = 2
SHELLS = ("bash", "zsh", "fish")
COMMANDS = {
    "info": "what the processor, the kernel and this process's permission offer",
    "explain": "whether AMX can be used here, on what evidence, and if not, why",
    "matmul": "multiply two matrices in .npy files",
    "check": "does the kernel keep the AMX ABI: the conformance suite",
    "demo": "multiply tiles and classify handwritten digits, on AMX where there is any",
    "emulate": "run a program as on a CPU and a kernel with AMX",
    "ci": "run a program on AMX where there is any, else emulated, and tell a CI which it was",
    "bench": "measure this machine's ceiling, our products, and other libraries'",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Without `argv` as the program that the process is for: with the standard streams as `amx.cli._streams` has
    them, and the signals.
    """
    if argv is not None:
        return _run(list(argv))
    _streams.take_over()
    try:
        try:
            status = _run(sys.argv[1:])
        except SystemExit as ended:  # argparse's
            status = ended.code if isinstance(ended.code, int) else TROUBLE if ended.code else 0
        sys.stdout.flush()
    except _streams.WriteError as error:
        if error.errno == errno.EPIPE:
            return _streams.die_of(signal.SIGPIPE)
        return _trouble(sys.argv[1:], error)
    except KeyboardInterrupt:
        return _streams.die_of(signal.SIGINT)
    # What nobody was told cannot have been a success, but a program's own status is not ours to change.
    is_lost = _streams.errors_were_lost() and _asked(sys.argv[1:]) not in ("emulate", "ci")
    return status or (TROUBLE if is_lost else 0)


class _Parser(argparse.ArgumentParser):
    """A parser whose help is lost no more silently than anything else.

    `commands` are the parsers of its commands, by name.
    """

    commands: Mapping[str, argparse.ArgumentParser] = MappingProxyType({})

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """What was said on the command line may be a name that others gave."""
        super().error(printable_lines(message))


class _PrintCompletion(argparse.Action):
    """Prints what a shell needs to complete commands and options, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, __: Any = None) -> NoReturn:
        from amx.cli._completion import completion

        try:
            parser._print_message(completion(parser_of(*COMMANDS), shell), sys.stdout)
        except ImportError:
            parser.error("--print-completion needs shtab: pip install 'linux-amx[completion]'")
        parser.exit()


def parser_of(*names: str) -> _Parser:
    """The parser of all commands, with all options of those that are named."""
    parser = _Parser(prog="amx", description="Ask Linux for Intel AMX, and run it.")
    parser.add_argument("--version", action="version", version=f"linux-amx {amx.__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print a script that completes commands and options (see docs/shell.md)",
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name in names:
            importlib.import_module(f"{__name__}.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    parser.commands = subparsers.choices
    return parser


def _run(words: list[str]) -> int:
    name = _asked(words) or ""
    parser = parser_of(name)
    if not words:
        parser.print_help(sys.stderr)
        return TROUBLE
    arguments, unknown = parser.parse_known_args(words)
    if unknown:  # argparse would show how amx is used, not the command
        parser.commands.get(name, parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        status: int = arguments.run(arguments)
    except amx.AmxError as error:
        _streams.print_error(f"amx: {error}")
        return 1
    except (OSError, MemoryError) as error:
        return _trouble(words, error)
    return status


def _asked(words: Sequence[str]) -> str | None:
    return next((word for word in words if not word.startswith("-")), None)


def _trouble(words: Sequence[str], error: Exception) -> int:
    """One line on what has nothing to do with the question."""
    text = str(error) or type(error).__name__
    if type(error).__str__ is OSError.__str__ and isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    _streams.print_error(" ".join(["amx", *filter(None, [_asked(words)])]) + f": {text}")
    return TROUBLE
