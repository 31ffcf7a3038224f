"""Simulated pixel vectors: 64 numbers of unit length per 10 m pixel, quantised as published.

A vector is the part common to all land, plus regional drift, plus haze that looks like class, plus the pull of
the classes around, plus the prototype of the pixel's own class (mixed with its neighbours' at edges), plus an
offset of its parcel, plus noise; scaled to unit length. The first four are smooth and computed on a coarse grid.
Belongs here: the model. Does not: overviews (`pyramid.py`), raster files.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from transforms.quantization import DIVISOR, MAX_CODE, NODATA
from transforms.simulation.landscape import N_DRIFT, N_PARCEL_IDS, Landscape
from transforms.simulation.noise import derive_key, derive_rng, hash_place, smooth_field
from transforms.simulation.parcels import COARSE_PX
from transforms.simulation.spec import N_CLASSES, NO_CLASS, PIXEL_M, SignalStrengths

FloatArray = npt.NDArray[np.float32]
CodeArray = npt.NDArray[np.int8]

DIMS = 64
#: Class differences lie in this many directions: less than the classes could use, so that they resemble one
#: another unevenly, as real classes do.
_CLASS_RANK = 6
#: Share of the variance of parcel offsets that lies in those directions (and so looks like class).
_CONFUSING_SHARE = 0.6
#: Noise vectors are sums of two rows of a table: 16,384^2 different ones.
_N_NOISE = 16_384
#: How rough each class looks: noise relative to the mean class.
_ROUGHNESS = np.array([1.09, 1.05, 0.94, 0.97, 1.13, 0.91, 0.86, 1.0, 1.05, 0.94], np.float32)
#: A pixel with a neighbour of another class gets this share of its prototype from its four neighbours.
_EDGE_MIX = 0.4
#: Blur of the surroundings in coarse cells: 240 m.
_CONTEXT_SIGMA = 3.0
#: Blur of the haze in coarse cells: a practical range of 2 sqrt(3) * 256 m = 890 m.
_HAZE_SIGMA = 3.2
#: Length of the offset that all pixels of a year share.
_YEAR_SHIFT = 0.05


@dataclass(frozen=True)
class PixelModel:
    """Everything but the landscape that pixel vectors of one year depend on.

    Attributes:
        prototypes: float32 (10, 64).
        parcel_offsets: float32 (N_PARCEL_IDS, 64).
        noise: float32 (16384, 64); any two rows add up to the strength asked for.
        roughness: float32 (10,), factor of the noise by class.
        background: float32 (height / 8, width / 8, 64): common part, drift and context.
    """

    prototypes: FloatArray
    parcel_offsets: FloatArray
    noise: FloatArray
    roughness: FloatArray
    background: FloatArray


def build_pixel_model(landscape: Landscape, strengths: SignalStrengths, seed: int, year: int) -> PixelModel:
    """Draw the tables of a year; only the noise and a small common shift differ between years.

    Args:
        landscape: the ground.
        strengths: lengths of the parts.
        seed: the world's seed.
        year: a year of the landscape.

    Returns:
        The model.
    """
    rng = derive_rng(seed, "pixel model")
    basis = rng.standard_normal((_CLASS_RANK, DIMS)) / np.sqrt(DIMS)
    prototypes = rng.standard_normal((N_CLASSES, _CLASS_RANK)) @ basis
    prototypes -= prototypes.mean(axis=0)
    prototypes /= np.linalg.norm(prototypes, axis=1).mean()
    looks_like_class = rng.standard_normal((N_PARCEL_IDS, _CLASS_RANK)).astype(np.float32) @ basis
    offsets = np.sqrt(_CONFUSING_SHARE / _CLASS_RANK) * looks_like_class
    offsets += np.sqrt((1 - _CONFUSING_SHARE) / DIMS) * rng.standard_normal((N_PARCEL_IDS, DIMS), np.float32)
    noise = rng.standard_normal((_N_NOISE, DIMS), dtype=np.float32) / np.sqrt(2 * DIMS)
    return PixelModel(
        prototypes=(strengths.pixel_class * prototypes).astype(np.float32),
        parcel_offsets=(strengths.pixel_parcel * offsets).astype(np.float32),
        noise=(strengths.pixel_noise * noise).astype(np.float32),
        roughness=_ROUGHNESS,
        background=_build_background(landscape, basis, prototypes, strengths, seed, year),
    )


def _build_background(
    landscape: Landscape,
    basis: npt.NDArray[np.float64],
    prototypes: npt.NDArray[np.float64],
    strengths: SignalStrengths,
    seed: int,
    year: int,
) -> FloatArray:
    """Sum what is smooth: common part (length 1), shift of the year, drift, haze, pull of the surroundings."""
    rng = derive_rng(seed, "pixel background")
    common = rng.standard_normal(DIMS)
    common /= np.linalg.norm(common)
    shift = derive_rng(seed, "year", year).standard_normal(DIMS) * (_YEAR_SHIFT / np.sqrt(DIMS))
    directions = rng.standard_normal((N_DRIFT, DIMS)) / np.sqrt(DIMS * N_DRIFT)
    haze_rng = derive_rng(seed, "haze")
    haze = [smooth_field(haze_rng, landscape.drift.shape[1:], _HAZE_SIGMA) for _ in range(_CLASS_RANK)]
    parts = (
        (np.moveaxis(landscape.drift, 0, -1), strengths.pixel_drift * directions),
        (np.stack(haze, axis=-1), strengths.pixel_haze / np.sqrt(_CLASS_RANK) * basis),
        (surroundings(landscape, year), strengths.pixel_context * prototypes),
    )
    background = np.zeros((*landscape.drift.shape[1:], DIMS), np.float32) + (common + shift).astype(np.float32)
    for fields, vectors in parts:
        background += fields @ vectors.astype(np.float32)
    return background


def surroundings(landscape: Landscape, year: int) -> FloatArray:
    """Give the blurred shares of the classes: float32 (height / 8, width / 8, 10)."""
    height, width = landscape.grid.shape
    blocks = landscape.classes[year].reshape(height // COARSE_PX, COARSE_PX, width // COARSE_PX, COARSE_PX)
    shares = np.stack([(blocks == k).mean(axis=(1, 3), dtype=np.float32) for k in range(N_CLASSES)], axis=-1)
    blurred: FloatArray = gaussian_filter(shares, (_CONTEXT_SIGMA, _CONTEXT_SIGMA, 0.0))
    return blurred


def render_codes(
    landscape: Landscape,
    model: PixelModel,
    window: PixelPlaces,
    seed: int,
    year: int,
    out: CodeArray,
) -> None:
    """Compute the stored codes of a window of one UTM zone.

    Args:
        landscape: the ground.
        model: of the same year.
        window: where the pixels stand.
        seed: the world's seed.
        year: the year.
        out: int8 (64, height, width), filled in place; -128 outside the window's columns and the land.
    """
    key = derive_key(seed, "pixel noise", year, window.epsg)
    _fill_codes(
        landscape.classes[year],
        landscape.parcels,
        model.prototypes,
        model.parcel_offsets,
        model.noise,
        model.roughness,
        model.background,
        window.rows,
        window.cols,
        window.first_col,
        window.last_col,
        np.uint64(key),
        round(window.west_m / PIXEL_M),
        round(window.south_m / PIXEL_M),
        out,
    )


@dataclass(frozen=True)
class PixelPlaces:
    """A window of a zone's 10 m grid, row 0 southernmost.

    Attributes:
        epsg: the zone.
        west_m: left edge of the window.
        south_m: lower edge.
        rows: float32 (height, width), positions on the master grid.
        cols: float32 (height, width).
        first_col: int64 (height,), first column that belongs to the file of this zone.
        last_col: int64 (height,), one past the last.
    """

    epsg: int
    west_m: float
    south_m: float
    rows: FloatArray
    cols: FloatArray
    first_col: npt.NDArray[np.int64]
    last_col: npt.NDArray[np.int64]

    def split(self, parts: int) -> list[tuple[slice, PixelPlaces]]:
        """Cut the window into bands of rows, for threads."""
        edges = np.linspace(0, len(self.rows), parts + 1).astype(int)
        bands = [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
        return [
            (
                band,
                PixelPlaces(
                    self.epsg,
                    self.west_m,
                    self.south_m + PIXEL_M * band.start,
                    self.rows[band],
                    self.cols[band],
                    self.first_col[band],
                    self.last_col[band],
                ),
            )
            for band in bands
        ]


@nb.njit(nogil=True, cache=True)
def _add_background(vector: FloatArray, background: FloatArray, row: int, col: int) -> None:
    """Set a vector to the coarse background, interpolated."""
    y = min(max((row + 0.5) / COARSE_PX - 0.5, 0.0), background.shape[0] - 1.001)
    x = min(max((col + 0.5) / COARSE_PX - 0.5, 0.0), background.shape[1] - 1.001)
    i, j = int(y), int(x)
    fy, fx = np.float32(y - i), np.float32(x - j)
    one = np.float32(1.0)
    a, b, c, d = (one - fy) * (one - fx), (one - fy) * fx, fy * (one - fx), fy * fx
    for k in range(DIMS):
        vector[k] = (
            a * background[i, j, k]
            + b * background[i, j + 1, k]
            + c * background[i + 1, j, k]
            + d * background[i + 1, j + 1, k]
        )


@nb.njit(nogil=True, cache=True)
def _add_class(vector: FloatArray, prototypes: FloatArray, classes: npt.NDArray[np.uint8], row: int, col: int) -> None:
    """Add the prototype of the pixel, mixed with its neighbours' where they differ."""
    own = classes[row, col]
    mixed = np.float32(0.0)
    for step in range(4):
        other = classes[row + (step == 0) - (step == 1), col + (step == 2) - (step == 3)]
        if other != own and other != NO_CLASS:
            share = np.float32(_EDGE_MIX / 4)
            mixed += share
            for k in range(DIMS):
                vector[k] += share * prototypes[other, k]
    for k in range(DIMS):
        vector[k] += (np.float32(1.0) - mixed) * prototypes[own, k]


