"""Chips for the adapter, cut from the source rasters around labelled pixels of the stored folds.

Belongs here: reading vectors, labels, folds and buffers of chips. Does not: training (`transforms/pretraining/`), the
cells (`adapters.py`).

Stored tables keep a sample of pixels; a convolution needs whole squares. They are read from the files again, a chip a
block, so that the tables need not keep them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import geohash
from transforms.alignment import match_keys
from transforms.block_folds import find_buffer
from transforms.blocks import assign_blocks
from transforms.errors import TooFewUnitsError
from transforms.evidence_units import fold_of_blocks, plan_from_table
from transforms.fold_plan import FoldPlan, Scheme
from transforms.places import PixelPlaces
from transforms.pretraining.chip_places import ChipPlace, earth_centred, paste_window, place_chips
from transforms.pretraining.chips import Chips, Float32Array, Float64Array
from transforms.upsampling.operators import UPSAMPLERS
from warehouse.errors import SourceMissingError
from warehouse.fields import read_patch_field
from warehouse.label_sources import open_pixel_labels
from warehouse.products import Product
from warehouse.sections import AdapterArm, AdapterSettings
from warehouse.sources import open_pixel_source
from warehouse.sources.raster_source import RasterSource
from warehouse.store import Warehouse, evaluate_settings
from warehouse.study_folds import StoredFolds, read_folds

#: Folds that chips are tested by.
SCHEME: Scheme = "block"


def adapter_settings(warehouse: Warehouse) -> AdapterSettings:
    """Give the settings of the adapter.

    Raises:
        SourceMissingError: the settings file has none.
    """
    if warehouse.settings.adapter is None:
        raise SourceMissingError(f"settings '{warehouse.settings.name}'", "no [adapter]", "one", "Add [adapter].")
    return warehouse.settings.adapter


@dataclass(frozen=True)
class ChipGround:
    """Chips of a year without their vectors, which each arm reads for itself.

    Attributes:
        places: where they are.
        lon: float64 (c, h, w), degrees.
        lat: float64 (c, h, w).
        labels: int16 (c, h, w), -1 = none, or ground of another block.
        region: str (c,).
        in_buffer: bool (c, h, w, n_folds).
        is_simulated: True if the labels are.
    """

    places: list[ChipPlace]
    lon: Float64Array
    lat: Float64Array
    labels: npt.NDArray[np.int16]
    region: npt.NDArray[np.str_]
    in_buffer: npt.NDArray[np.bool_]
    is_simulated: bool

    def pixels(self) -> PixelPlaces:
        """Give all pixels of all chips, row by row."""
        centers = [place.centers() for place in self.places]
        x, y = (np.concatenate([pair[axis].ravel() for pair in centers]) for axis in (0, 1))
        size = self.lon[0].size
        epsg = np.repeat(np.array([place.grid.epsg for place in self.places], np.int32), size)
        lon, lat = self.lon.ravel(), self.lat.ravel()
        return PixelPlaces(geohash.pixel_keys(lon, lat, epsg), lon, lat, epsg, x, y)


def read_ground(warehouse: Warehouse, year: int) -> ChipGround:
    """Place the chips of a year by its stored folds, and read their labels.

    Raises:
        TooFewUnitsError: no block fold holds a labelled pixel of a region of the settings.
    """
    settings = evaluate_settings(warehouse)
    stored = read_folds(warehouse, year)
    plan, places = _place(warehouse, stored.folds, year)
    degrees = [place.lonlat() for place in places]
    lon, lat = (np.stack([pair[axis] for pair in degrees]) for axis in (0, 1))
    blocks, folds = (np.array(part, np.int64) for part in zip(*sorted(fold_of_blocks(plan).items()), strict=True))
    edge_m, buffer_m = _edge_and_buffer(stored)
    in_buffer = find_buffer(lon.ravel(), lat.ravel(), blocks, folds, edge_m, buffer_m, plan.n_folds)
    source = open_pixel_labels(warehouse, settings.label)
    regions = _regions(adapter_settings(warehouse), places)
    ground = ChipGround(
        places,
        lon,
        lat,
        np.full(lon.shape, -1, np.int16),
        np.array([regions[place.shard] for place in places], dtype=np.str_),
        in_buffer.reshape(*lon.shape, plan.n_folds),
        source.is_simulated,
    )
    ids, _ = source.label_pixels(ground.pixels())
    # a pixel beyond the block belongs to another fold: it is seen by nobody as a unit
    own = np.array([place.block_id for place in places])[:, None, None]
    is_own = assign_blocks(lon.ravel(), lat.ravel(), edge_m).reshape(lon.shape) == own
    ground.labels[...] = np.where(is_own, ids.reshape(lon.shape), -1)
    return ground


def read_chips(warehouse: Warehouse, ground: ChipGround, arm: AdapterArm, year: int) -> Chips:
    """Read the vectors of one arm on the chips.

    Pixels have views of another year where the settings name one and its files hold the chip; upsampled patches have
    none: a second year would be interpolated from the same few vectors.
    """
    if arm == "native_pixel":
        vectors = _read_pixels(warehouse, ground.places, year)
        others = [_read_pixels(warehouse, ground.places, other) for other in _other_years(warehouse, year)[:1]]
        other = others[0] if others else None
    else:
        vectors, other = _upsample(warehouse, ground, year), None
    return Chips(
        vectors,
        other,
        ground.labels,
        earth_centred(ground.lon, ground.lat),
        np.array([place.block_id for place in ground.places], np.int64),
        ground.region,
        np.array([place.fold for place in ground.places], np.int8),
        ground.in_buffer,
    )


def _edge_and_buffer(stored: StoredFolds) -> tuple[float, float]:
    """Give the edge of the blocks of pixels and their buffer, metres."""
    rules = stored.rules.filter((pc.field("scheme") == SCHEME) & (pc.field("unit") == "pixel")).to_pylist()[0]
    return float(rules["edge_m"]), float(rules["buffer_m"])


def _place(warehouse: Warehouse, rows: pa.Table, year: int) -> tuple[FoldPlan, list[ChipPlace]]:
    """Give the folds of all blocks, and one chip in each block of a region that is asked for."""
    product = warehouse.pixel_product
    assert product is not None  # the settings demand it
    here = rows.filter((pc.field("scheme") == SCHEME) & (pc.field("unit") == "pixel") & (pc.field("fold") >= 0))
    asked = adapter_settings(warehouse).regions
    shards = {shard for members in asked.values() for shard in members}
    chosen = here.filter(pc.field("region").isin(sorted(shards))) if asked else here
    if not chosen.num_rows:
        raise TooFewUnitsError(
            "labelled pixels in block folds of the adapter's regions", 0, "some",
            f"Name shards of out_probe__folds in adapter.regions: {sorted(set(here['region'].to_pylist()))}.",
        )  # fmt: skip
    _, plan = plan_from_table(rows.filter(pc.field("scheme") == SCHEME), SCHEME)
    pixels = warehouse.pixel_places(product, None, [year], sample_only=True)
    units = pixels.take(match_keys(chosen["unit_id"].to_numpy(), pixels.pixel_id))
    shard = np.array(chosen["region"].to_pylist(), dtype=np.str_)
    size = adapter_settings(warehouse).chip_px
    pitch_m = _pitch(warehouse, product, year)
    return plan, place_chips(units, shard, chosen["block_id"].to_numpy(), fold_of_blocks(plan), size, pitch_m)


def _pitch(warehouse: Warehouse, product: Product, year: int) -> tuple[float, float]:
    """Give width and height of a pixel, of the first file of a year: the registry's pitch is a round number."""
    index = warehouse.read(f"raw_{product.name}__index")
    source = _open(warehouse, product, index)
    return source.pitch(index.filter(pc.field("year") == year)["path"][0].as_py())


