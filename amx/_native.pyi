"""The compiled module, for type checkers; `amx/_lib.py` gives its contents their types."""

from typing import Any

ffi: Any
lib: Any
