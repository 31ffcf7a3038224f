"""Simulated patch vectors: 384 numbers per 320 m footprint, of no particular length.

A vector is a random two-layer network of what the footprint shows (composition, layout, texture, drift), with
noise before and after the nonlinearity; it sees classes, never pixel vectors. Belongs here: features of
footprints and the network. Does not: which patches exist, files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from transforms.simulation.landscape import N_DRIFT, Landscape
from transforms.simulation.noise import derive_key, derive_rng, mix64
from transforms.simulation.parcels import COARSE_PX
from transforms.simulation.spec import N_CLASSES, NO_CLASS, PIXEL_M, SignalStrengths

FloatArray = npt.NDArray[np.float32]

DIMS = 384
#: Pixels along the side of a footprint.
SIDE_PX = 32
#: Published elements lie between these; larger ones are bent back smoothly.
VALUE_RANGE = (-5.5, 4.3)
_N_HIDDEN = 256
_N_NOISE = 4_096
#: Columns of the raw features: shares, quadrant shares, spread of each class, edge and parcel density.
_QUADRANTS = slice(N_CLASSES, 5 * N_CLASSES)
_SPREAD = slice(5 * N_CLASSES, 6 * N_CLASSES)
_N_RAW = 6 * N_CLASSES + 2
_N_FEATURES = _N_RAW + N_DRIFT


@dataclass(frozen=True)
class PatchModel:
    """The network and the noise tables.

    Attributes:
        into_hidden: float32 (features, 256).
        bias: float32 (256,).
        out_of_hidden: float32 (256, 384).
        scene_noise: float32 (4096, features); any two rows add up to unit variance.
        noise: float32 (4096, 384); the same.
    """

    into_hidden: FloatArray
    bias: FloatArray
    out_of_hidden: FloatArray
    scene_noise: FloatArray
    noise: FloatArray


def build_patch_model(seed: int) -> PatchModel:
    """Draw the network of a world."""
    rng = derive_rng(seed, "patch model")
    return PatchModel(
        into_hidden=rng.standard_normal((_N_FEATURES, _N_HIDDEN), dtype=np.float32) * np.float32(0.30),
        bias=rng.standard_normal(_N_HIDDEN, dtype=np.float32) * np.float32(0.5),
        out_of_hidden=rng.standard_normal((_N_HIDDEN, DIMS), dtype=np.float32) / np.float32(np.sqrt(_N_HIDDEN)),
        scene_noise=rng.standard_normal((_N_NOISE, _N_FEATURES), dtype=np.float32) / np.float32(np.sqrt(2)),
        noise=rng.standard_normal((_N_NOISE, DIMS), dtype=np.float32) / np.float32(np.sqrt(2)),
    )


@dataclass(frozen=True)
class Footprints:
    """Patches of one file.

    Attributes:
        ids: uint64 (n,).
        x_m: float64 (n,), centroid in metres of `epsg`.
        y_m: float64 (n,).
        epsg: the file's zone; footprints are parallel to its axes.
    """

    ids: npt.NDArray[np.uint64]
    x_m: npt.NDArray[np.float64]
    y_m: npt.NDArray[np.float64]
    epsg: int


def render_patches(
    landscape: Landscape,
    model: PatchModel,
    patches: Footprints,
    strengths: SignalStrengths,
    seed: int,
    copy: str,
) -> tuple[FloatArray, npt.NDArray[np.float64]]:
    """Compute the vectors that one file holds.

    Args:
        landscape: the ground; its full year is shown.
        model: network and noise.
        patches: the file's patches.
        strengths: weights of the features and of the noise.
        seed: the world's seed.
        copy: name of the file; copies of a patch in two files differ by `strengths.patch_copy_noise`.

    Returns:
        float32 (n, 384) in `VALUE_RANGE`, and float64 (n,): share of the footprint that has a class.
    """
    origin, steps = _local_axes(landscape, patches)
    raw = np.zeros((len(patches.ids), _N_RAW), np.float32)
    land = np.empty(len(patches.ids))
    _describe(landscape.classes[landscape.spec.full_year], landscape.parcels, origin, steps, raw, land)
    features = _weigh(raw, _drift_at(landscape, origin), strengths)
    base = derive_key(seed, "patch noise")
    features += strengths.patch_scene * _lookup(model.scene_noise, patches.ids, base)
    hidden = np.tanh(features @ model.into_hidden + model.bias)
    vectors = 2.0 * (hidden @ model.out_of_hidden)
    vectors += strengths.patch_noise * _lookup(model.noise, patches.ids, base + 1)
    vectors += strengths.patch_copy_noise * _lookup(model.noise, patches.ids, derive_key(seed, "copy", copy))
    low, high = VALUE_RANGE
    bound = np.where(vectors < 0, np.float32(-low), np.float32(high))
    return (bound * np.tanh(vectors / bound)).astype(np.float32), land


def _weigh(raw: FloatArray, drift: FloatArray, strengths: SignalStrengths) -> FloatArray:
    """Scale the features to about unit variance, times their strengths."""
    weights = np.empty(_N_RAW, np.float32)
    weights[:] = 4.0 * strengths.patch_composition
    weights[_QUADRANTS] = 3.0 * strengths.patch_layout
    weights[_SPREAD] = 4.0 * strengths.patch_texture
    weights[_SPREAD.stop :] = 10.0 * strengths.patch_texture
    return np.concatenate([raw * weights, drift * np.float32(strengths.patch_drift)], axis=1)


def _local_axes(landscape: Landscape, patches: Footprints) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give master positions (n, 2) of the centroids and master steps (n, 2, 2) of one pixel in y and in x."""
    origin = np.stack(landscape.grid.positions(patches.x_m, patches.y_m, patches.epsg), axis=-1)
    reach = SIDE_PX / 2
    north = landscape.grid.positions(patches.x_m, patches.y_m + reach * PIXEL_M, patches.epsg)
    east = landscape.grid.positions(patches.x_m + reach * PIXEL_M, patches.y_m, patches.epsg)
    steps = np.stack([np.stack(north, axis=-1) - origin, np.stack(east, axis=-1) - origin], axis=1) / reach
    return origin, steps


