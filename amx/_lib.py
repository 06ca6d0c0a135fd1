"""The only importer of the compiled module.

`lib` and `ffi` stand here behind typed protocols, so that the rest of the package is checked against the C
surface as `amx/_native.cdef.txt` declares it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast, overload

_native: Any = importlib.import_module("amx._native")  # compiled, so untyped

__all__ = ["CData", "ffi", "lib", "path"]

CData = Any
_Function = TypeVar("_Function", bound=Callable[..., object])


class FFI(Protocol):
    """What the package uses of cffi's ffi object."""

    NULL: CData

    def new(self, ctype: str, init: object = ...) -> CData:
        """Allocate C memory that lives as long as the returned object."""

    # Pointer into a Python buffer, which it keeps alive; char[] where no ctype is named.
    @overload
    def from_buffer(self, buffer: object, /) -> CData: ...
    @overload
    def from_buffer(self, ctype: str, buffer: object, require_writable: bool = ...) -> CData: ...

    def addressof(self, library: object, function: str, /) -> CData:
        """Pointer to a function of C."""

    def gc(self, cdata: CData, destructor: object) -> CData:
        """The same pointer, with a destructor for when it is collected."""

    def cast(self, ctype: str, value: object) -> CData:
        """Cast as in C."""

    def def_extern(self, error: object = ..., onerror: object = ...) -> Callable[[_Function], _Function]:
        """Make a Python function what C calls by its name."""

    def buffer(self, cdata: CData, size: int = ...) -> Any:
        """Python buffer over C memory."""

    def string(self, cdata: CData) -> bytes:
        """Bytes of a C string."""


class Machine(Protocol):
    """csrc/machine/ and csrc/tile/guard.c."""

    AMX_GUARD_UD2: int
    AMX_GUARD_INT3: int
    AMX_GUARD_LOAD: int
    AMX_GUARD_LOAD_BEFORE: int
    AMX_GUARD_LOAD_AFTER: int
    AMX_GUARD_SPIN: int
    AMX_MEANS_TILES_TRAP: int
    AMX_MEANS_CPUID_FAULTS: int
    AMX_MEANS_SECCOMP: int
    AMX_MEANS_PTRACE: int
    AMX_MEANS_PATCHING: int
    AMX_MEANS_SYNC_CORE: int

    def amx_is_stub(self) -> int: ...
    def amx_cpuid(self, leaf: int, subleaf: int, registers: CData, /) -> int: ...
    def amx_xgetbv(self, index: int, value: CData, /) -> int: ...
    def amx_arch_prctl(self, op: int, argument: int, /) -> int: ...
    def amx_arch_prctl_get(self, op: int, value: CData, /) -> int: ...
    def amx_getauxval(self, kind: int, /) -> int: ...
    def amx_sigaltstack(self, address: CData, size: CData, flags: CData, /) -> int: ...
    def amx_perf_open(self, kind: int, config: int, thread: int, /) -> int: ...
    def amx_probe_tilezero(self, probe: CData, /) -> int: ...
    def amx_probe_guarded(self, what: int, address: int, probe: CData, /) -> int: ...
    def amx_probe_child(
        self, action: int, op: int, component: int, timeout_ms: int, probe: CData, /
    ) -> int: ...
    def amx_probe_means(self, means: int, timeout_ms: int, probe: CData, /) -> int: ...


class Tile(Protocol):
    """csrc/tile/."""

    AMX_NATIVE: int
    AMX_EMULATED: int
    AMX_VECTOR: int

    def amx_ldtilecfg(self, engine: int, config: CData, /) -> int: ...
    def amx_sttilecfg(self, engine: int, config: CData, /) -> int: ...
    def amx_tilerelease(self, engine: int, /) -> int: ...
    def amx_tilezero(self, engine: int, expected: CData, tile: int, /) -> int: ...
    def amx_tileloadd(self, engine: int, expected: CData, tile: int, base: CData, stride: int, /) -> int: ...
    def amx_tileloaddt1(
        self, engine: int, expected: CData, tile: int, base: CData, stride: int, /
    ) -> int: ...
    def amx_tilestored(self, engine: int, expected: CData, tile: int, base: CData, stride: int, /) -> int: ...
    def amx_tdp(self, engine: int, expected: CData, op: int, d: int, a: int, b: int, /) -> int: ...
    def amx_tile_owner(self, engine: int, owned: int, /) -> None: ...


