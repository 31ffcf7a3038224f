"""What one file says about the model and the grid that made it, without reading it whole.

Belongs here: a few bytes of a patch file or the header of a raster. Does not: which product that is
(`warehouse/release_products.py`), checking a file that is ingested (the client of its format).
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from transforms.errors import LatticeError
from transforms.geohash import decode
from transforms.lattice import recover
from warehouse.errors import BAD_FILE_ERRORS
from warehouse.file_paths import FilePath
from warehouse.products import Product
from warehouse.sources.eg_geoparquet import parse_ids
from warehouse.sources.files import open_parquet
from warehouse.sources.model_statement import read_statement
from warehouse.sources.rasters import open_raster, read_header

#: Rows of a patch file that are looked at.
_ROWS = 64


@dataclass(frozen=True)
class FileTraits:
    """What a file shows; None where it does not say.

    Attributes:
        path: the file; empty where none was read.
        dims: length of a vector, bands of a raster.
        model: as the file names it.
        is_on_grid: whether its ids stand on the lattice that Isthmus knows.
        dtype: type of the bands of a raster.
    """

    path: str = ""
    dims: int | None = None
    model: str | None = None
    is_on_grid: bool | None = None
    dtype: str | None = None


def read_traits(product: Product, path: FilePath) -> FileTraits:
    """Read what a file says of itself.

    Args:
        product: whose layout the file has.
        path: the file.

    Returns:
        Its traits; nothing but the path where its layout shows nothing, or the file itself is to blame
        (`BAD_FILE_ERRORS`: it is gone, damaged or not of its layout): then its ingest stops and says why.

    Raises:
        SourceUnavailableError, SourceForbiddenError, SourceRefusedError: a server does not give its bytes.
        SourceChangedError: it is replaced while it is read.
        CacheError: the block cache cannot be written.
    """
    try:
        if product.layout == "aef_cog":
            with open_raster(path) as dataset:
                header = read_header(dataset, path)
            return FileTraits(str(path), header.count, dtype="/".join(header.dtypes))
        if product.layout == "eg_geoparquet":
            return _read_patch_traits(product, path)
    except BAD_FILE_ERRORS:  # any other error says nothing of the file: the look has failed
        return FileTraits(str(path))
    return FileTraits(str(path))


def _read_patch_traits(product: Product, path: FilePath) -> FileTraits:
    with open_parquet(path, peeks=True) as file:
        names = file.schema_arrow.names
        columns = [name for name in ("id", product.vector_column) if name in names]
        rows = next(file.iter_batches(_ROWS, columns=columns), None)
        statement = read_statement(file.schema_arrow.metadata, path)
    model = statement.model or None if statement is not None else None
    if rows is None or not rows.num_rows:
        return FileTraits(str(path), model=model)
    table = pa.Table.from_batches([rows])
    is_on_grid = _is_on_lattice(table["id"], path) if "id" in columns else None
    vectors = table[product.vector_column] if product.vector_column in columns else None
    return FileTraits(str(path), _count_dims(vectors), model, is_on_grid)


def _is_on_lattice(ids: pa.ChunkedArray, path: FilePath) -> bool:
    lon, lat = decode(parse_ids(ids, path))
    try:
        recover(lon, lat)
    except LatticeError:
        return False
    return True


def _count_dims(vectors: pa.ChunkedArray | None) -> int | None:
    first = vectors[0].as_py() if vectors is not None else None
    return len(first) if isinstance(first, list) else None
