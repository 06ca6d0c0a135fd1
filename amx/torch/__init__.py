"""Layers and products of this package in torch's models: `import amx.torch`, which needs torch.

`amx.torch.convert(model)` replaces linear layers, `amx.torch.Linear` is one, `amx.torch.matmul` multiplies
tensors. They work within `torch.compile(fullgraph=True)` and `torch.export`, as the operators `amx::linear`
and `amx::matmul`. What they compute has no gradient, and asking for one is an error.
"""

from amx.torch.conversion import Conversion, Layer, convert
from amx.torch.module import Linear
from amx.torch.operators import matmul

__all__ = ["Conversion", "Layer", "Linear", "convert", "matmul"]
