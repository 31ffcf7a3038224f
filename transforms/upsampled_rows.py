"""Upsampling of a shard: the field of patches around it, and the rows of `out_pixel__{product}_upsampled`.

Belongs here: choosing the coordinates in which a product's patches form rows, Arrow columns. Does not: the
arithmetic of interpolation (`transforms/upsampling/`), reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.alignment import take_or
from transforms.errors import LatticeError
from transforms.keeping import vector_array
from transforms.places import PatchPlaces, PixelPlaces
from transforms.upsampling.bilinear import bilinear_weights, interpolate
from transforms.upsampling.nearest import nearest_index
from transforms.upsampling.rows import RowLattice, eg_rows, grid_rows
from transforms.utm import project

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PatchField:
    """Patch vectors of one year in and around an area.

    Attributes:
        places: where they are; all on the Earth Genome lattice, or all footprints of their own in one zone.
        vectors: float32 (n, dims).
        is_simulated: True if any of them is.
    """

    places: PatchPlaces
    vectors: npt.NDArray[np.float32]
    is_simulated: bool

    @property
    def on_lattice(self) -> bool:
        """Tell whether the patches stand on the Earth Genome lattice."""
        return bool(len(self.places)) and self.places.lattice[0] != "own"

    def rows(self) -> RowLattice:
        """Give the rows that the patches form: by longitude and latitude on the lattice, else by metres.

        Raises:
            LatticeError: footprints of several UTM zones, or no regular grid.
        """
        places = self.places
        if self.on_lattice:
            return eg_rows(places.lattice == "secondary", places.row, places.lon, places.lat)
        zones = np.unique(places.epsg)
        if len(zones) != 1:
            raise LatticeError(
                "patches to upsample",
                f"footprints in {len(zones)} UTM zones",
                "one regular grid in one zone",
                "Upsample one zone at a time, or leave T5 out of evaluate.tasks.",
            )
        return grid_rows(places.x_m, places.y_m)

    def coordinates(self, pixels: PixelPlaces) -> tuple[FloatArray, FloatArray]:
        """Give the pixels in the coordinates of `rows`."""
        if self.on_lattice:
            return pixels.lon, pixels.lat
        epsg = int(self.places.epsg[0])
        if (pixels.epsg == epsg).all():
            return pixels.x_m, pixels.y_m
        return project(pixels.lon, pixels.lat, epsg)


@dataclass(frozen=True)
class Upsampled:
    """Interpolated vectors at pixels.

    Attributes:
        vectors: float32 (m, dims), NaN where no patch supports a pixel.
        support: float32 (m,), share of the interpolation weights whose patches exist, in [0, 1].
        nearest: int64 (m,) position of the nearest patch in the field, -1 where none is near.
    """

    vectors: npt.NDArray[np.float32]
    support: npt.NDArray[np.float32]
    nearest: npt.NDArray[np.int64]


def upsample_places(field: PatchField, pixels: PixelPlaces) -> Upsampled:
    """Interpolate a field bilinearly to pixels, and find each pixel's nearest patch."""
    dims = field.vectors.shape[1]
    if not len(field.places) or not len(pixels):
        empty = np.full((len(pixels), dims), np.nan, np.float32)
        return Upsampled(empty, np.zeros(len(pixels), np.float32), np.full(len(pixels), -1, np.int64))
    rows = field.rows()
    u, v = field.coordinates(pixels)
    index, weight, support = bilinear_weights(rows, u, v)
    return Upsampled(interpolate(field.vectors, index, weight), support, nearest_index(rows, u, v).astype(np.int64))


def upsampled_table(field: PatchField, pixels: PixelPlaces, found: Upsampled, product: str) -> pa.Table:
    """Give rows of `out_pixel__{product}_upsampled`, method `bilinear`; pixels without support are left out."""
    supported = np.flatnonzero(found.support > 0)
    supported = supported[np.isfinite(found.vectors[supported, 0])] if len(supported) else supported
    places = pixels.take(supported)
    nearest = found.nearest[supported]
    ids = take_or(field.places.patch_id, nearest, 0)
    count = len(places)
    return pa.table(
        {
            "pixel_id": places.pixel_id,
            "product": pa.array([product] * count, pa.string()),
            "method": pa.array(["bilinear"] * count, pa.string()),
            "lon": places.lon,
            "lat": places.lat,
            "nearest_patch_id": pa.array(ids, pa.uint64(), mask=nearest < 0),
            "support": found.support[supported],
            "embedding": vector_array(found.vectors[supported]),
            "is_simulated": np.full(count, field.is_simulated),
        }
    )
