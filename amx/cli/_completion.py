"""What bash, zsh and fish complete commands, options, files and programs with: a script that shtab makes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

__all__ = ["completion"]

FILES = ("FILE", "FILE.png", "A.npy", "B.npy", "C.npy", "BZIMAGE")


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for one of the shells.

    Raises
    ------
    ImportError: shtab is not installed.
    """
    import shtab

    for action in _actions(parser):
        if action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # which shtab looks for
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action._choices_actions:
                found = action.choices[command.dest]
                found.description = command.help  # one line is enough behind the name
                yield from _actions(found)
