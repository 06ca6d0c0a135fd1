"""Linear layers of a model become layers of this package: `amx.torch.convert`, and what it says it did."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from amx import errors
from amx.torch.module import Linear

__all__ = ["Conversion", "Layer", "convert"]

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_LONG = 1 << 20  # elements of K, more than of any group
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer of a model.

    Attributes
    ----------
    name: in the model, as of `named_modules()`.
    shape: (N, K) of its weights.
    dtype: what the weights are now; None where it was left as it is.
    before, after: bytes of weights, scales and bias.
    reason: why it was left; else "".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str | None
    before: int
    after: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What `convert` did; as text a table.

    Attributes
    ----------
    layers: of the model, in its order, each once.
    """

    layers: tuple[Layer, ...]

    @property
    def converted(self) -> tuple[Layer, ...]:
        """Those that are replaced."""
        return tuple(each for each in self.layers if each.dtype is not None)

    @property
    def skipped(self) -> tuple[Layer, ...]:
        """Those that are left, each with a reason."""
        return tuple(each for each in self.layers if each.dtype is None)

    @property
    def before(self) -> int:
        """Bytes of all of them."""
        return sum(each.before for each in self.layers)

    @property
    def after(self) -> int:
        """The same, now."""
        return sum(each.after for each in self.layers)

    def __str__(self) -> str:
        rows = [("layer", "N x K", "weights", "before", "after", "")]
        for each in self.layers:
            sizes = _size(each.before), _size(each.after)
            note = f"left: {each.reason}" if each.reason else ""
            rows.append((each.name, " x ".join(map(str, each.shape)), each.dtype or "-", *sizes, note))
        count = f"{len(self.converted)} of {len(self.layers)} converted"
        rows.append((count, "", "", _size(self.before), _size(self.after), ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                f"{cell:>{w}}" if i in (3, 4) else f"{cell:{w}}" for i, (cell, w) in enumerate(row)
            ).rstrip()
            for row in (tuple(zip(each, widths, strict=True)) for each in rows)
        )


Skip = str | Callable[[str, torch.nn.Module], bool]


def convert(
    model: torch.nn.Module,
    dtype: object = "int8",
    skip: Skip | Iterable[Skip] = (),
    activations: object = "dynamic",
    group: int | None = None,
    symmetric: bool | None = None,
) -> Conversion:
    """Replace the linear layers of a model by `amx.torch.Linear`, in place.

    Parameters
    ----------
    model: what holds layers of `torch.nn.Linear`. Each is replaced wherever it is held. Some are left, and
        the result says why: those of a subclass, with hooks or a forward of their own, with a weight or bias
        that others share or `torch.nn.TransformerEncoderLayer` reads, not on the CPU, of a type that no rows
        of `amx.Linear` are of, or which it refuses. A model that reads the weight of a layer itself finds
        none after this: name such layers in `skip`.
    dtype, activations, group, symmetric: as of `amx.torch.Linear`. In 4 bits, dtype="uint4", layers keep less
        of what a model knows than in others: compare its answers.
    skip: layers to leave: names of layers, or of what holds them; and functions of a name and a module that
        say so. One or several.

    Raises
    ------
    LayerError: the model itself is a linear layer, or a name in `skip` is none of the model's.
    What `amx.torch.Linear` raises of its options.
    """
    if isinstance(model, torch.nn.Linear):
        raise errors.LayerError(
            "model is a linear layer",
            cause="Nothing holds it where it could be replaced",
            remedy="Use amx.torch.Linear(model)",
        )
    # Options are refused before anything is replaced.
    make = functools.partial(Linear, dtype=dtype, activations=activations, group=group, symmetric=symmetric)
    make(torch.zeros(1, 1 if group is None else _LONG, device="cpu"))
    is_skipped = _skipping(model, skip)
    users = _users_of_parameters(model)
    holders = _holders(model)
    found = []
    for name, module in [each for each in model.named_modules() if isinstance(each[1], torch.nn.Linear)]:
        made = None
        reason = _reason(name, module, holders[module], users) or is_skipped(name, module)
        before = _bytes(module)
        if not reason:
            try:
                made = make(module)
            except errors.AmxError as error:
                reason = error.what
        if made is not None:
            made.train(module.training)
            for parent, child in holders[module]:
                parent._modules[child] = made
        shape = module.out_features, module.in_features
        kind, after = (made.dtype, made.nbytes) if made is not None else (None, before)
        found.append(Layer(name, shape, kind, before, after, reason))
    return Conversion(tuple(found))


def _skipping(model: torch.nn.Module, skip: Skip | Iterable[Skip]) -> Callable[[str, torch.nn.Module], str]:
    """A function that says why a layer is to be skipped, or ""."""
    given = [skip] if isinstance(skip, str) or callable(skip) else list(skip)
    names = [each for each in given if isinstance(each, str)]
    known = {name for name, _ in model.named_modules(remove_duplicate=False)}
    for name in names:
        if name not in known:
            raise errors.LayerError(
                f"skip={name!r}",
                cause="The model has no module of that name",
                remedy="Look at [name for name, _ in model.named_modules()]",
            )
    prefixes = tuple(f"{name}." for name in names)

    def why(name: str, module: torch.nn.Module) -> str:
        if name in names or name.startswith(prefixes):
            return "its name is in skip"
        return "skip says so" if any(callable(each) and each(name, module) for each in given) else ""

    return why


def _holders(model: torch.nn.Module) -> dict[torch.nn.Module, list[tuple[torch.nn.Module, str]]]:
    """Where each module hangs: in which modules, under which names."""
    found: dict[torch.nn.Module, list[tuple[torch.nn.Module, str]]] = {}
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child is not None:
                found.setdefault(child, []).append((parent, name))
    return found


def _users_of_parameters(model: torch.nn.Module) -> Counter[int]:
    """How many places hold each."""
    places = (each for module in model.modules() for each in module._parameters.values())
    return Counter(id(each) for each in places if each is not None)


def _reason(
    name: str, module: torch.nn.Module, holders: list[tuple[torch.nn.Module, str]], users: Counter[int]
) -> str:
    """Why another layer in its place would not be the same; or ""."""
    kind = type(module)
    if kind is not torch.nn.Linear:
        return f"a subclass, {kind.__name__}"
    if "forward" in vars(module) or any(getattr(module, hooks) for hooks in _HOOKS):
        return "it has hooks, or a forward of its own"
    if any(isinstance(parent, torch.nn.TransformerEncoderLayer) for parent, _ in holders):
        return "TransformerEncoderLayer reads its weight"
    parameters = [each for each in (module.weight, module.bias) if each is not None]
    if any(users[id(each)] > 1 for each in parameters):
        return "others share its weight or bias"
    for each in parameters:
        if each.device.type != "cpu":
            return f"it is on {each.device}"
        if each.dtype not in _FLOATS:
            return f"it is of {str(each.dtype).removeprefix('torch.')}"
    return ""


def _bytes(module: torch.nn.Module) -> int:
    return sum(each.nbytes for each in module.parameters())


def _size(count: float) -> str:
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