class Gemm(Protocol):
    """csrc/gemm/."""

    AMX_BF16: int
    AMX_FP16: int

    def amx_gemm(
        self, engine: int, op: int, threads: int, m: int, n: int, k: int, before: int, batch: int,
        a: CData, a_row: int, a_column: int, a_offset: CData,
        b: CData, b_row: int, b_column: int, b_offset: CData,
        c: CData, c_row: int, c_offset: CData, /,
    ) -> int: ...  # fmt: skip
    def amx_gemm_packed(
        self, engine: int, op: int, threads: int, m: int, n: int, k: int, before: int, batch: int,
        a: CData, a_row: int, a_column: int, a_offset: CData,
        b: CData, b_item: CData,
        c: CData, c_row: int, c_offset: CData, /,
    ) -> int: ...  # fmt: skip
    def amx_gemm_arrays(
        self, engine: int, op: int, threads: int, a_array: int, b_array: int, packed: CData, c_array: int, /
    ) -> int: ...
    def amx_gemm_native(self, may_begin: int, /) -> int: ...
    def amx_arrays_header(self, size: int, /) -> None: ...
    def amx_arrays_read(self, array: int, found: CData, /) -> None: ...
    def amx_packed_new(self, element: int, dimensions: int, shape: CData, /) -> CData: ...
    def amx_packed_over(
        self, data: CData, bytes: int, element: int, dimensions: int, shape: CData, /
    ) -> CData: ...
    def amx_packed_free(self, packed: CData, /) -> None: ...
    def amx_packed_bytes(self, packed: CData, /) -> int: ...
    def amx_packed_data(self, packed: CData, /) -> CData: ...
    def amx_packed_fill(
        self, packed: CData, item: int, first_row: int, rows: int, first_column: int, columns: int,
        b: CData, row: int, column: int, /,
    ) -> int: ...  # fmt: skip
    def amx_gemm_ask(self, ask: CData, /) -> None: ...
    def amx_gemm_asking(self) -> int: ...
    def amx_round(
        self, format: int, threads: int, rows: int, columns: int, source: CData, row: int, to: CData, /
    ) -> None: ...
    def amx_gemm_make_plan(
        self, engine: int, op: int, threads: int, m: int, n: int, k: int, batch: int, operands: int,
        caches: CData, plan: CData, /,
    ) -> int: ...  # fmt: skip
    def amx_gemm_assume_caches(self, caches: CData, /) -> None: ...
    def amx_vector_family(self, op: int, index: int, /) -> CData: ...
    def amx_vector_select(self, op: int, name: CData | bytes, /) -> int: ...
    def amx_vector_selected(self, op: int, /) -> CData: ...
    def amx_gemm_threads(self) -> int: ...
    def amx_nibbles_new(
        self, n: int, k: int, group: int, values: CData, row: int, column: int, scale: CData, zero: CData,
        made: CData, /,
    ) -> int: ...  # fmt: skip
    def amx_nibbles_free(self, b: CData, /) -> None: ...
    def amx_nibbles_over(self, data: CData, bytes: int, n: int, k: int, /) -> CData: ...
    def amx_nibbles_bytes(self, b: CData, /) -> int: ...
    def amx_nibbles_data(self, b: CData, /) -> CData: ...
    def amx_nibbles_group(self, b: CData, /) -> int: ...
    def amx_nibbles_zero(self, b: CData, /) -> int: ...
    def amx_nibbles_unpack(self, b: CData, values: CData, scale: CData, zero: CData, /) -> None: ...
    def amx_nibbles_layer(
        self, engine: int, threads: int, m: int, is_unsigned: int, a: CData, a_row: int, b: CData,
        layer: CData, /,
    ) -> int: ...  # fmt: skip
    def amx_nibbles_family(self, index: int, /) -> CData: ...
    def amx_nibbles_select(self, name: CData | bytes, /) -> int: ...
    def amx_nibbles_selected(self) -> CData: ...


