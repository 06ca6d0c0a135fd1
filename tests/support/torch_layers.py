"""Layers of torch, and what they are compared with; imported where torch is."""

import copy
import io
import os
import pickle
import time

import torch

import amx


def generator():
    """Of torch's random numbers; AMX_SEED repeats a run."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns() % 2**32))
    print("seed", seed)
    return torch.Generator().manual_seed(seed)


def expected(x, weight, bias=None, **options):
    """By `amx.Linear`, to which the results' type is said; it is given weights of 4 bits, of 32 each."""
    if options.get("dtype") == "uint4":
        weight, options = (
            amx.quantize(weight, "uint4", group=32, symmetric=False),
            {**options, "dtype": "int8"},
        )
    return amx.Linear(weight, bias, out_dtype=str(x.dtype).removeprefix("torch."), **options)(x)


def same(found, want):
    """Bit for bit, and of one type and shape."""
    assert (found.dtype, found.shape) == (want.dtype, want.shape)
    words = torch.int32 if found.itemsize == 4 else torch.int16
    return torch.equal(found.view(words), want.view(words))


def call(module, *inputs):
    """Without gradients."""
    with torch.no_grad():
        return module(*inputs)


def copied(module, way):
    """By `copy`, `deepcopy`, `pickle`, `torch.save`, or into memory that processes share."""
    if way in ("copy", "deepcopy"):
        return getattr(copy, way)(module)
    if way == "pickle":
        return pickle.loads(pickle.dumps(module))
    if way == "torch.save":
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        return torch.load(file, weights_only=False)
    assert way == "share_memory"
    return copy.deepcopy(module).share_memory()
