"""Compiled weighted sums of patch vectors: the inner loop of upsampling.

Belongs here: one sum, many sums at listed points, in registers and past the cache. Does not: weights
(`kernels.py`), windows (`dense.py`), checks. All loops release the GIL and run on one thread.

Writing the result is what such a sum costs: a vector of 384 floats is 24 cache lines, its patches are in the cache.
A plain store first reads the line that it overwrites; a non-temporal store does not, but plain numba cannot emit one.
So a line of a sum is written as LLVM IR: weights stay in registers, and each line is stored once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Starts = tuple[int, ...]
Weights = tuple[np.float32, ...]

#: Floats of a line: 64 bytes, one register; narrower machines split it.
LANES = 16
#: Slots that one pass can hold in registers; arrays of slots are at least this long.
MOST_SLOTS = 8
#: Bytes on which a streamed line must stand; numpy's own arrays always do.
STREAM_ALIGNMENT = 16
#: From this size on an output does not stay in the cache, so it is written past it.
STREAM_BYTES = 4 * 2**20


def _build_line_writer(n_slots: int, is_streamed: bool) -> Callable[..., None]:
    """Build the intrinsic that writes one line of a weighted sum of `n_slots` vectors."""
    line_type = ir.VectorType(ir.FloatType(), LANES)
    undefined = ir.Constant(line_type, ir.Undefined)
    all_first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, at, table, starts, weights, offset = args
        out, table = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2))
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(line_type, [line_type] * 3), f"llvm.fma.v{LANES}f32"
        )

        def find_line(array: Any, index: Any) -> Any:
            return builder.bitcast(builder.gep(array, [index]), line_type.as_pointer())

        total = None
        for slot in range(n_slots):
            start, number = builder.extract_value(starts, slot), builder.extract_value(weights, slot)
            line = builder.load(find_line(table, builder.add(start, offset)), align=4)
            weight = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
            weight = builder.shuffle_vector(weight, undefined, all_first)
            total = builder.fmul(line, weight) if total is None else builder.call(multiply_add, [line, weight, total])
        stored = builder.store(
            total, find_line(out, builder.add(at, offset)), align=STREAM_ALIGNMENT if is_streamed else 4
        )
        if is_streamed:
            stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    @intrinsic
    def write_line(typing_context: Any, out: Any, at: Any, table: Any, starts: Any, weights: Any, offset: Any) -> Any:
        return types.void(out, types.int64, table, starts, weights, types.int64), generate

    writer: Callable[..., None] = write_line
    return writer


_stream_four, _stream_eight = _build_line_writer(4, True), _build_line_writer(8, True)
_store_four, _store_eight = _build_line_writer(4, False), _build_line_writer(8, False)


def _build_fence() -> Callable[[], None]:
    """Build the intrinsic that orders streamed lines before what follows: other threads may not see them otherwise."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    @intrinsic
    def fence(typing_context: Any) -> Any:
        return types.void(), generate

    built: Any = fence
    return built


_fence = _build_fence()


@njit(nogil=True, cache=True, forceinline=True)
def _write_tail(table: Float32Array, starts: Starts, weights: Weights, dims: int, out: Float32Array, at: int) -> None:
    """Write what is left of a sum after its last whole line."""
    for j in range(dims - dims % LANES, dims):
        total = np.float32(0.0)
        for slot in range(len(starts)):
            total += weights[slot] * table[starts[slot] + j]
        out[at + j] = total


@njit(nogil=True, cache=True, forceinline=True)
def write_four(
    table: Float32Array, starts: Starts, weights: Weights, dims: int, out: Float32Array, at: int, is_streamed: bool
) -> None:
    """Write one weighted sum of four vectors: ``out[at + j] = sum over s of weights[s] * table[starts[s] + j]``.

    Nothing is checked here: starts, `at` and `dims` must lie within the arrays.

    Args:
        table: float32, vectors one after the other.
        starts: where the vector of each slot starts in `table`; a slot without weight repeats another one's.
        weights: float32 of each slot.
        dims: d.
        out: float32, changed.
        at: where the sum starts in `out`.
        is_streamed: write past the cache; `out` stands on 16 bytes, `at` and `dims` are multiples of 4. Call
            `finish_streams` after the last one.
    """
    if is_streamed:
        for offset in range(0, dims - dims % LANES, LANES):
            _stream_four(out, at, table, starts, weights, offset)
    else:
        for offset in range(0, dims - dims % LANES, LANES):
            _store_four(out, at, table, starts, weights, offset)
    if dims % LANES:
        _write_tail(table, starts, weights, dims, out, at)


@njit(nogil=True, cache=True, forceinline=True)
def write_eight(
    table: Float32Array, starts: Starts, weights: Weights, dims: int, out: Float32Array, at: int, is_streamed: bool
) -> None:
    """Write one weighted sum of eight vectors; arguments as in `write_four`."""
    if is_streamed:
        for offset in range(0, dims - dims % LANES, LANES):
            _stream_eight(out, at, table, starts, weights, offset)
    else:
        for offset in range(0, dims - dims % LANES, LANES):
            _store_eight(out, at, table, starts, weights, offset)
    if dims % LANES:
        _write_tail(table, starts, weights, dims, out, at)


