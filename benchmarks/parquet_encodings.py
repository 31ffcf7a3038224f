"""Ways to store vectors in Parquet, and what the lossy ones lose.

Belongs here: layouts of one column, with the SQL that reads them. Does not: timing (`parquet_layout.py`), places.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from parquet_ground import PATCH_DIMS, PIXEL_DIMS

from transforms.quantization import DIVISOR, quantize

FLOAT16_MANTISSA_BITS, FLOAT32_MANTISSA_BITS = 10, 23
PLAIN: dict[str, Any] = {"compression": "zstd", "use_dictionary": False}
DICTIONARY: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["v.list.element"]}
SPLIT: dict[str, Any] = {**PLAIN, "use_byte_stream_split": ["v.list.element"]}

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """One way to store a vector column.

    Attributes:
        name: key of the result.
        columns: the vector as columns.
        options: arguments of the Parquet writer.
        sql: dot product with a fixed vector, as an SQL expression; empty where SQL cannot read the vector.
        row_group: rows of a row group; None = as the warehouse has it.
        is_open: False where DuckDB refuses the file.
    """

    name: str
    columns: pa.Table
    options: dict[str, Any]
    sql: str = ""
    row_group: int | None = None
    is_open: bool = True


def as_fixed_list(values: npt.NDArray[Any], *, is_nullable: bool = False) -> pa.Table:
    """Store as a fixed-size list column; its elements are declared never null unless `is_nullable`."""
    element = pa.field("element", pa.from_numpy_dtype(values.dtype), nullable=is_nullable)
    kind = pa.list_(element, values.shape[1])
    return pa.table({"v": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=kind)})


def as_list(values: npt.NDArray[Any]) -> pa.Table:
    """Store as a variable-size list column."""
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    return pa.table({"v": pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))})


def as_binary(values: npt.NDArray[Any]) -> pa.Table:
    """Store as a fixed-width byte string."""
    width = values.shape[1] * values.itemsize
    buffers = [None, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.table({"v": pa.Array.from_buffers(pa.binary(width), len(values), buffers)})


def as_columns(values: npt.NDArray[Any]) -> pa.Table:
    """Store as one column per dimension."""
    return pa.table({f"v{i:03d}": np.ascontiguousarray(values[:, i]) for i in range(values.shape[1])})


def round_mantissa(values: Floats) -> Floats:
    """Round float32 to the mantissa of float16, to nearest: the low bytes become zeros, the type stays."""
    dropped = FLOAT32_MANTISSA_BITS - FLOAT16_MANTISSA_BITS
    bits = values.view(np.uint32).astype(np.uint64) + np.uint64(1 << (dropped - 1))
    return (bits & np.uint64(2**32 - 2**dropped)).astype(np.uint32).view(np.float32)


def fit_scales(values: Floats) -> Floats:
    """Give each dimension the step at which its largest value becomes 127."""
    return (np.abs(values).max(axis=0) / 127).astype(np.float32)


def scale_to_int8(values: Floats, scales: Floats) -> npt.NDArray[np.int8]:
    """Quantise each dimension on its own scale; dimensions that are all zero stay zero."""
    return np.rint(values / np.where(scales > 0, scales, 1)).astype(np.int8)


def spell(values: npt.NDArray[Any], kind: str) -> str:
    """Spell a vector as an SQL literal."""
    return "[" + ", ".join(f"{value:.7g}" for value in values) + f"]::{kind}"


def list_pixel_layouts(vectors: Floats, rng: np.random.Generator) -> list[Layout]:
    """List the ways to store int8 codes."""
    codes = quantize(vectors)
    target = rng.normal(size=PIXEL_DIMS)
    weights = spell(target, "double[]")
    value = f"sign(x) * (x / {DIVISOR}) ** 2"
    from_list = f"list_inner_product(list_transform(v, lambda x: {value}), {weights})"
    by_byte = "list_transform(range(1, 128, 2), lambda i: ('0x' || substr(hex(v), i, 2))::integer)"
    signed = f"list_transform({by_byte}, lambda b: if(b > 127, b - 256, b))"
    from_binary = f"list_inner_product(list_transform({signed}, lambda x: {value}), {weights})"
    names = [f"v{i:03d}" for i in range(PIXEL_DIMS)]
    terms = [f"sign({c}) * ({c} / {DIVISOR}) ** 2 * {w:.6f}" for c, w in zip(names, target, strict=True)]
    unpacked = ", ".join(f"(((y >> {shift}) + 128) & 255) - 128" for shift in range(0, 64, 8))
    eight = f"flatten(list_transform(v, lambda y: [{unpacked}]))"
    from_packed = f"list_inner_product(list_transform({eight}, lambda x: {value}), {weights})"
    delta = {**PLAIN, "column_encoding": {"v.list.element": "DELTA_BINARY_PACKED"}}
    fixed = as_fixed_list(codes)
    return [
        Layout("fixed_list_dictionary", fixed, DICTIONARY, from_list),
        Layout("fixed_list_dictionary_nullable", as_fixed_list(codes, is_nullable=True), DICTIONARY, from_list),
        Layout("fixed_list_dictionary_uncompressed", fixed, {**DICTIONARY, "compression": "none"}, from_list),
        Layout("fixed_list", fixed, PLAIN, from_list),
        Layout("fixed_list_delta", fixed, delta, from_list),
        Layout("eight_bigints", as_fixed_list(codes.view(np.int64)), PLAIN, from_packed),
        Layout("binary", as_binary(codes), PLAIN, from_binary),
        Layout("binary_split", as_binary(codes), {**PLAIN, "use_byte_stream_split": ["v"]}, is_open=False),
        Layout("columns_dictionary", as_columns(codes), {**PLAIN, "use_dictionary": names}, " + ".join(terms)),
    ]


def list_patch_layouts(vectors: Floats, rng: np.random.Generator) -> list[Layout]:
    """List the ways to store patch vectors: float32, float16, int8 with a scale per dimension."""
    target = rng.normal(size=PATCH_DIMS)
    weights = spell(target, f"float[{PATCH_DIMS}]")
    product = f"array_inner_product(v::float[{PATCH_DIMS}], {weights})"
    scales = fit_scales(vectors)
    decoded = f"list_transform(list_zip(v, {spell(scales, 'float[]')}), lambda p: p[1] * p[2])::float[{PATCH_DIMS}]"
    from_int8 = f"array_inner_product({decoded}, {weights})"
    # the scale folded into the query: fast, but only for products, not for lengths or cosines
    folded = f"array_inner_product(v::float[{PATCH_DIMS}], {spell(target * scales, f'float[{PATCH_DIMS}]')})"
    fixed, half = as_fixed_list(vectors), as_fixed_list(vectors.astype(np.float16))
    codes = scale_to_int8(vectors, scales)
    return [
        Layout("float32_split", fixed, SPLIT, product),
        Layout("float32_split_nullable", as_fixed_list(vectors, is_nullable=True), SPLIT, product),
        Layout("float32", fixed, PLAIN, product),
        Layout("float32_uncompressed", fixed, {**PLAIN, "compression": "none"}, product),
        Layout("float32_list_arrow_defaults", as_list(vectors), {**DICTIONARY, "compression": "snappy"}, product),
        Layout("float32_binary", as_binary(vectors), PLAIN),
        Layout("float32_rounded_split", as_fixed_list(round_mantissa(vectors)), SPLIT, product),
        Layout("float16", half, PLAIN, product),
        Layout("float16_split", half, SPLIT, is_open=False),
        Layout("int8_dictionary", as_fixed_list(codes), DICTIONARY, from_int8),
        Layout("int8_dictionary_folded", as_fixed_list(codes), DICTIONARY, folded),
        Layout("int8_binary", as_binary(codes), PLAIN),
    ]


def list_row_groups(layout: Layout, sizes: tuple[int, ...]) -> list[Layout]:
    """Vary the rows of a row group."""
    return [replace(layout, name=f"rows_{rows}", row_group=rows) for rows in sizes]


def measure_losses(simulated: Floats) -> list[dict[str, Any]]:
    """Give what lossy layouts cost: 1 - cosine to the float32 vector, worst and mean."""
    rows = []
    for source, vectors in {"simulated 384-d": simulated, **read_real_vectors()}.items():
        scales = fit_scales(vectors)
        stored = {
            "float32 rounded": round_mantissa(vectors),
            "float16": vectors.astype(np.float16),
            "int8, scale per dimension": scale_to_int8(vectors, scales) * scales,
        }
        for layout, decoded in stored.items():
            loss = 1 - row_cosines(vectors, decoded)
            rows.append(
                {"vectors": source, "layout": layout, "worst": f"{loss.max():.1e}", "mean": f"{loss.mean():.1e}"}
            )
    return rows


def row_cosines(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Give the cosine of each pair of rows."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b) / lengths


def read_real_vectors() -> dict[str, Floats]:
    """Read published vectors of other patch models; empty where the folder is absent."""
    root = Path(os.environ.get("ISTHMUS_REAL_DATA", "../shared/real"))
    files = {"Clay 768-d": "clay_patches/03WVN_20220610_20220610_v001.gpq"}
    found = {}
    for name, file in files.items():
        if (root / file).is_file():
            column = pq.read_table(root / file, columns=["embeddings"])["embeddings"]
            found[name] = np.array(column.to_pylist(), np.float32)
    return found
