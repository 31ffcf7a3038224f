"""What every source of pixel rasters gives: windows in UTM, planned first, each piece of ground once.

Belongs here: the contract. Does not: files of one zone each (`blocks.py`), a mosaic in degrees (`aef_zarr.py`), tables
of pixels (`pixel_table.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from rasterio.windows import Window

from transforms.utm import UtmBox
from transforms.windows import PixelWindow
from warehouse.sources.rasters import RasterHeader, place_window


@dataclass(frozen=True)
class PlannedBlock:
    """One block to read.

    Attributes:
        header: of its file.
        window: rows as stored.
        year: calendar year of the product.
    """

    header: RasterHeader
    window: Window
    year: int

    @property
    def extent(self) -> UtmBox:
        """Outer edges, as `PixelWindow.bounds` of the window that will be read."""
        affine = place_window(self.header, self.window)
        west, north = affine.c, affine.f
        south, east = north + affine.e * self.window.height, west + affine.a * self.window.width
        return UtmBox(self.header.epsg, west, south, east, north)


class RasterSource(ABC):
    """Rasters of one pixel product: north-up windows in metres."""

    def iter_blocks(self, year: int, boxes: Sequence[UtmBox], block_px: int = 1024) -> Iterator[PixelWindow]:
        """Read every block that touches any of the boxes, once: `read_blocks` of `plan_blocks`."""
        yield from self.read_blocks(self.plan_blocks(year, boxes, block_px))

    @abstractmethod
    def plan_blocks(self, year: int, boxes: Sequence[UtmBox], block_px: int = 1024) -> list[PlannedBlock]:
        """List the blocks that touch any of the boxes, each once, without overlap; reads headers only."""

    def list_notes(self, plan: Sequence[PlannedBlock]) -> list[str]:
        """Say what a reader of the pixels must know of the files of a plan: what is not as published in them."""
        headers = dict.fromkeys(block.header for block in plan)
        return [note for header in headers for note in self._describe_oddities(header)]

    @abstractmethod
    def read_blocks(self, plan: Sequence[PlannedBlock]) -> Iterator[PixelWindow]:
        """Read planned blocks in the order given."""

    @abstractmethod
    def read_place(self, year: int, box: UtmBox, middle: UtmBox) -> PixelWindow | None:
        """Read the whole pixels that touch a box; None where the source does not hold its middle."""

    @abstractmethod
    def pitch(self, path: str | PurePath) -> tuple[float, float]:
        """Give width and height of a pixel of one file of the index, metres."""

    def _describe_oddities(self, header: RasterHeader) -> list[str]:
        """Say what is not as published in a file that is accepted."""
        return []
