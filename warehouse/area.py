"""The area of interest of a warehouse: its shards and its patch places.

Belongs here: applying the shard rule of the settings to what the indexes say, and choosing where patch places
come from. Does not: the rules themselves (`transforms/shards.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import shapely

from transforms import lattice
from transforms.area import Area, Bbox, hull_of
from transforms.errors import ShapeError
from transforms.places import PatchPlaces, place_lattice
from transforms.shards import Shard, clip_outlines, cut_files, cut_mgrs, cut_regions
from transforms.utm import mgrs_squares
from warehouse.errors import SourceMissingError
from warehouse.layout import check_shard_key
from warehouse.products import Product
from warehouse.sources.patches import read_footprint_places, tile_covers
from warehouse.store import Warehouse


def cut_area(warehouse: Warehouse) -> list[Shard]:
    """Cut the area of interest by the shard rule of the settings.

    Returns:
        Shards in the order that decides ownership.

    Raises:
        SourceMissingError: no file of any product touches the area.
        ShapeError: a region or file name cannot be a shard key.
    """
    rule, area = warehouse.settings.area, warehouse.area
    files = _list_files(warehouse)
    if not files:
        raise SourceMissingError(
            f"area of {warehouse.settings.name}",
            "no source file that touches it",
            f"files of {sorted(warehouse.products)} for years {list(warehouse.settings.years)}",
            "Check [area], years and sources.<product>.root.",
        )
    if rule.shard_rule == "mgrs":
        assert area is not None  # the settings demand it for this rule
        return cut_squares(area)
    if rule.shard_rule == "file":
        shards = cut_files([(check_shard_key(stem), hull_of(boxes)) for stem, boxes in files.items()])
    else:
        regions = rule.regions or {warehouse.settings.name: _whole_region(area, files)}
        shards = cut_regions({check_shard_key(name): bbox for name, bbox in regions.items()})
    return shards if area is None or area.boxes else clip_outlines(shards, area)


def cut_squares(area: Area) -> list[Shard]:
    """Cut an area into MGRS squares.

    Raises:
        ShapeError: the area reaches beyond the squares, or is no larger than rounding.
    """
    _, south, _, north = area.bbox
    if south < -80.0 or north > 84.0:
        raise ShapeError(
            "area", f"ground from {south:.1f} to {north:.1f} degrees north", "80 S to 84 N, where MGRS squares are",
            "Cut the area there, or use shard_rule = \"region\".",
        )  # fmt: skip
    shards = cut_mgrs(area)
    if not shards:
        raise ShapeError("area", "less than 1 m2 of ground", "an area", "Is the geometry in degrees?")
    return shards


def _whole_region(area: Area | None, files: Mapping[str, Sequence[Bbox]]) -> Bbox:
    """Give the box of an area that is one region; west > east is across the antimeridian."""
    if area is None:
        return hull_of([bbox for boxes in files.values() for bbox in boxes])
    if not area.crosses_antimeridian:
        return area.bbox
    bounds = shapely.bounds(shapely.get_parts(area.geometry))
    return hull_of([(west, south, east, north) for west, south, east, north in bounds.tolist()])


def read_patch_places(warehouse: Warehouse, product: Product, index: pa.Table, shard: Shard) -> PatchPlaces:
    """Give the patch places in and around a shard: lattice cells, or the product's own footprints."""
    if product.layout != "eg_geoparquet":
        return read_footprint_places(product, warehouse.source(product.name), index)
    cells = lattice.enumerate_places(*shard.reading_box())
    return place_lattice(cells, mgrs_squares(cells.lon, cells.lat), tile_covers(index))


def _list_files(warehouse: Warehouse) -> dict[str, list[Bbox]]:
    """List the boxes of the files of the product that decides the cut, patches before pixels, by stem in its order.

    Files of one stem in several years are one shard; west > east is across the antimeridian.

    Raises:
        SourceMissingError: two files of one year have the same stem.
    """
    product = warehouse.patch_product or warehouse.pixel_product
    assert product is not None  # the settings demand one
    index = warehouse.read(f"raw_{product.name}__index")
    boxes: dict[str, list[Bbox]] = {}
    paths: dict[tuple[int, str], str] = {}
    for row in index.filter(pc.is_valid(index["west_deg"])).to_pylist():
        year, stem = row["year"], row["tile"]
        if paths.setdefault((year, stem), row["path"]) != row["path"]:
            raise SourceMissingError(
                f"sources.{product.name}",
                f"two files named {stem} for {year}: {paths[year, stem]} and {row['path']}",
                "one, because files are told apart by their names",
                f"Rename one of them, or narrow sources.{product.name}.files.",
            )
        box = (row["west_deg"], row["south_deg"], row["east_deg"], row["north_deg"])
        boxes.setdefault(stem, []).append(box)
    return dict(sorted(boxes.items()))
