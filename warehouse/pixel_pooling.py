"""Pixels of a product pooled into patch footprints, wherever the product keeps its pixels.

Belongs here: reading rasters block by block, or stored pixels, into poolers. Does not: the arithmetic
(`transforms/pooling/`), tables (`assets/pooled.py`), user polygons (`pool_geometries.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from transforms.area import grow
from transforms.places import PatchPlaces, footprint_polygons
from transforms.pooled_rows import RasterPooling, pool_listed_pixels
from transforms.pooling.operators import PooledPatches
from transforms.pooling.pixels import PoolingParameters
from warehouse.fields import read_pixel_vectors
from warehouse.polygon_zones import other_zones
from warehouse.products import Product
from warehouse.sources import open_pixel_source
from warehouse.sources.pixel_table import PixelTableSource
from warehouse.sources.read_ahead import read_ahead
from warehouse.store import Warehouse


def pool_places(
    warehouse: Warehouse,
    product: Product,
    year: int,
    places: PatchPlaces,
    columns: Sequence[str],
    parameters: PoolingParameters,
) -> Iterator[PooledPatches]:
    """Pool the pixels of one year into footprints, in one pass over the blocks; results are given as they come.

    Memory is bounded by the blocks in flight (one is pooled while the next is decoded) and the patches on their
    edges. Footprints over the edge of a zone come last: they are continued in the zones beside.

    Args:
        warehouse: where the product is, and the least coverage.
        product: of pixels.
        year: calendar year of the product.
        places: patch footprints.
        columns: stored columns to pool.
        parameters: of the operators behind them.

    Yields:
        Pooled patches, each place once; `index` is its position in `places`.

    Raises:
        SourceMissingError: a file that the index lists is not there.
        SourceFormatError: a file is damaged or is not what the product declares.
        OverlappingSourcesError: two files of the year cover the same ground.
    """
    if not len(places):
        return
    index = pixel_index(warehouse, product, year, places)
    source = open_pixel_source(product, warehouse.source(product.name), index)
    if isinstance(source, PixelTableSource):
        keys = warehouse.partitions(f"core_{product.name}__pixels", year=year)
        pixels, vectors, _ = read_pixel_vectors(warehouse, product, keys)
        yield pool_listed_pixels(places, pixels.lon, pixels.lat, vectors, columns, parameters)
        return
    min_coverage = warehouse.settings.pool.min_coverage
    # AlphaEarth covers each zone in the zone's own CRS; other products come in whatever CRS their files are. A mosaic's
    # are in no zone: it covers any footprint whole
    others = None if product.layout == "aef_cog" else other_zones(footprint_polygons(places), places.epsg, index)
    pooling = RasterPooling(places, product.dims, columns, parameters, min_coverage=min_coverage, others=others)
    plan = source.plan_blocks(year, pooling.boxes(), warehouse.settings.limits.block_px)
    pooling.expect(block.extent for block in plan)
    for window in read_ahead(source.read_blocks(plan)):
        pooling.add(window)
        yield pooling.drain()
    for epsg in pooling.next_zones():
        plan = source.plan_blocks(year, pooling.move_to(epsg), warehouse.settings.limits.block_px)
        for window in read_ahead(source.read_blocks(plan)):
            pooling.add(window)
    yield pooling.finish()


def pixel_index(warehouse: Warehouse, product: Product, year: int, places: PatchPlaces) -> pa.Table:
    """Give the index rows of the files that may hold pixels of some places (at least one)."""
    west, east = float(places.lon.min()), float(places.lon.max())
    south, north = float(places.lat.min()), float(places.lat.max())
    return warehouse.index_rows(product, year, grow((west, south, east, north), float(places.side_m.max())))
