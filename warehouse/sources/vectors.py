"""Vector columns of tables: from Arrow to one float32 matrix, with all that is wrong with them.

Belongs here: list columns and one-column-per-dimension tables. Does not: places (`places.py`,
`geometries.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

FloatMatrix = npt.NDArray[np.float32]


def stack_list_column(
    column: pa.ChunkedArray | pa.Array, dims: int, name: str, rows: npt.NDArray[np.integer] | None = None
) -> tuple[FloatMatrix, list[str]]:
    """Stack a list column into a matrix.

    Args:
        column: list, large_list or fixed_size_list of numbers.
        dims: expected length of every list.
        name: of the column, for messages.
        rows: int (n,), where in the file the rows are, for messages; None = from its beginning.

    Returns:
        (float32 (n, dims), problems): the matrix is empty where there are problems of type or length; NaN
        elements are a problem too.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # an empty column has no chunk to combine
        array = pa.array([], column.type)
    empty = np.empty((0, dims), np.float32)
    kind = array.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not _is_number(kind.value_type):
        return empty, [f"column '{name}': found type {kind}, expected a list of {dims} numbers"]
    if array.null_count:
        return empty, [f"column '{name}': found {array.null_count} rows without a vector, expected one in every row"]
    lengths = pc.value_counts(pc.list_value_length(array)).to_pylist() if len(array) else []
    wrong = {item["values"]: item["counts"] for item in lengths if item["values"] != dims}
    if wrong:
        found = ", ".join(f"{count} rows of {length}" for length, count in sorted(wrong.items()))
        return empty, [f"column '{name}': found {found} dimensions, expected {dims} in every row"]
    values = array.flatten()
    if values.null_count:
        values = values.cast(pa.float32()).fill_null(float("nan"))
    matrix = values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, dims)
    return matrix, _find_nan_rows(matrix, f"column '{name}'", lambda k: f"element {k}", rows)


def stack_columns(table: pa.Table, pattern: str, dims: int) -> tuple[FloatMatrix, list[str]]:
    """Stack one column per dimension into a matrix.

    Args:
        table: rows with the columns.
        pattern: format of the names, e.g. ``A{:02d}``.
        dims: number of columns.

    Returns:
        (float32 (n, dims), problems): the matrix is empty where columns are missing, duplicated or no
        numbers; all such columns are named; NaN elements are a problem too.
    """
    names = [pattern.format(i) for i in range(dims)]
    counts = {name: table.column_names.count(name) for name in names}
    problems = []
    missing = [name for name, count in counts.items() if count == 0]
    if missing:
        problems.append(f"vector columns {missing}: found none, expected {names[0]}..{names[-1]}")
    doubled = [name for name, count in counts.items() if count > 1]
    if doubled:
        problems.append(f"vector columns {doubled}: found more than once, expected each once")
    present = [name for name, count in counts.items() if count == 1]
    texts = [f"{n} ({table[n].type})" for n in present if not _is_number(table[n].type)]
    if texts:
        problems.append(f"vector columns: found {texts}, expected numbers")
    if problems:
        return np.empty((0, dims), np.float32), problems
    matrix = np.empty((len(table), dims), np.float32)
    for i, name in enumerate(names):
        matrix[:, i] = table[name].cast(pa.float64()).fill_null(float("nan")).to_numpy()
    return matrix, _find_nan_rows(matrix, "vectors", lambda k: f"column '{names[k]}'")


def _find_nan_rows(
    matrix: FloatMatrix, what: str, locate: Callable[[int], str], rows: npt.NDArray[np.integer] | None = None
) -> list[str]:
    """Say how many rows hold NaN or infinity, and where the first one is; empty where none does."""
    is_bad = ~np.isfinite(matrix)
    bad = np.flatnonzero(is_bad.any(axis=1))
    if not len(bad):
        return []
    first = int(bad[0])
    return [
        f"{what}: found {len(bad)} of {len(matrix)} rows with NaN or infinite values, the first at row "
        f"{first if rows is None else rows[first]}, {locate(int(np.argmax(is_bad[first])))}, expected finite numbers"
    ]


def _is_number(kind: pa.DataType) -> bool:
    # a column of nulls only is "no number yet": it becomes NaN, which has a clearer message
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))