@njit(nogil=True, cache=True)
def write_slots(
    table: Float32Array,
    starts: Int64Array,
    weights: Float32Array,
    n_slots: int,
    dims: int,
    out: Float32Array,
    at: int,
    is_streamed: bool,
) -> None:
    """Write one weighted sum of any number of vectors, NaN if there is none; further arguments as in `write_four`.

    Args:
        table: float32, vectors one after the other.
        starts: int64 (>= 8,), where the vector of each slot starts in `table`; changed beyond `n_slots`.
        weights: float32 (>= 8,), of each slot; changed beyond `n_slots`.
        n_slots: slots that count.
        dims: d.
        out: float32, changed.
        at: where the sum starts in `out`.
        is_streamed: as in `write_four`.
    """
    if n_slots == 0:
        out[at : at + dims] = np.nan
        return
    for slot in range(n_slots, MOST_SLOTS):
        starts[slot], weights[slot] = starts[0], np.float32(0.0)
    four, four_weights = (starts[0], starts[1], starts[2], starts[3]), (weights[0], weights[1], weights[2], weights[3])
    if n_slots <= 4:
        write_four(table, four, four_weights, dims, out, at, is_streamed)
        return
    eight = (*four, starts[4], starts[5], starts[6], starts[7])
    eight_weights = (*four_weights, weights[4], weights[5], weights[6], weights[7])
    write_eight(table, eight, eight_weights, dims, out, at, is_streamed and n_slots <= MOST_SLOTS)
    for slot in range(MOST_SLOTS, n_slots):
        for j in range(dims):
            out[at + j] += weights[slot] * table[starts[slot] + j]


@njit(nogil=True, cache=True)
def finish_streams() -> None:
    """Order all streamed writes before what follows; once after a run of sums."""
    _fence()


@njit(nogil=True, cache=True)
def order_by_patch(index: Int32Array, weight: Float32Array, n_patches: int) -> tuple[Int64Array, int]:
    """Order points by their first patch, by counting, so that points of one patch meet its vector in the cache.

    Args:
        index: int32 (m, k).
        weight: float32 (m, k); slots with weight 0 are not looked at.
        n_patches: vectors of the table.

    Returns:
        (int64 (m,) numbers of the points, first slot of all whose index is not in the table or -1). With such a slot
        the order is not filled.
    """
    order = np.empty(len(index), np.int64)
    key = np.full(len(index), n_patches, np.int64)
    place = np.zeros(n_patches + 2, np.int64)
    for m in range(len(index)):
        for k in range(index.shape[1] - 1, -1, -1):
            if weight[m, k] != 0.0:
                key[m] = index[m, k]
                if not 0 <= key[m] < n_patches:
                    return order, m * index.shape[1] + k
        place[key[m] + 1] += 1
    for patch in range(n_patches + 1):
        place[patch + 1] += place[patch]
    for m in range(len(index)):
        order[place[key[m]]] = m
        place[key[m]] += 1
    return order, -1


@njit(nogil=True, cache=True)
def sum_vectors(
    table: Float32Array,
    dims: int,
    index: Int32Array,
    weight: Float32Array,
    order: Int64Array,
    out: Float32Array,
    is_streamed: bool,
) -> None:
    """Fill weighted sums of patch vectors, point by point.

    Args:
        table: float32 (n * dims,), vectors one after the other.
        dims: d.
        index: int32 (m, k); slots with weight 0 are not read.
        weight: float32 (m, k).
        order: int64 (m,), the order in which points are visited; neighbours share vectors in the cache.
        out: float32 (m * dims,), changed; NaN where all weights are 0.
        is_streamed: see `write_four`.
    """
    starts = np.empty(max(index.shape[1], MOST_SLOTS), np.int64)
    weights = np.empty(len(starts), np.float32)
    for m in order:
        n_slots = 0
        for k in range(index.shape[1]):
            if weight[m, k] != 0.0:
                starts[n_slots] = np.int64(index[m, k]) * dims
                weights[n_slots] = weight[m, k]
                n_slots += 1
        write_slots(table, starts, weights, n_slots, dims, out, m * dims, is_streamed)
    finish_streams()


def is_streamable(out: Float32Array) -> bool:
    """Tell whether a C-contiguous (..., d) output may and should be written past the cache."""
    return out.nbytes >= STREAM_BYTES and out.ctypes.data % STREAM_ALIGNMENT == 0 and out.shape[-1] % 4 == 0


def aligned_empty(shape: tuple[int, ...]) -> Float32Array:
    """Give an uninitialised float32 array that stands on a cache line: a line is then never read in two halves."""
    n_bytes = int(np.prod(shape)) * 4
    raw = np.empty(n_bytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + n_bytes].view(np.float32).reshape(shape)
