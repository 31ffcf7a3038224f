"""AlphaEarth as one Zarr mosaic in degrees, read as UTM windows of 10 m: codes unchanged, nearest pixel.

Source: Google / Google DeepMind, resampled by TGE Labs; CC-BY-4.0. Belongs here: the stored files of an area, and
windows in metres. Does not: the store and its checks (`mosaic_store.py`), the look-up (`transforms/degree_grid.py`).

Everything behind a source works in metres of a UTM zone: footprints are boxes there, keys and samples of pixels are
made of metres. So each 10 m pixel of the grid that the COG tree has takes the code of the degree pixel that holds its
centre, at most 7.1 m from it. If the mosaic was resampled by nearest pixels too, that is the pixel's own code again for
99.4 % of the pixels or more (docs/adr/0015).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from rasterio.windows import Window

from transforms.area import Area, Bbox
from transforms.degree_grid import OUTSIDE, take_nearest
from transforms.utm import UtmBox
from transforms.windows import PixelGrid, PixelWindow
from warehouse.file_access import find_files
from warehouse.file_paths import FileFacts, FilePath
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources.block_memory import BlockMemory
from warehouse.sources.bounds import SIDES
from warehouse.sources.files import list_files
from warehouse.sources.mosaic_store import ARRAY, METADATA, Mosaic, missing_year_error, open_mosaic
from warehouse.sources.nodata import check_whole_pixels, count_nodata_bands
from warehouse.sources.raster_source import PlannedBlock, RasterSource
from warehouse.sources.rasters import Allocate, RasterHeader, list_blocks, place_window, window_of

#: The whole UTM zone as one raster: 0..1,000 km east, 0..10,000 km north, in both hemispheres.
_ZONE_NORTH_M = 10_000_000.0
_ZONE_WIDTH_M = 1_000_000.0
_NUMBERS = re.compile(r"\d+")


class AefZarrSource(RasterSource):
    """The mosaic of a quantised pixel product, in windows of any zone that is asked for.

    Windows lie on multiples of the product's pixel pitch, as those of the COG tree. Ground without a stored file is
    nodata: by the format that is what a missing file means.

    Args:
        product: registry entry.
        root: folder of the Zarr group, or its URL.
        index_rows: rows of `raw_{product}__index`: remote files that they name are read in the version that they saw.
    """

    def __init__(self, product: Product, root: FilePath, index_rows: pa.Table) -> None:
        self.product = product
        known = [row for row in index_rows.to_pylist() if row["etag"] is not None]
        versions = {row["path"]: FileFacts(row["size_bytes"], row["etag"]) for row in known}
        self._mosaic = open_mosaic(root, product, versions)
        self._memory = BlockMemory()

    def plan_blocks(self, year: int, boxes: Sequence[UtmBox], block_px: int = 1024) -> list[PlannedBlock]:
        """List the blocks that touch any of the boxes, each once, zone by zone, from north to south.

        Args:
            year: calendar year of the product.
            boxes: areas in UTM; each is read in its own zone, whichever zone its ground belongs to.
            block_px: edge of a block.

        Returns:
            Whole blocks (not cut to the boxes) that do not overlap.

        Raises:
            SourceMissingError: the store does not have the year.
        """
        self._mosaic.find_year(year)
        headers = [self._header(epsg) for epsg in sorted({box.epsg for box in boxes})]
        return [
            PlannedBlock(header, window, year) for header in headers for window in list_blocks(header, boxes, block_px)
        ]

    def read_blocks(self, plan: Sequence[PlannedBlock]) -> Iterator[PixelWindow]:
        """Read planned blocks in the order given.

        Yields:
            North-up windows.

        Raises:
            SourceFormatError: a stored file is damaged.
            SourceContentError: a pixel has nodata in some bands only.
        """
        for block in plan:
            yield self._read(block.header, block.window, block.year, self._memory.allocate)

    def read_place(self, year: int, box: UtmBox, middle: UtmBox) -> PixelWindow | None:
        """Read the whole pixels that touch a box; a mosaic holds every place, if only as nodata."""
        header = self._header(box.epsg)
        window = window_of(header, box)
        return None if window is None else self._read(header, window, year)

    def pitch(self, path: str | PurePath) -> tuple[float, float]:
        """Give width and height of a pixel of the windows, metres."""
        return self._pitch, self._pitch

    @property
    def _pitch(self) -> float:
        assert self.product.pixel_m is not None  # the registry demands it of pixel products
        return self.product.pixel_m

    def _header(self, epsg: int) -> RasterHeader:
        """Describe a zone as the raster that the mosaic stands in for."""
        pitch = self._pitch
        return RasterHeader(
            self._mosaic.path, epsg, Affine(pitch, 0.0, 0.0, 0.0, -pitch, _ZONE_NORTH_M),
            round(_ZONE_WIDTH_M / pitch), round(_ZONE_NORTH_M / pitch), self.product.dims, ("int8",),
            self.product.nodata, block_px=1,
        )  # fmt: skip

    def _read(self, header: RasterHeader, window: Window, year: int, allocate: Allocate = np.empty) -> PixelWindow:
        affine, (height, width) = place_window(header, window), (int(window.height), int(window.width))
        grid = self._mosaic.grid
        rows, cols = grid.locate(PixelGrid(header.epsg, affine, height, width))
        nodata = np.int8(self.product.nodata)  # type: ignore[arg-type]  # the registry demands it of this layout
        values = allocate((header.count, height, width), np.int8)
        parts = grid.list_parts(cols)
        if len(parts) != 1 or not parts[0].all():
            values[...] = nodata
        for part in parts:
            row, col = (slice(int(at[part].min()), int(at[part].max()) + 1) for at in (rows, cols))
            places = (rows - row.start) * (col.stop - col.start) + (cols - col.start)
            codes = self._mosaic.read(year, row, col)
            take_nearest(codes, np.where(part, places, OUTSIDE).astype(np.int32), values)
        missing = count_nodata_bands(values, nodata)
        check_whole_pixels(str(header.path), missing, header.count, affine, header.epsg)
        return PixelWindow(values, missing == 0, affine, header.epsg, str(header.path))


def list_mosaic_shards(
    product: Product, source: SourceSettings, years: frozenset[int], area: Area | None
) -> list[dict[str, Any]]:
    """List the stored files of a mosaic: one index row per year and shard that is there.

    Args:
        product: registry entry.
        source: root of the Zarr group.
        years: years wanted.
        area: area of interest; None = everywhere.

    Returns:
        Rows with year, tile (`r{row}c{column}` of the grid of shards), path below the root and bounds in degrees. They
        are in no UTM zone. Shards that the store does not hold have no row: they are nodata.

    Raises:
        MissingPackageError, SourceMissingError, SourceFormatError, BandCountError: see `open_mosaic`.
        SourceMissingError: the store has none of the years.
    """
    mosaic = open_mosaic(source.root, product)
    wanted = [year for year in mosaic.years if year in years]
    if not wanted:
        raise missing_year_error(mosaic, sorted(years))
    if area is None:
        listed = [(mosaic.years[time], row, column) for time, row, column in _list_stored(source.root)]
        places = [place for place in listed if place[0] in wanted]
    else:
        places = _find_places(mosaic, source.root, wanted, area)
    return [_shard_row(mosaic, *place) for place in places]


def _find_places(mosaic: Mosaic, root: FilePath, years: Sequence[int], area: Area) -> list[tuple[int, int, int]]:
    """Ask for each shard that an area touches, and give (year, row, column) of those that are stored."""
    shards = _shards_of_area(mosaic, area)
    places = [(year, row, column) for year in years for row, column in shards]
    paths = [_shard_path(mosaic, *place) for place in places]
    # the metadata are there: beside them, what a bucket without a listing refuses is a shard that it does not hold
    _, *facts = find_files([root / path for path in (METADATA, *paths)])
    return [place for place, one in zip(places, facts, strict=True) if one is not None]


def _shard_path(mosaic: Mosaic, year: int, row: int, column: int) -> str:
    return mosaic.shard_key(mosaic.find_year(year), row, column)


def _shard_row(mosaic: Mosaic, year: int, row: int, column: int) -> dict[str, Any]:
    path = _shard_path(mosaic, year, row, column)
    bounds = zip(SIDES, _shard_bbox(mosaic, row, column), strict=True)
    degrees = {f"{side}_deg": value for side, value in bounds}
    return {"year": year, "tile": f"r{row:04d}c{column:04d}", "path": path, **degrees}


def _shards_of_area(mosaic: Mosaic, area: Area) -> list[tuple[int, int]]:
    """List (row, column) of the shards that share ground with an area, part by part: islands may lie far apart."""
    places: set[tuple[int, int]] = set()
    for bounds in np.unique(shapely.bounds(shapely.get_parts(area.geometry)), axis=0):
        places.update(mosaic.grid.list_blocks(tuple(bounds), mosaic.shard_px))
    return sorted(place for place in places if area.touches(_shard_bbox(mosaic, *place)))


def _list_stored(root: FilePath) -> list[tuple[int, int, int]]:
    """List (time, row, column) of all stored files, by the last numbers of their paths."""
    keys = [[int(n) for n in _NUMBERS.findall(path)][-4:] for path in list_files(root / ARRAY, "**/*")]
    return [(key[0], key[2], key[3]) for key in keys if len(key) == 4]


def _shard_bbox(mosaic: Mosaic, row: int, column: int) -> Bbox:
    west, south, east, north = mosaic.grid.bbox(*mosaic.grid.block(row, column, mosaic.shard_px))
    return west, south, min(east, 180.0), north