def _open(warehouse: Warehouse, product: Product, index: pa.Table) -> RasterSource:
    source = open_pixel_source(product, warehouse.source(product.name), index)
    assert isinstance(source, RasterSource)  # the settings refuse products in tables
    return source


def _regions(settings: AdapterSettings, places: list[ChipPlace]) -> dict[str, str]:
    """Give the region of each shard: that of the settings, else the shard itself."""
    named = {shard: name for name, shards in settings.regions.items() for shard in shards}
    return {place.shard: named.get(place.shard, place.shard) for place in places}


def _other_years(warehouse: Warehouse, year: int) -> list[int]:
    """List the other years of the settings that the pixel product has files of, the nearest first."""
    product = warehouse.pixel_product
    assert product is not None  # the settings demand it
    stored = set(warehouse.read(f"raw_{product.name}__index")["year"].to_pylist())
    others = [other for other in warehouse.settings.years if other != year and other in stored]
    return sorted(others, key=lambda other: (abs(other - year), other))


def _read_pixels(warehouse: Warehouse, places: list[ChipPlace], year: int) -> Float32Array:
    """Read chips from the files of a year: float32 (c, d, h, w), NaN where no file holds the middle of a chip."""
    product = warehouse.pixel_product
    assert product is not None  # the settings demand it
    grid = places[0].grid
    out = np.full((len(places), product.dims, grid.height, grid.width), np.nan, np.float32)
    shards = {shard.key: shard for shard in warehouse.shards()}
    for key in sorted({place.shard for place in places}):
        index = warehouse.shard_index(product, year, shards[key])
        source = _open(warehouse, product, index)
        for number, place in enumerate(places):
            if place.shard != key:
                continue
            window = source.read_place(year, place.box, place.middle)
            if window is not None:
                out[number] = paste_window(place, window)
    return out


def _upsample(warehouse: Warehouse, ground: ChipGround, year: int) -> Float32Array:
    """Interpolate patch vectors at the pixels of chips: float32 (c, d, h, w), NaN without support."""
    product = warehouse.patch_product
    assert product is not None  # the settings demand it for this arm
    field = read_patch_field(warehouse, product, year)
    u, v = field.coordinates(ground.pixels())
    found = UPSAMPLERS["bilinear"].build().fit(field.rows(), field.vectors).transform(u, v)
    return np.ascontiguousarray(np.moveaxis(found.reshape(*ground.lon.shape, -1), -1, 1), np.float32)
