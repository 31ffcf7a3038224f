"""Pixel vectors in tables, as people export them from Earth Engine or write them from a model.

Belongs here: CSV and Parquet with one column per dimension or one list column. Does not: spellings of places
(`places.py`), stacking of vectors (`vectors.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from transforms.windows import PixelPoints
from warehouse.errors import SourceContentError, SourceFormatError, SourceMissingError
from warehouse.file_access import open_input
from warehouse.file_paths import FilePath
from warehouse.products import Product
from warehouse.sources.files import locate, open_parquet, read_parquet
from warehouse.sources.places import PLACE_NAMES, Places, read_places
from warehouse.sources.vectors import FloatMatrix, stack_columns, stack_list_column

#: Quantised products have unit vectors; a median length outside says that another formula was used.
_LENGTH_RANGE = (0.9, 1.1)
_CSV_SUFFIXES = (".csv", ".txt")


class PixelTableSource:
    """Tables of one pixel product below one root.

    Args:
        product: registry entry.
        root: folder, or its URL, that the index paths are relative to.
        index_rows: rows of `raw_{product}__index`.
    """

    def __init__(self, product: Product, root: FilePath, index_rows: pa.Table) -> None:
        self.product = product
        self.root = root
        self._rows = index_rows.select(["year", "path", "size_bytes", "etag"]).to_pylist()

    def iter_points(self, year: int) -> Iterator[tuple[str, PixelPoints, pa.Table]]:
        """Read the tables of a year one by one.

        Yields:
            (index path, points, the other columns), tables by path.

        Raises:
            SourceMissingError, SourceFormatError, SourceContentError: see `read_points`.
        """
        for row in sorted((row for row in self._rows if row["year"] == year), key=lambda row: row["path"]):
            yield row["path"], *read_points(locate(self.root, row), self.product)


def read_points(path: FilePath, product: Product) -> tuple[PixelPoints, pa.Table]:
    """Read one table.

    Args:
        path: `.csv`, else Parquet.
        product: says how vectors are stored: `vector_columns` or `vector_column`.

    Returns:
        (points, extra): the vectors with their places, and all columns that are neither vector nor place, in
        the order of the file.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: it does not parse, or has no places.
        SourceContentError: vector columns are missing, doubled or of another length, vectors hold NaN, or the
            values are not those of a dequantised product; all problems at once.
    """
    table = _read_table(path)
    vectors, problems = _stack(table, product)
    if not problems and product.is_quantised:
        problems = _find_scale_problems(vectors)
    if problems:
        raise SourceContentError(
            str(path),
            problems,
            f"Export {product.dims} dequantised values a row and drop rows without data.",
        )
    places = read_places(table, str(path))
    points = PixelPoints(places.lon, places.lat, places.x_m, places.y_m, places.epsg, vectors)
    vector_names = _vector_names(product)
    extra = [name for name in table.column_names if name not in vector_names and name not in PLACE_NAMES]
    return points, table.select(list(dict.fromkeys(extra))).replace_schema_metadata(None)


def read_table_places(path: FilePath) -> Places:
    """Read only the places of a table, for its bounds.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: it does not parse, or has no places.
    """
    if _is_csv(path):
        return read_places(_read_table(path), str(path))
    with open_parquet(path) as file:
        table = file.read(columns=[name for name in file.schema_arrow.names if name in PLACE_NAMES])
    return read_places(table, str(path))


def _is_csv(path: FilePath) -> bool:
    return path.suffix.lower() in _CSV_SUFFIXES


def _read_table(path: FilePath) -> pa.Table:
    if not _is_csv(path):
        return read_parquet(path)
    try:
        return csv.read_csv(open_input(path))
    except FileNotFoundError as error:
        raise SourceMissingError(
            str(path), "no such file", "a CSV table", "Download it, or correct the source root."
        ) from error
    except pa.ArrowInvalid as error:
        raise SourceFormatError(
            str(path), "CSV", error, "rows with as many values as the header", "Export it again."
        ) from error


def _vector_names(product: Product) -> frozenset[str]:
    if product.vector_columns is None:
        return frozenset([product.vector_column])
    return frozenset(product.vector_columns.format(i) for i in range(product.dims))


def _stack(table: pa.Table, product: Product) -> tuple[FloatMatrix, list[str]]:
    if product.vector_columns is not None:
        return stack_columns(table, product.vector_columns, product.dims)
    count = table.column_names.count(product.vector_column)
    if count != 1:
        return np.empty((0, product.dims), np.float32), [
            f"vector column '{product.vector_column}': found {count} of it in {table.column_names[:12]}, expected one"
        ]
    return stack_list_column(table[product.vector_column], product.dims, product.vector_column)


def _find_scale_problems(vectors: FloatMatrix) -> list[str]:
    """Say whether values are raw codes, or were dequantised by another formula."""
    if not len(vectors):
        return []
    largest = float(np.abs(vectors).max())
    if largest > 1:
        hint = " (int8 codes that were not dequantised?)" if (vectors == np.rint(vectors)).all() else ""
        return [f"vectors: found values up to {largest:g}{hint}, expected -1..1, x = sign(v) (v / 127.5)^2"]
    length = float(np.median(np.linalg.norm(vectors, axis=1)))
    if not _LENGTH_RANGE[0] <= length <= _LENGTH_RANGE[1]:
        return [
            f"vectors: found a median length of {length:.2f}, expected 1 (dequantised by another formula, "
            "e.g. v / 127?), x = sign(v) (v / 127.5)^2"
        ]
    return []