class Layer(Protocol):
    """csrc/layer/."""

    LAYER_FLOAT32: int
    LAYER_BFLOAT16: int
    LAYER_FLOAT16: int
    LAYER_UINT8: int
    LAYER_INT8: int
    LAYER_UINT8_SYMMETRIC: int
    LAYER_INT8_SYMMETRIC: int
    LAYER_NO_ACTIVATION: int
    LAYER_RELU: int
    LAYER_SILU: int
    LAYER_GELU: int
    LAYER_GELU_TANH: int
    LAYER_EXP: int
    LAYER_TANH: int
    LAYER_ERF: int

    def layer_quantize_rows(self, on: CData, /) -> None: ...
    def layer_finish(self, on: CData, /) -> None: ...
    def layer_apply(self, function: int, x: CData, y: CData, count: int, /) -> None: ...
    def layer_exchange_mxcsr(self, mxcsr: int, /) -> int: ...
    def layer_width(self, index: int, /) -> CData: ...
    def layer_select(self, name: CData | bytes, /) -> int: ...
    def layer_selected(self) -> CData: ...
    def amx_layer_arrays(
        self,
        engine: int,
        threads: int,
        layer: CData,
        x_type: int,
        x_array: int,
        residual_type: int,
        residual_array: int,
        out_array: int,
        /,
    ) -> int: ...
    def amx_gemm_layer(
        self,
        engine: int,
        op: int,
        threads: int,
        m: int,
        k: int,
        a: CData,
        a_row: int,
        b: CData,
        layer: CData,
        /,
    ) -> int: ...
    def amx_gemm_layer_rows(self, threads: int, rows: CData, /) -> None: ...


class Bench(Protocol):
    """csrc/bench/: loops to be timed."""

    AMX_STREAM_READ: int
    AMX_STREAM_WRITE: int
    AMX_STREAM_WRITE_NT: int
    AMX_LOOP_PMADDWD_XMM: int
    AMX_LOOP_VPMADDWD_YMM: int
    AMX_LOOP_VPMADDWD_ZMM: int
    AMX_LOOP_VPDPBUSD_YMM: int
    AMX_LOOP_VPDPBUSD_ZMM: int
    AMX_LOOP_FMA_YMM: int
    AMX_LOOP_FMA_ZMM: int
    AMXEMU_TILEZERO: int
    AMXEMU_TILELOADD: int
    AMXEMU_TILESTORED: int
    AMXEMU_TDPBSSD: int
    AMXEMU_TDPBF16PS: int

    def amx_bench_products(
        self, op: int, threads: int, a: CData, b: CData, c: CData, rounds: int, /
    ) -> int: ...
    def amx_bench_block(
        self, op: int, threads: int, a: CData, b: CData, c: CData, chunks: int, rounds: int, /
    ) -> int: ...
    def amx_bench_tileload(self, t1: int, threads: int, data: CData, size: int, rounds: int, /) -> int: ...
    def amx_bench_has_loop(self, loop: int, /) -> int: ...
    def amx_bench_vector_products(
        self, loop: int, threads: int, a: CData, b: CData, c: CData, rounds: int, /
    ) -> int: ...
    def amx_bench_vector_block(
        self, loop: int, threads: int, a: CData, b: CData, c: CData, steps: int, rounds: int, /
    ) -> int: ...
    def amx_bench_stream(self, kind: int, threads: int, data: CData, size: int, rounds: int, /) -> int: ...
    def amx_bench_instruction(self, engine: int, op: int, data: CData, rounds: int, /) -> int: ...
    def amx_bench_repeat(
        self, repetitions: int, engine: int, op: int, threads: int, m: int, n: int, k: int, batch: int,
        a: CData, a_row: int, a_column: int, a_offset: CData,
        b: CData, b_item: CData,
        c: CData, c_row: int, c_offset: CData, /,
    ) -> int: ...  # fmt: skip


