"""One client per source format, each working from any root folder.

Belongs here: what a published file looks like, the checks that it is what its product declares, and one
contract
out: `PixelWindow` and `PixelPoints` for pixels, `EgFile` / `EgPatches` and `PatchFile` for patches, codes for
labels. Does not: which pixels or patches are kept, ownership by shards, writing.

Roots are folders or URLs (`warehouse/file_paths.py`). Files are reached in `files.py` (listing, Parquet) and
`rasters.py` (GDAL) only; remote ones through `objects/remote_file.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from warehouse.errors import SourceFormatError
from warehouse.file_paths import FilePath
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources.aef_cog import AefCogSource
from warehouse.sources.aef_zarr import AefZarrSource
from warehouse.sources.pixel_geotiff import PixelGeotiffSource
from warehouse.sources.pixel_table import PixelTableSource
from warehouse.sources.raster_source import RasterSource

PixelSource = RasterSource | PixelTableSource

_PIXEL_SOURCES: Mapping[str, Callable[[Product, FilePath, pa.Table], PixelSource]] = {
    "aef_cog": AefCogSource,
    "aef_zarr": AefZarrSource,
    "pixel_geotiff": PixelGeotiffSource,
    "pixel_table": PixelTableSource,
}


def open_pixel_source(product: Product, source: SourceSettings, index_rows: pa.Table) -> PixelSource:
    """Give the client of a pixel product.

    Args:
        product: registry entry.
        source: its root.
        index_rows: rows of `raw_{product}__index`.

    Returns:
        A raster source (`iter_blocks`, `read_place`) or a table source (`iter_points`).

    Raises:
        SourceFormatError: the product has patches, not pixels.
    """
    if product.layout not in _PIXEL_SOURCES:
        raise SourceFormatError(
            str(source.root), "layout", product.layout, sorted(_PIXEL_SOURCES), "Ask for a pixel product."
        )
    return _PIXEL_SOURCES[product.layout](product, source.root, index_rows)
