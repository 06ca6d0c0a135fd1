"""Every public name is on a page of the reference; ci/docs makes the warning that one is not an error."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import amx

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# Beside those that `amx.__all__` names: what has to be imported by itself.
EXTRA = ("amx.dask", "amx.torch")


def public_names() -> Iterator[str]:
    """What docs/policy.md promises."""
    for name in amx.__all__:
        value = getattr(amx, name)
        if isinstance(value, ModuleType):
            yield from (f"amx.{name}.{each}" for each in value.__all__)
        elif name != "__version__":
            yield f"amx.{name}"
    for module in EXTRA:
        try:
            names = importlib.import_module(module).__all__
        except ModuleNotFoundError:  # whose library is not installed
            continue
        yield from (f"{module}.{each}" for each in names)


def missing(documented: set[str]) -> list[str]:
    """The public names that are not among these."""
    return [name for name in public_names() if name not in documented]


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Sphinx has read all pages."""
    from sphinx.util import logging

    for name in missing({name for name, *_ in env.get_domain("py").get_objects()}):
        logging.getLogger(__name__).warning("%s is on no page of docs/reference", name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx asks for it."""
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True}
