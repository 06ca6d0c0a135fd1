"""`{amx-command} NAME`: what the parser of that command says, as ci/man has it for man(1)."""

import argparse
import os
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from amx.cli import COMMANDS, parser_of


def parser_for(name: str) -> argparse.ArgumentParser:
    """The parser of a command, or of `amx` itself."""
    whole = parser_of(*COMMANDS)
    if name == "amx":
        return whole
    (found,) = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    parser: argparse.ArgumentParser = found.choices[name]
    return parser


def prose(text: str) -> str:
    """Help as Markdown: nothing of it is markup but the names of pages."""
    text = re.sub(r"([\\`*_<>\[\]|$])", r"\\\1", text)
    return re.sub(r"docs/([a-z]+)\.md", r"[\1](../\1.md)", text)


def markdown(name: str) -> str:
    """The command's usage, description and options."""
    os.environ.update(COLUMNS="80", NO_COLOR="1")  # whatever terminal this is
    parser = parser_for(name)
    formatter = parser._get_formatter()
    lines = ["```text", parser.format_usage().removeprefix("usage: ").rstrip(), "```", ""]
    lines += [prose(parser.description or COMMANDS[name]), ""]
    lines += [f"````{{program}} {parser.prog}", "````", ""]
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction):
            continue
        help = formatter._expand_help(action) if action.help else ""
        title = formatter._format_action_invocation(action)
        lines += [f"````{{option}} {title}", prose(help), "````", ""]
    return "\n".join(lines)


class Command(SphinxDirective):
    """The directive."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes in its place."""
        return self.parse_text_to_nodes(markdown(self.arguments[0]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx asks for it."""
    app.add_directive("amx-command", Command)
    return {"parallel_read_safe": True}