@nb.njit(nogil=True, cache=True)
def _fill_codes(
    classes: npt.NDArray[np.uint8],
    parcels: npt.NDArray[np.uint16],
    prototypes: FloatArray,
    offsets: FloatArray,
    noise: FloatArray,
    roughness: FloatArray,
    background: FloatArray,
    rows: FloatArray,
    cols: FloatArray,
    first: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    key: np.uint64,
    x0: int,
    y0: int,
    out: CodeArray,
) -> None:
    """Compose, normalise and quantise the vectors of a window; see the module's docstring."""
    height, width = rows.shape
    vector = np.empty(DIMS, np.float32)
    codes = np.empty((width, DIMS), np.int8)
    out[:] = NODATA
    for i in range(height):
        start, stop = width, 0
        codes[:] = NODATA
        for j in range(max(first[i], 0), min(last[i], width)):
            r, c = int(np.floor(rows[i, j])), int(np.floor(cols[i, j]))
            if r < 1 or c < 1 or r >= classes.shape[0] - 1 or c >= classes.shape[1] - 1:
                continue
            own = classes[r, c]
            if own == NO_CLASS:
                continue
            start, stop = min(start, j), j + 1
            _add_background(vector, background, r, c)
            _add_class(vector, prototypes, classes, r, c)
            chance = hash_place(key, y0 + i, x0 + j)
            one = chance & np.uint64(_N_NOISE - 1)
            two = (chance >> np.uint64(20)) & np.uint64(_N_NOISE - 1)
            rough = roughness[own]
            parcel = parcels[r, c]
            squares = np.float32(0.0)
            for k in range(DIMS):
                vector[k] += offsets[parcel, k] + rough * (noise[one, k] + noise[two, k])
                squares += vector[k] * vector[k]
            scale = np.float32(DIVISOR) / np.sqrt(np.sqrt(squares))
            for k in range(DIMS):
                # sqrt(|v| / norm) * 127.5, signed; at most 127.5, so only the top half code is clipped
                code = np.rint(np.sqrt(np.abs(vector[k])) * scale)
                codes[j, k] = np.int8(np.copysign(min(code, np.float32(MAX_CODE)), vector[k]))
        for k in range(DIMS):
            for j in range(start, stop):
                out[k, i, j] = codes[j, k]