def _drift_at(landscape: Landscape, origin: npt.NDArray[np.float64]) -> FloatArray:
    at = origin.T / COARSE_PX - 0.5
    drift: FloatArray = np.stack(
        [map_coordinates(field, at, order=1, mode="nearest") for field in landscape.drift], axis=-1
    )
    return drift


def _lookup(table: FloatArray, ids: npt.NDArray[np.uint64], key: int) -> FloatArray:
    """Give each id the sum of the two rows that it hashes to under a key."""
    chance = _hash_ids(ids, np.uint64(key))
    mask = np.uint64(_N_NOISE - 1)
    rows: FloatArray = table[chance & mask] + table[(chance >> np.uint64(20)) & mask]
    return rows


@nb.njit(cache=True)
def _hash_ids(ids: npt.NDArray[np.uint64], key: np.uint64) -> npt.NDArray[np.uint64]:
    out = np.empty(len(ids), np.uint64)
    for n in range(len(ids)):
        out[n] = mix64(mix64(key) ^ ids[n])
    return out


@nb.njit(nogil=True, cache=True)
def _describe(
    classes: npt.NDArray[np.uint8],
    parcels: npt.NDArray[np.uint16],
    origin: npt.NDArray[np.float64],
    steps: npt.NDArray[np.float64],
    raw: FloatArray,
    land: npt.NDArray[np.float64],
) -> None:
    """Count what lies in each footprint: shares, quadrant shares, spread, edges, parcel borders."""
    half = SIDE_PX // 2
    for n in range(len(origin)):
        sums = np.zeros((N_CLASSES, 4))
        edges = borders = valid = 0
        before, before_parcel = NO_CLASS, -1
        for i in range(SIDE_PX):
            for j in range(SIDE_PX):
                up, right = i - half + 0.5, j - half + 0.5
                r = int(np.floor(origin[n, 0] + up * steps[n, 0, 0] + right * steps[n, 1, 0]))
                c = int(np.floor(origin[n, 1] + up * steps[n, 0, 1] + right * steps[n, 1, 1]))
                k = classes[r, c]
                if k != NO_CLASS:
                    valid += 1
                    raw[n, k] += 1.0
                    raw[n, N_CLASSES * (1 + 2 * (i // half) + j // half) + k] += 1.0
                    sums[k, 0] += up
                    sums[k, 1] += right
                    sums[k, 2] += up * up + right * right
                if j > 0:
                    edges += k != before
                    borders += parcels[r, c] != before_parcel
                before, before_parcel = k, parcels[r, c]
        pixels = SIDE_PX * SIDE_PX
        for k in range(N_CLASSES):
            count = raw[n, k]
            if count > 0:
                variance = sums[k, 2] / count - (sums[k, 0] ** 2 + sums[k, 1] ** 2) / count**2
                raw[n, 5 * N_CLASSES + k] = count / pixels * np.sqrt(max(variance, 0.0)) / half
        for k in range(5 * N_CLASSES):
            raw[n, k] /= pixels if k < N_CLASSES else pixels / 4
        raw[n, 6 * N_CLASSES] = edges / pixels
        raw[n, 6 * N_CLASSES + 1] = borders / pixels
        land[n] = valid / pixels
