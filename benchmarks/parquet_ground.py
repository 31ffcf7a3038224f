"""Places and vectors for the Parquet benchmarks: real grids at a real place, vectors that vary over the ground.

Belongs here: simulated rows, the reads that people ask of them, timing round by round. Does not: what is compared
(`parquet_layout.py`, `parquet_order.py`).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms import geohash, h3_index
from transforms.lattice import enumerate_places
from transforms.utm import project, unproject

FloatArray = npt.NDArray[np.float64]

PIXEL_DIMS, PATCH_DIMS = 64, 384
EPSG, WEST_M, SOUTH_M = 32648, 400_000.0, 1_350_000.0
PIXEL_M, BLOCK_PIXELS = 10, 1_024
#: Patches of both lattices on a square kilometre at this latitude.
PATCHES_PER_KM2 = 19.65
BOX_SHARE = 1 / 256
N_PROBES = 6
_CHUNK = 65_536


@dataclass(frozen=True)
class Ground:
    """Rows of one table in the order of the published files.

    Attributes:
        name: key of the results.
        places: `key`, `x_m`, `y_m`, `lon`, `lat`, `h3_r*`.
        vectors: float32 (n, dims).
        resolutions: H3 resolutions that are worth asking for: cells smaller than the ground.
    """

    name: str
    places: pa.Table
    vectors: npt.NDArray[np.float32]
    resolutions: tuple[int, ...]

    def number(self, column: str) -> npt.NDArray[Any]:
        """Give a column of the places."""
        return self.places[column].to_numpy()

    def reordered(self, order: npt.NDArray[np.int64]) -> Ground:
        """Give the same rows in another order."""
        return replace(self, places=self.places.take(order), vectors=self.vectors[order])

    def sorted_by_key(self) -> Ground:
        """Give the same rows in the order in which the warehouse stores them."""
        return self.reordered(np.argsort(self.number("key"), kind="stable"))


def make_pixels(
    name: str, n_rows: int, side_m: float, rng: np.random.Generator, resolutions: tuple[int, ...]
) -> Ground:
    """Draw pixels of a UTM grid, in file order: block by block, row by row (`aef` files have blocks of 1,024)."""
    width = int(side_m / PIXEL_M)
    chosen = rng.choice(width * width, size=min(n_rows, width * width), replace=False)
    row, col = np.divmod(chosen, width)
    order = np.lexsort((col, row, col // BLOCK_PIXELS, row // BLOCK_PIXELS))
    x_m, y_m = (start + (at[order] + 0.5) * PIXEL_M for start, at in ((WEST_M, col), (SOUTH_M, row)))
    lon, lat = unproject(x_m, y_m, EPSG)
    vectors = make_vectors(x_m, y_m, PIXEL_DIMS, rng)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    h3_columns = h3_index.ancestry(lon, lat, (5, 7, 9, 12))
    key = geohash.pixel_keys(lon, lat, EPSG)
    places = pa.table({"key": key, "x_m": x_m, "y_m": y_m, "lon": lon, "lat": lat, **h3_columns})
    return Ground(name, places, vectors, resolutions)


def make_patches(name: str, n_rows: int, rng: np.random.Generator) -> Ground:
    """List patches of both lattices, in the order of enumeration: primary first, row by row.

    Vectors have the spread of the published ones: not unit length, dimensions of unequal mean and scale.
    """
    side_m = 1e3 * math.sqrt(n_rows / PATCHES_PER_KM2)
    corner_x, corner_y = np.array([WEST_M, WEST_M + side_m]), np.array([SOUTH_M, SOUTH_M + side_m])
    (west, east), (south, north) = unproject(corner_x, corner_y, EPSG)
    found = enumerate_places(float(west), float(south), float(east), float(north))
    x_m, y_m = project(found.lon, found.lat, EPSG)
    scale = rng.lognormal(sigma=0.4, size=PATCH_DIMS).astype(np.float32) * 0.25
    mean = rng.normal(scale=0.6, size=PATCH_DIMS).astype(np.float32)
    vectors = make_vectors(x_m, y_m, PATCH_DIMS, rng) * scale + mean
    h3_columns = h3_index.ancestry(found.lon, found.lat, (5, 7, 9))
    key = geohash.encode(found.lon, found.lat)
    places = pa.table({"key": key, "x_m": x_m, "y_m": y_m, "lon": found.lon, "lat": found.lat, **h3_columns})
    return Ground(name, places, vectors, (5, 7))


def make_vectors(x_m: FloatArray, y_m: FloatArray, dims: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Make vectors that vary over the ground in both directions: 16 factors of plane waves of 0.3 to 30 km, and noise.

    Neighbours on the ground look alike; whether neighbours in the file do is left to the order of rows.
    """
    n_factors, n_waves = 16, 8
    length_m = np.exp(rng.uniform(math.log(300), math.log(30_000), size=(n_factors, n_waves)))
    angle, phase = rng.uniform(0, 2 * np.pi, size=(2, n_factors, n_waves))
    strength = np.sqrt(length_m / 10_000)
    mix = rng.normal(size=(n_factors, dims)).astype(np.float32)
    vectors = rng.standard_normal(size=(len(x_m), dims), dtype=np.float32)
    factors = np.empty((min(_CHUNK, len(x_m)), n_factors), np.float32)
    for start in range(0, len(x_m), _CHUNK):
        part = slice(start, start + _CHUNK)
        for i in range(n_factors):
            at = np.outer(x_m[part], np.cos(angle[i]) / length_m[i]) + np.outer(
                y_m[part], np.sin(angle[i]) / length_m[i]
            )
            factors[: len(at), i] = np.tanh(np.cos(2 * np.pi * at + phase[i]) @ strength[i])
        vectors[part] += factors[: len(at)] @ mix
    return vectors


