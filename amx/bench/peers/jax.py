"""JAX: a compiled dot product on the CPU."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from amx.bench.grid import Dtype
from amx.bench.operands import Operands
from amx.bench.peers.peer import FLOAT32_ROUNDOFF, Form, Peer, Product, UnsupportedError
from amx.dtypes import Array

__all__ = ["Jax"]

_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"  # read once, when its backend starts


class Jax(Peer):
    """`jit` of `matmul` into int32 and float32. Its threads are limited before it starts."""

    name = module = package = "jax"

    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """See Peer."""
        if form is Form.PACKED:
            raise UnsupportedError("no packed operands")
        if operands.case.shape.ld is not None:
            raise UnsupportedError("its arrays have no leading dimension of their own")
        if threads == 1 and _ONE_THREAD not in os.environ.get("XLA_FLAGS", ""):
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_ONE_THREAD}".strip()
        os.environ.setdefault("NPROC", str(threads))  # of the pool that its backend starts
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax
        import jax.numpy as jnp

        dtype = operands.case.dtype
        kind = {Dtype.INT8: jnp.int8, Dtype.BF16: jnp.bfloat16, Dtype.FP16: jnp.float16}[dtype]
        result = jnp.int32 if dtype is Dtype.INT8 else jnp.float32
        a, b = _array(operands.a, kind), _array(operands.b, kind)
        product = jax.jit(lambda x, y: jnp.matmul(x, y, preferred_element_type=result))
        roundoff = None if dtype.exact else FLOAT32_ROUNDOFF
        return Product(lambda: product(a, b).block_until_ready(), _to_numpy, roundoff)


def _array(array: Array, kind: Any) -> Any:
    import jax
    import jax.numpy as jnp

    held = jnp.asarray(array)
    return held if held.dtype == kind else jax.lax.bitcast_convert_type(held, kind)


def _to_numpy(result: Any) -> Array:
    return np.asarray(result)
