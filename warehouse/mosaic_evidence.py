"""`isthmus mosaic`: how a mosaic was resampled, read off a sample of its own pixels.

Belongs here: which boxes of pixels are read. Does not: what they say (`transforms/resampling.py`), printing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.area import Area
from transforms.resampling import ResamplingEvidence, examine_codes
from transforms.utm import project, utm_epsg
from warehouse.products import Product
from warehouse.sources.mosaic_store import Mosaic, open_mosaic
from warehouse.store import Warehouse
from warehouse.year_files import choose_pixel_product, list_year_files

Progress = Callable[[float, str], None]

#: The same boxes are read every time.
_SEED = 0
#: Boxes that are asked for in vain, per box with data, before it is enough.
_TRIES = 8


@dataclass(frozen=True)
class ExaminedBox:
    """One box of pixels.

    Attributes:
        lon: of its middle, degrees.
        lat: of its middle.
        evidence: what its codes say.
    """

    lon: float
    lat: float
    evidence: ResamplingEvidence


def examine_mosaic(
    warehouse: Warehouse, product_name: str | None, year: int, n_boxes: int, progress: Progress
) -> list[ExaminedBox]:
    """Read a uniform sample of chunks of a mosaic, in the area of the settings, and look at their codes.

    Args:
        warehouse: its settings say where the mosaic is; its tables are not used.
        product_name: a product of layout `aef_zarr`; None = the compared one.
        year: calendar year.
        n_boxes: boxes with data to read.
        progress: called with the share done and a text.

    Returns:
        The boxes; fewer where the mosaic has no more data.

    Raises:
        SourceMissingError: there is no such product, or its store has no such year.
        SourceFormatError: the store is damaged, or is not what the product declares.
    """
    product = choose_pixel_product(warehouse, product_name, ["aef_zarr"])
    index = list_year_files(warehouse, product, year, warehouse.area)
    mosaic = open_mosaic(warehouse.source(product.name).root, product)
    shards = [tuple(row[f"{side}_deg"] for side in ("west", "south", "east", "north")) for row in index.to_pylist()]
    boxes: list[ExaminedBox] = []
    for rows, cols in _draw_chunks(mosaic, shards, warehouse.area, n_boxes * _TRIES):
        box = _examine(mosaic, product, year, rows, cols)
        if box.evidence.n_pixels:
            boxes.append(box)
            progress(len(boxes) / n_boxes, f"{len(boxes)} of {n_boxes} boxes")
        if len(boxes) == n_boxes:
            break
    return boxes


def list_rows(boxes: Sequence[ExaminedBox]) -> list[dict[str, object]]:
    """Give one row per box, and a last one for all together."""
    total = sum((box.evidence for box in boxes), start=ResamplingEvidence(0, 0, 0, 0))
    places: list[tuple[float | None, float | None]] = [*((box.lon, box.lat) for box in boxes), (None, None)]
    return [
        {
            "lon": lon,
            "lat": lat,
            "pixels": one.n_pixels,
            "pairs_of_one_source": one.n_pairs,
            "equal_pairs": one.n_equal,
            "off_unit_length": one.n_off_length,
            "resampled_by": one.rule,
        }
        for (lon, lat), one in zip(places, [*(box.evidence for box in boxes), total], strict=True)
    ]


def _draw_chunks(
    mosaic: Mosaic, shards: list[tuple[float, ...]], area: Area | None, count: int
) -> Iterator[tuple[slice, slice]]:
    """Draw different chunks of the stored files, in the area."""
    _, _, *size = mosaic.array.chunks
    chunk_px = (int(size[0]), int(size[1]))
    half = mosaic.grid.pixel_deg / 2  # bounds of shards are rounded
    chunks: set[tuple[int, int]] = set()
    for west, south, east, north in shards:
        chunks.update(mosaic.grid.list_blocks((west + half, south + half, east - half, north - half), chunk_px))
    ordered = sorted(chunks)
    drawn = 0
    for k in np.random.default_rng(_SEED).permutation(len(ordered)):
        row, col = ordered[k]
        rows, cols = mosaic.grid.block(row, col, chunk_px)
        if area is None or area.touches(mosaic.grid.bbox(rows, cols)):
            drawn += 1
            yield rows, cols
        if drawn == count:
            return


def _examine(mosaic: Mosaic, product: Product, year: int, rows: slice, cols: slice) -> ExaminedBox:
    """Look at one chunk, in the zone of its middle; what lies in the zone beside it counts as its own."""
    lon, lat = np.meshgrid(*mosaic.grid.centers(rows, cols))
    middle_lon, middle_lat = float(lon.mean()), float(lat.mean())
    epsg = int(utm_epsg([middle_lon], [middle_lat])[0])
    assert product.pixel_m is not None  # the registry demands it of pixel products
    evidence = examine_codes(mosaic.read(year, rows, cols), *project(lon, lat, epsg), product.pixel_m)
    return ExaminedBox(middle_lon, middle_lat, evidence)