class Emulator(Protocol):
    """csrc/emulator/, by itself: for the tests, and for looking into it."""

    AMXEMU_OK: int
    AMXEMU_UD: int
    AMXEMU_GP: int
    AMXEMU_SS: int
    AMXEMU_PF: int
    AMXEMU_NOT_AMX: int
    AMXEMU_VALID: int
    AMXEMU_INVALID: int
    AMXEMU_WITHDRAWN: int
    AMXEMU_SCALAR: int
    AMXEMU_AVX2: int
    AMXEMU_AVX512: int
    AMXEMU_AVX512_VNNI: int
    AMXEMU_OPS: int
    AMXEMU_NAMED_OPS: int
    AMXEMU_STATUS_VERIFIED: int
    AMXEMU_STATUS_SPECIFIED: int
    AMXEMU_STATUS_WITHDRAWN: int
    AMXEMU_FAMILIES: int

    def amxemu_mnemonic(self, op: int, /) -> CData: ...
    def amxemu_ldtilecfg(self, state: CData, image: CData, /) -> int: ...
    def amxemu_sttilecfg(self, state: CData, image: CData, /) -> None: ...
    def amxemu_tilerelease(self, state: CData, /) -> None: ...
    def amxemu_tilezero(self, state: CData, tile: int, /) -> int: ...
    def amxemu_tdp(self, state: CData, op: int, d: int, a: int, b: int, /) -> int: ...
    def amxemu_decode(self, code: CData, size: int, insn: CData, /) -> int: ...
    def amxemu_family_name(self, family: int, /) -> CData: ...
    def amxemu_family_status(self, family: int, /) -> int: ...
    def amxemu_in_family(self, op: int, family: int, /) -> int: ...
    def amxemu_cpu_model(self, i: int, /) -> CData: ...
    def amxemu_cpu_has(self, cpu: CData, insn: CData, /) -> int: ...
    def amxemu_best_path(self) -> int: ...
    def amxemu_select_path(self, path: int, /) -> int: ...
    def amxemu_selected_path(self) -> int: ...
    def amx_emu_new(self) -> CData: ...
    def amx_emu_free(self, state: CData, /) -> None: ...
    def amx_emu_tile(self, state: CData, tile: int, /) -> CData: ...
    def amx_emu_load(
        self, state: CData, tile: int, base: int, stride: int, window: CData, fault: CData, /
    ) -> int: ...
    def amx_emu_store(
        self, state: CData, tile: int, base: int, stride: int, window: CData, fault: CData, /
    ) -> int: ...
    def amx_emu_step(
        self, state: CData, registers: CData, insn: CData, window: CData, fault: CData, /
    ) -> int: ...
    def amx_emu_mxcsr_around_tdp(self, state: CData, op: int, mxcsr: int, /) -> int: ...


class Trap(Protocol):
    """csrc/trap/: this process's own AMX instructions, emulated."""

    def amx_trap_start(self, options: CData, /) -> int: ...
    def amx_trap_stop(self) -> int: ...
    def amx_trap_count(self, counts: CData, /) -> None: ...
    def amx_trap_cpuid(self, leaf: int, subleaf: int, registers: CData, /) -> int: ...
    def amx_trap_xgetbv(self, index: int, value: CData, /) -> int: ...
    def amx_trap_arch_prctl(self, op: int, argument: int, /) -> int: ...
    def amx_is_launched(self) -> int: ...
    def amx_is_traced(self) -> int: ...
    def amx_ptrace_run(
        self, path: CData, argv: CData, envp: CData, options: CData, counts: CData, status: CData, /
    ) -> int: ...


class Lib(Machine, Tile, Gemm, Layer, Bench, Emulator, Trap, Protocol):
    """The C surface, one protocol for each directory of csrc/."""


ffi: FFI = cast(FFI, _native.ffi)
lib: Lib = cast(Lib, _native.lib)
path: str = _native.__file__
