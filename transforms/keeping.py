"""Which pixels are kept, and the columns of a kept pixel.

Belongs here: selection of pixels from windows by window, sample and owner; Arrow columns of places.
Does not: reading rasters, writing tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from transforms import geohash, h3_index
from transforms.area import Area, Bbox, inside_bbox
from transforms.quantization import quantize
from transforms.shards import Shard, assign_owners, inside_zone
from transforms.utm import unproject
from transforms.windows import PixelPoints, PixelWindow

FloatArray = npt.NDArray[np.float64]

#: H3 resolutions stored with pixels.
PIXEL_H3 = (5, 7, 9, 12)


@dataclass(frozen=True)
class KeepRule:
    """Which pixels stay.

    Attributes:
        all: every pixel.
        windows: named boxes in degrees that are kept densely.
        sample: share of all pixels that is kept, chosen by place.
    """

    all: bool
    windows: tuple[tuple[str, Bbox], ...]
    sample: float


@dataclass(frozen=True)
class OwnerRule:
    """Which places one shard owns.

    Attributes:
        key: the shard.
        shards: all shards of the area.
        area: area of interest, or what of it is near the shard; None = no limit.
        by_zone: drop pixels outside their zone's longitudes (products that are tiled by UTM zone).
    """

    key: str
    shards: tuple[Shard, ...]
    area: Area | None
    by_zone: bool

    @property
    def shard(self) -> Shard:
        """The shard itself."""
        return next(shard for shard in self.shards if shard.key == self.key)

    def owns(self, lon: FloatArray, lat: FloatArray, epsg: int | None = None) -> npt.NDArray[np.bool_]:
        """Tell which places belong to the shard; `epsg` is the CRS of all, needed where `by_zone`."""
        mine = assign_owners(lon, lat, self.shards, self.area) == self.key
        if self.by_zone and epsg is not None:
            mine &= inside_zone(lon, lat, epsg)
        return mine


def sample_by_place(x_m: FloatArray, y_m: FloatArray, epsg: int, share: float) -> npt.NDArray[np.bool_]:
    """Choose a uniform share of places by a hash of the place, the same in every year.

    Hash: splitmix64 finaliser of (epsg, floor x, floor y), compared with `share * 2**64`.

    Args:
        x_m: (n,) pixel centres, metres.
        y_m: (n,).
        epsg: CRS of all.
        share: in [0, 1].

    Returns:
        bool (n,).
    """
    if share >= 1:
        return np.ones(len(x_m), bool)
    x = np.floor(x_m).astype(np.int64).astype(np.uint64)
    y = np.floor(y_m).astype(np.int64).astype(np.uint64)
    z = (x << np.uint64(32)) ^ (y & np.uint64(0xFFFFFFFF)) ^ (np.uint64(epsg) << np.uint64(48))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return z < np.uint64(int(share * 2**64))


def keep_pixels(window: PixelWindow, keep: KeepRule, owner: OwnerRule, product: str, *, is_simulated: bool) -> pa.Table:
    """Select the pixels of a window that are valid, kept and owned.

    Args:
        window: pixel vectors, north-up.
        keep: which pixels stay.
        owner: which places the shard owns.
        product: goes into the `product` column.
        is_simulated: goes into the column of that name.

    Returns:
        Rows of `core_{product}__pixels` (int8 codes or float32 vectors as the window holds them).
    """
    column_x, row_y = window.centers()
    x = np.broadcast_to(column_x[None, :], window.valid.shape)[window.valid]
    y = np.broadcast_to(row_y[:, None], window.valid.shape)[window.valid]
    in_sample = sample_by_place(x, y, window.epsg, 1.0 if keep.all else keep.sample)
    candidate = in_sample.copy()
    lon, lat = np.full(len(x), np.nan), np.full(len(x), np.nan)
    if keep.windows and _touches(window, keep.windows):
        lon, lat = unproject(x, y, window.epsg)
        for _, bbox in keep.windows:
            candidate |= inside_bbox(lon, lat, bbox)
    else:
        lon[candidate], lat[candidate] = unproject(x[candidate], y[candidate], window.epsg)
    index = np.flatnonzero(candidate)
    index = index[owner.owns(lon[index], lat[index], window.epsg)]
    vectors = np.ascontiguousarray(window.values.reshape(len(window.values), -1)[:, _flat(window)[index]].T)
    points = _Points(lon[index], lat[index], x[index], y[index], np.full(len(index), window.epsg, np.int32))
    return _pixel_table(points, vectors, in_sample[index], keep.windows, product, is_simulated)


def keep_points(
    tables: Sequence[PixelPoints],
    keep: KeepRule,
    owner: OwnerRule,
    product: str,
    *,
    quantised: bool,
    is_simulated: bool,
) -> pa.Table:
    """Select the listed pixels that the shard owns; a table is already somebody's choice, so all of it is kept.

    A place that is listed twice, in one table or in two, is kept once: its first row.

    Args:
        tables: pixel vectors at listed places, at least one table.
        keep: its windows fill the `window` column.
        owner: which places the shard owns.
        product: goes into the `product` column.
        quantised: store int8 codes rather than float32.
        is_simulated: goes into the column of that name.

    Returns:
        Rows of `core_{product}__pixels`; all count as sampled.
    """
    points = PixelPoints(
        *(np.concatenate([getattr(table, name.name) for table in tables]) for name in fields(PixelPoints))
    )
    mine = np.flatnonzero(owner.owns(points.lon, points.lat))
    keys = geohash.pixel_keys(points.lon[mine], points.lat[mine], points.epsg[mine])
    _, first = np.unique(keys, return_index=True)
    mine = mine[np.sort(first)]
    places = _Points(
        lon=points.lon[mine], lat=points.lat[mine], x_m=points.x_m[mine], y_m=points.y_m[mine], epsg=points.epsg[mine]
    )
    vectors = points.vectors[mine]
    codes = quantize(vectors) if quantised else vectors
    return _pixel_table(places, codes, np.ones(len(mine), bool), keep.windows, product, is_simulated)


def vector_array(
    vectors: npt.NDArray[np.generic], is_present: npt.NDArray[np.bool_] | None = None
) -> pa.FixedSizeListArray:
    """Wrap (n, dims) as an Arrow fixed-size list without copying; NULL where `is_present` is False."""
    dims = vectors.shape[1]
    mask = None if is_present is None else pa.array(~is_present)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), dims, mask=mask)


@dataclass(frozen=True)
class _Points:
    lon: FloatArray
    lat: FloatArray
    x_m: FloatArray
    y_m: FloatArray
    epsg: npt.NDArray[np.int32]


def _touches(window: PixelWindow, boxes: Sequence[tuple[str, Bbox]]) -> bool:
    bounds = window.bounds
    lon, lat = unproject(
        [bounds.west, bounds.east, bounds.east, bounds.west],
        [bounds.south, bounds.south, bounds.north, bounds.north],
        window.epsg,
    )
    outline = shapely.box(lon.min(), lat.min(), lon.max(), lat.max())
    return any(outline.intersects(shapely.box(*bbox)) for _, bbox in boxes)


def _flat(window: PixelWindow) -> npt.NDArray[np.int64]:
    return np.flatnonzero(window.valid.ravel())


def _pixel_table(
    points: _Points,
    vectors: npt.NDArray[np.generic],
    in_sample: npt.NDArray[np.bool_],
    windows: Sequence[tuple[str, Bbox]],
    product: str,
    is_simulated: bool,
) -> pa.Table:
    count = len(points.lon)
    names = np.full(count, None, dtype=object)
    for name, bbox in windows:
        names[inside_bbox(points.lon, points.lat, bbox)] = name
    return pa.table(
        {
            "pixel_id": geohash.pixel_keys(points.lon, points.lat, points.epsg),
            "product": pa.array([product] * count, pa.string()),
            "epsg": pa.array(points.epsg, pa.int32()),
            "x_m": points.x_m,
            "y_m": points.y_m,
            "lon": points.lon,
            "lat": points.lat,
            **h3_index.ancestry(points.lon, points.lat, PIXEL_H3),
            "in_sample": in_sample,
            "window": pa.array(names.tolist(), pa.string()),
            "embedding_q" if vectors.dtype == np.int8 else "embedding": vector_array(vectors),
            "is_simulated": np.full(count, is_simulated),
            "geometry": pa.array(shapely.to_wkb(shapely.points(points.lon, points.lat)), pa.binary()),
        }
    )
