"""Programs of others that use AMX where there is some, unmodified: as they come from PyPI."""

import importlib.util

import pytest
from preloading import SANITIZED, reports, run_python

from amx import machine
from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")

# CPUID.7.0: what the AMX kernels of others use beside tiles
AVX512F, AVX512DQ, AVX512BW, AVX512VL = (1 << bit for bit in (16, 17, 30, 31))  # ebx
AVX512_VNNI = 1 << 11  # ecx
AVX_VNNI, AVX512_BF16 = 1 << 4, 1 << 5  # CPUID.7.1, eax
XCR0_AVX512 = 0xE6

ONNXRUNTIME = """
import sys
import numpy as np
import onnxruntime
from amx.bench.peers.onnx_model import matmul_integer

rng = np.random.default_rng(5)
for m, k, n in (64, 128, 96), (33, 67, 45):
    a, b = rng.integers(0, 256, (m, k), np.uint8), rng.integers(-128, 128, (k, n), np.int8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(sys.argv[1])
    options.log_severity_level = 3
    for model, inputs in (matmul_integer(b), {"A": a}), (matmul_integer(), {"A": a, "B": b}):
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (c,) = session.run(None, inputs)
        print((c == a.astype(np.int64) @ b.astype(np.int64)).all())
"""

TORCH = """
import torch

torch.manual_seed(5)
a, b = (torch.randint(-128, 128, shape, dtype=torch.int8) for shape in ((64, 128), (128, 96)))
print((torch._int_mm(a, b) == a.long() @ b.long()).all().item())
# products and sums of small whole numbers are exact in any order
a, b = (torch.randint(-4, 5, shape).to(torch.bfloat16) for shape in ((64, 128), (128, 96)))
print(((a @ b) == (a.double() @ b.double()).to(torch.bfloat16)).all().item())
"""


def require(module, *, fp16=False):
    """fp16: also what oneDNN wants, AVX512_FP16 excepted, which is announced then."""
    if SANITIZED:
        pytest.skip("a sanitizer's runtime must be the first library")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    real = machine.Real()
    leaf = real.cpuid(7) if real.cpuid(0).eax >= 7 else machine.Registers(0, 0, 0, 0)
    ebx = AVX512F | AVX512DQ | AVX512BW | AVX512VL
    if (real.xgetbv(0) or 0) & XCR0_AVX512 != XCR0_AVX512 or ~leaf.ebx & ebx or not leaf.ecx & AVX512_VNNI:
        pytest.skip(f"{module} wants AVX-512 with VNNI beside AMX, and this processor has none")
    if fp16 and (leaf.eax < 1 or ~real.cpuid(7, 1).eax & (AVX_VNNI | AVX512_BF16)):
        pytest.skip(f"{module} wants AVX512_BF16 and AVX_VNNI beside AMX, and this processor lacks them")


@pytest.mark.peer
@pytest.mark.parametrize("threads", [1, 2])
def test_matmulinteger_of_onnxruntime(tmp_path, threads):
    require("onnxruntime")
    result = run_python(ONNXRUNTIME, tmp_path, threads)
    assert result.stdout == "True\n" * 4, result.stderr
    (report,) = reports(tmp_path)
    assert report["instructions"] > 100
    assert report["patched"] > 10


@pytest.mark.peer
def test_int_mm_and_bfloat16_products_of_torch(tmp_path):
    require("torch", fp16=True)
    result = run_python(TORCH, tmp_path)
    assert result.stdout == "True\nTrue\n", result.stderr
    (report,) = reports(tmp_path)
    assert report["instructions"] > 100
    assert report["patched"] > 10
