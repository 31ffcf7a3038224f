"""Pixel products in rasters: reads scheduled by block, one contract out.

Belongs here: which files and blocks to read for which boxes, in which order. Does not: GDAL (`rasters.py`),
the rules of one product (`aef_cog.py`, `pixel_geotiff.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, groupby
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rasterio.windows import Window

from transforms.utm import UtmBox
from transforms.windows import PixelWindow
from warehouse.errors import (
    BandCountError,
    OverlappingSourcesError,
    SourceFormatError,
    SourceMissingError,
)
from warehouse.file_access import is_there, pin
from warehouse.file_paths import FilePath
from warehouse.products import Product
from warehouse.sources.block_memory import BlockMemory
from warehouse.sources.bounds import row_box
from warehouse.sources.files import locate
from warehouse.sources.nodata import check_whole_pixels
from warehouse.sources.raster_source import PlannedBlock, RasterSource
from warehouse.sources.rasters import (
    Allocate,
    RasterHeader,
    list_blocks,
    open_raster,
    place_window,
    read_header,
    read_stored,
    window_of,
)

#: Ground that two files of one year may share without being called an overlap, m2 (rounding of edges).
_OVERLAP_TOLERANCE_M2 = 1.0


class BlockRasterSource(RasterSource):
    """Rasters of one pixel product below one root.

    Args:
        product: registry entry.
        root: folder, or its URL, that the index paths are relative to.
        index_rows: rows of `raw_{product}__index`.
    """

    def __init__(self, product: Product, root: FilePath, index_rows: pa.Table) -> None:
        self.product = product
        self.root = root
        self._rows: list[dict[str, Any]] = index_rows.to_pylist()
        self._memory = BlockMemory()

    def plan_blocks(self, year: int, boxes: Sequence[UtmBox], block_px: int = 1024) -> list[PlannedBlock]:
        """List the blocks that touch any of the boxes, each once, file by file; reads headers only.

        Args:
            year: calendar year of the product.
            boxes: areas in UTM; files of other zones are not opened.
            block_px: edge of a block; raised to a multiple of the file's own block.

        Returns:
            Whole blocks (not cut to the boxes) that do not overlap, files by path, blocks in the order of the file.

        Raises:
            SourceMissingError: an index row that touches a box has no file.
            SourceFormatError: a file is not what the product declares.
            OverlappingSourcesError: two files of the year cover the same ground.
        """
        rows = self._select_rows(year, boxes)
        _check_overlaps(rows)
        plan = []
        for row in rows:
            path = self._find_file(row)
            with open_raster(path) as dataset:
                header = read_header(dataset, path)
            self._check_header(header, row)
            plan += [PlannedBlock(header, window, year) for window in list_blocks(header, boxes, block_px)]
        return plan

    def read_blocks(self, plan: Sequence[PlannedBlock]) -> Iterator[PixelWindow]:
        """Read planned blocks in the order given; a file stays open while its blocks follow each other.

        Yields:
            North-up windows.

        Raises:
            SourceMissingError: a file has gone.
            SourceFormatError: a file is damaged.
            SourceContentError: a pixel has nodata in some bands only.
        """
        for header, blocks in groupby(plan, key=lambda block: block.header):
            with open_raster(header.path) as dataset:
                for block in blocks:
                    yield self._read(dataset, header, block.window, self._memory.allocate)

    def read_window(self, path: str | PurePath, box: UtmBox) -> PixelWindow:
        """Read the whole pixels of one file that touch a box, cut to the file.

        Args:
            path: path of an index row, or any file (absolute, or relative to the root).
            box: in the file's own zone.

        Returns:
            A north-up window.

        Raises:
            SourceMissingError: there is no such file.
            SourceFormatError: the file is not what the product declares, or the box lies outside it.
        """
        full, row = self._locate(path)
        with open_raster(full) as dataset:
            header = read_header(dataset, full)
            self._check_header(header, row)
            window = window_of(header, box)
            if window is None:
                raise SourceFormatError(
                    str(full),
                    "window",
                    box,
                    f"a box that touches {header.box}",
                    "Choose the file by its index row.",
                )
            return self._read(dataset, header, window)

    def read_place(self, year: int, box: UtmBox, middle: UtmBox) -> PixelWindow | None:
        """Read a box from the file of a year that holds its middle; None where no file does."""
        for row in self._rows:
            extent = row_box(row)
            if row["year"] == year and extent is not None and extent.intersects(middle):
                return self.read_window(row["path"], box)
        return None

    def pitch(self, path: str | PurePath) -> tuple[float, float]:
        """Give width and height of a pixel of one file (a path as `read_window` takes), metres."""
        full, _ = self._locate(path)
        with open_raster(full) as dataset:
            header = read_header(dataset, full)
        return abs(float(header.affine.a)), abs(float(header.affine.e))

    @abstractmethod
    def _check_header(self, header: RasterHeader, row: Mapping[str, Any]) -> None:
        """Raise where the header breaks the rules of the product or disagrees with its index row (or {})."""

    @abstractmethod
    def _prepare(
        self, values: npt.NDArray[Any], header: RasterHeader
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.integer]]:
        """Give (values with nodata as the contract says, nodata bands per pixel (height, width))."""

    def _read(self, dataset: Any, header: RasterHeader, window: Window, allocate: Allocate = np.empty) -> PixelWindow:
        # nodata is looked for in rows as stored: a view with rows reversed takes four times as long
        values, missing = self._prepare(read_stored(dataset, header, window, allocate), header)
        affine = place_window(header, window)
        if header.is_bottom_up:
            values, missing = values[:, ::-1], missing[::-1]
        check_whole_pixels(str(header.path), missing, self.product.dims, affine, header.epsg)
        return PixelWindow(values, missing == 0, affine, header.epsg, str(header.path))

    def _select_rows(self, year: int, boxes: Sequence[UtmBox]) -> list[dict[str, Any]]:
        """List the files to open by path; a row without bounds is opened, so that its error is heard."""
        rows = []
        for row in self._rows:
            extent = row_box(row)
            if row["year"] == year and (extent is None or any(extent.intersects(box) for box in boxes)):
                rows.append(row)
        return sorted(rows, key=lambda row: row["path"])

    def _locate(self, path: str | PurePath) -> tuple[FilePath, Mapping[str, Any]]:
        """Give a file and its index row, {} where it has none."""
        full = self.root / path
        row = next((row for row in self._rows if self.root / row["path"] == full), {})
        return (self._find_file(row) if row else pin(full)), row

    def _find_file(self, row: Mapping[str, Any]) -> FilePath:
        path = locate(self.root, row)
        if not is_there(path):
            raise SourceMissingError(
                f"raw_{self.product.name}__index[{row['year']}], row '{row['path']}'",
                f"no file {path}",
                "the file that the index lists",
                "Download it below the source root, or remove its row from the index.",
            )
        return path


def check_raster(header: RasterHeader, row: Mapping[str, Any], problems: Sequence[tuple[str, object, object]]) -> None:
    """Raise one error about all that differs between a header, its index row and its product.

    Args:
        header: the raster.
        row: its index row, or {} for a file read without one.
        problems: (what, found, expected) that the caller has seen.

    Raises:
        SourceFormatError: there are problems, or CRS or bounds differ from the index by half a pixel or more.
    """
    all_problems = list(problems)
    declared = row_box(row)
    if declared is not None:
        box = header.box
        if box.epsg != declared.epsg:
            all_problems.append(("CRS", f"EPSG:{box.epsg}", f"EPSG:{declared.epsg} (index)"))
        else:
            corners = [(b.west, b.south, b.east, b.north) for b in (box, declared)]
            if max(abs(a - b) for a, b in zip(*corners, strict=True)) >= header.affine.a / 2:
                all_problems.append(("bounds", corners[0], f"{corners[1]} (index)"))
    if all_problems:
        what, found, expected = (list(part) for part in zip(*all_problems, strict=True))
        raise SourceFormatError(
            str(header.path), ", ".join(what), ", ".join(map(str, found)), ", ".join(map(str, expected)),
            "Is this a file of another product or release? Download it again, or remove it from the root.",
        )  # fmt: skip


def check_band_count(header: RasterHeader, product: Product) -> None:
    """Raise where a raster does not have one band per dimension.

    Raises:
        BandCountError: it has not.
    """
    if header.count != product.dims:
        raise BandCountError(str(header.path), header.count, product.dims)


def _check_overlaps(rows: Sequence[Mapping[str, Any]]) -> None:
    extents = [(row["path"], box) for row in rows if (box := row_box(row)) is not None]
    for (first, a), (second, b) in combinations(extents, 2):
        if a.intersects(b):
            width = min(a.east, b.east) - max(a.west, b.west)
            area = width * (min(a.north, b.north) - max(a.south, b.south))
            if area > _OVERLAP_TOLERANCE_M2:
                raise OverlappingSourcesError(first, second, area / 1e6)
