"""One class for each meaning an error of this package can have.

Every error says what happened, why, and what to do, and carries the same as fields. `AmxError` is the root
and is never raised itself, nor is `AmxWarning`; mistakes of the caller are also `ValueError` or `TypeError`.
"""

from __future__ import annotations

import errno as _errno
import signal as _signal
from typing import Any

__all__ = [
    "AllocationError",
    "AmxError",
    "AmxPermissionError",
    "AmxUnavailableError",
    "AmxWarning",
    "BackendError",
    "BufferLayoutError",
    "BufferReadOnlyError",
    "BufferTooShortError",
    "ConfigurationChangedError",
    "ContextClosedError",
    "ContextError",
    "ContextForkedError",
    "ContextNestedError",
    "ContextThreadError",
    "DtypeError",
    "EmulatedCpuError",
    "EmulatedWarning",
    "EmulationError",
    "FeatureError",
    "GuestError",
    "LayerError",
    "ProgramError",
    "QuantizationError",
    "RecordError",
    "SavedFileError",
    "ShapeError",
    "TileConfigError",
    "TileDtypeError",
    "TileIndexError",
    "TileOperandError",
    "TileShapeError",
    "TraceError",
    "VectorWarning",
]


class AmxError(Exception):
    """Root of all errors of this package.

    Attributes
    ----------
    what: what happened, naming the offending value.
    cause: why, in plain words.
    remedy: what to do about it.
    operation: the system call or instruction concerned, if any.
    errno: the kernel's error number, if any.
    evidence: what was observed, as text lines.
    """

    def __init__(
        self,
        what: str,
        *,
        cause: str = "",
        remedy: str = "",
        operation: str = "",
        errno: int | None = None,
        evidence: tuple[str, ...] = (),
    ) -> None:
        self.what = what
        self.cause = cause
        self.remedy = remedy
        self.operation = operation
        self.errno = errno
        self.evidence = evidence
        super().__init__(what)

    def __str__(self) -> str:
        head = self.what
        if self.errno is not None:
            head += f" ({errno_name(self.errno)})"
        sentences = [head, *map(_capitalised, (self.cause, self.remedy))]
        return ". ".join(text.rstrip(".") for text in sentences if text) + "."

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: getattr(self, name) for name in ("cause", "remedy", "operation", "errno", "evidence")}
        return _rebuild, (type(self), self.what, fields)


def errno_name(number: int) -> str:
    """Name of an error number as kernel sources write it; Python prefers POSIX's ENOTSUP for EOPNOTSUPP."""
    if number == _errno.EOPNOTSUPP:
        return "EOPNOTSUPP"
    return _errno.errorcode.get(number, str(number))


def signal_name(number: int) -> str:
    """Of a signal; of most real-time signals the number is all there is."""
    try:
        return _signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _capitalised(sentence: str) -> str:
    word = sentence.partition(" ")[0]
    return sentence[:1].upper() + sentence[1:] if word.isalpha() else sentence


def _rebuild(kind: type[AmxError], what: str, fields: dict[str, Any]) -> AmxError:
    return kind(what, **fields)


class AmxUnavailableError(AmxError, RuntimeError):
    """Machine, kernel or sandbox do not offer AMX to this process."""


class AmxPermissionError(AmxUnavailableError):
    """The kernel offers AMX, and refused or did not record the request for permission."""


class FeatureError(AmxUnavailableError):
    """The CPU has AMX, and does not announce the instruction group that is needed."""


class BackendError(AmxError, ValueError):
    """An unknown or unusable backend was asked for."""


class AllocationError(AmxError, MemoryError):
    """Memory could not be had: the kernel's 8 KiB of tile state, or a work space of ours."""


class TileConfigError(AmxError, ValueError):
    """A tile configuration the CPU's palette does not allow."""


class TileIndexError(AmxError, ValueError):
    """A tile number outside the palette, or of a tile the configuration leaves out."""


class TileShapeError(AmxError, ValueError):
    """Rows or bytes of an array or of a product do not fit the configured tiles."""


class TileDtypeError(AmxError, TypeError):
    """The data in a tile is not what the instruction multiplies."""


class TileOperandError(AmxError, ValueError):
    """The three tiles of a product are not distinct."""


class BufferLayoutError(AmxError, ValueError):
    """An array whose layout one base address and one stride cannot express."""


class BufferTooShortError(AmxError, ValueError):
    """A buffer that ends before the tile does."""


class BufferReadOnlyError(AmxError, ValueError):
    """An output that cannot be written."""


class ContextError(AmxError, RuntimeError):
    """A `TileContext` was used where it does not hold the tile registers."""


class ContextClosedError(ContextError):
    """The context is not open."""


class ContextNestedError(ContextError):
    """Another context of this thread is open already."""


class ContextThreadError(ContextError):
    """The context belongs to another thread."""


class ContextForkedError(ContextError):
    """The context was opened before fork; the child has its configuration and no tile data."""


class ConfigurationChangedError(ContextError):
    """Other code on this thread has changed the tile configuration under the open context."""


class ShapeError(AmxError, ValueError):
    """Operands of a matrix product whose shapes do not fit each other."""


class DtypeError(AmxError, TypeError):
    """Operands of a matrix product whose types AMX does not multiply."""


class QuantizationError(AmxError, ValueError):
    """Numbers that have no scale, or values, scales and zero points that stand for none."""


class LayerError(AmxError, ValueError):
    """A layer that there is not: of another activation, or with sums that leave int32."""


class EmulationError(AmxError, RuntimeError):
    """`amx.emulate()` or `amx emulate` cannot do here what was asked."""


class EmulatedCpuError(EmulationError, ValueError):
    """A CPU that cannot be emulated."""


class ProgramError(EmulationError):
    """A program that cannot be found (ENOENT) or executed."""


class GuestError(AmxError):
    """A kernel cannot be booted here: it is none, or there is no emulator, or no program for the guest."""


class RecordError(AmxError, ValueError):
    """A file that is no record of a machine, or one of another version."""


class SavedFileError(AmxError, ValueError):
    """A file that holds no saved layers or arrays, or others than it says; or names that no file can have."""


class TraceError(AmxError, ValueError):
    """A file that is no trace of executed instructions, or one of another version."""


class AmxWarning(UserWarning):
    """Root of the warnings that AMX itself is not used; the message says why."""


class VectorWarning(AmxWarning):
    """Products run in vector registers: the same results, at the speed of a CPU without AMX."""


class EmulatedWarning(AmxWarning):
    """Work goes to the software tile machine: the same results, slowly."""