def sort_along_hilbert(x_m: FloatArray, y_m: FloatArray, bits: int = 16) -> npt.NDArray[np.int64]:
    """Give the order of points along a Hilbert curve over their square.

    Source: Wikipedia, "Hilbert curve", function `xy2d`, over arrays.
    """
    side_m = max(float(np.ptp(x_m)), float(np.ptp(y_m)), 1.0)
    x, y = (((v - v.min()) / side_m * (2**bits - 1)).astype(np.int64) for v in (x_m, y_m))
    distance = np.zeros(len(x), np.int64)
    for bit in range(bits - 1, -1, -1):
        is_right, is_upper = (x >> bit) & 1, (y >> bit) & 1
        distance += ((3 * is_right) ^ is_upper) << (2 * bit)
        mirrored = (is_upper == 0) & (is_right == 1)
        x, y = (np.where(mirrored, 2**bits - 1 - v, v) for v in (x, y))
        x, y = np.where(is_upper == 0, y, x), np.where(is_upper == 0, x, y)
    return np.argsort(distance, kind="stable")


def list_boxes(ground: Ground, rng: np.random.Generator) -> list[dict[str, tuple[float, float]]]:
    """List boxes in degrees of 1/256 of the area: (low, high) by column."""
    share = math.sqrt(BOX_SHARE)
    boxes = []
    for _ in range(N_PROBES):
        box = {}
        for column in ("lon", "lat"):
            low, high = ground.number(column).min(), ground.number(column).max()
            first = low + (high - low) * float(rng.uniform(0, 1 - share))
            box[column] = (float(first), float(first + (high - low) * share))
        boxes.append(box)
    return boxes


def list_cells(ground: Ground, resolution: int, rng: np.random.Generator) -> list[dict[str, tuple[int, int]]]:
    """List H3 cells of a resolution that hold rows, each as often as it holds rows: (cell, cell) by column."""
    column = f"h3_r{resolution}"
    cells = rng.choice(ground.number(column), size=N_PROBES)
    return [{column: (int(cell), int(cell))} for cell in cells]


def where_clause(bounds: Mapping[str, tuple[float, float]]) -> str:
    """Spell bounds as SQL; one value is an equality."""
    terms = [f"{c} = {low}" if low == high else f"{c} between {low} and {high}" for c, (low, high) in bounds.items()]
    return " and ".join(terms)


def vector_bytes(path: Path, names: list[str]) -> int:
    """Add up what the vector's columns take in a file."""
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(metadata.num_columns)]
    return sum(c.total_compressed_size for c in chunks if c.path_in_schema.split(".")[0] in names)


def median_seconds(cases: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run all cases once per round, in their order, and give medians of the CPU seconds of this process.

    Interleaving spreads what else the machine does over all cases alike. A first round is not counted: it warms up.
    """
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds + 1):
        for name, case in cases.items():
            watch = time.process_time()
            case()
            found[name].append(time.process_time() - watch)
    return {name: statistics.median(seconds[1:]) for name, seconds in found.items()}
