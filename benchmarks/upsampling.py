"""How fast are upsampled windows and points, against peers that do the same work? The bars of the project's plan.

Everything is simulated: random vectors on a square grid of 320 m patches (one lattice, so that torch and scipy can do
the same) and on both Earth Genome lattices at 12.6 N. One process, one thread, CPU seconds of that thread; rounds are
interleaved (each round runs every contender once) and the median over rounds is reported. Absolute figures are those
of one machine; compare ratios of one run only.

    python benchmarks/upsampling.py            # table of ratios
    python benchmarks/upsampling.py --json     # the last line is one JSON object
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch
from affine import Affine
from peak_memory import peak_bytes
from scipy.ndimage import map_coordinates
from threadpoolctl import threadpool_limits

from transforms import lattice
from transforms.upsampling.basis import fit_basis, project
from transforms.upsampling.bilinear import BilinearUpsampler, bilinear_weights, interpolate
from transforms.upsampling.dense import upsample_window, upsample_window_codes
from transforms.upsampling.rows import RowLattice, eg_rows, grid_rows
from transforms.upsampling.sums import aligned_empty
from transforms.utm import project as to_metres
from transforms.windows import PixelGrid

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

EPSG, ZONE_CENTER = 32648, (105.2, 12.6)
PIXEL_M, PATCH_M = 10.0, 320.0
PATCH_PX = int(PATCH_M / PIXEL_M)
DIMS, REDUCED_DIMS, CODE_DIMS = 384, 16, 64
#: Scipy takes one channel at a time; this many are timed and scaled up.
SCIPY_CHANNELS = 8
#: A bar is what the ratio must reach at least.
BARS = {
    "bilinear / torch": 5.0,
    "bilinear / scipy": 40.0,
    "bilinear / fill": 0.6,
    "reduce first / last": 20.0,
    "sampled / numpy": 8.0,
}


@dataclass(frozen=True)
class Field:
    """Patches of one kind of lattice, and a window inside them.

    Attributes:
        rows: the lattice.
        vectors: float32 (n, 384).
        grid: the window.
    """

    rows: RowLattice
    vectors: Float32Array
    grid: PixelGrid


def make_square(window_px: int, rng: np.random.Generator) -> tuple[Field, Float32Array]:
    """Make a square grid of patches whose corner is the window's, and its vectors as an image (1, d, n, n)."""
    n = window_px // PATCH_PX
    row, col = np.divmod(np.arange(n * n), n)
    west, north = 500_000.0, 1_400_000.0
    rows = grid_rows(west + PATCH_M * (col + 0.5), north - PATCH_M * (row + 0.5))
    vectors = rng.normal(size=(n * n, DIMS)).astype(np.float32)
    grid = PixelGrid(EPSG, Affine(PIXEL_M, 0, west, 0, -PIXEL_M, north), window_px, window_px)
    return Field(rows, vectors, grid), np.ascontiguousarray(vectors.T.reshape(1, DIMS, n, n))


def make_earth_genome(window_px: int, area_m: float, rng: np.random.Generator) -> Field:
    """Make both Earth Genome lattices over a square area, and a window at its centre."""
    lon, lat = ZONE_CENTER
    half_v = area_m / 2 / 111_000.0
    half_u = half_v / np.cos(np.radians(lat))
    places = lattice.enumerate_places(lon - half_u, lat - half_v, lon + half_u, lat + half_v)
    rows = eg_rows(places.is_secondary, places.row, places.lon, places.lat)
    x, y = (float(c) for c in to_metres(lon, lat, EPSG))
    half = window_px * PIXEL_M / 2
    grid = PixelGrid(EPSG, Affine(PIXEL_M, 0, x - half, 0, -PIXEL_M, y + half), window_px, window_px)
    return Field(rows, rng.normal(size=(len(places), DIMS)).astype(np.float32), grid)


def torch_window(image: torch.Tensor, window_px: int) -> torch.Tensor:
    """Give (1, d, height, width) by torch, pixel centres as half-pixel offsets."""
    return torch.nn.functional.interpolate(image, size=(window_px, window_px), mode="bilinear", align_corners=False)


def scipy_window(image: Float32Array, window_px: int, channels: int) -> Float32Array:
    """Give (channels, height, width) by scipy, channel by channel: it has no other form for vectors."""
    at = (np.arange(window_px) + 0.5) / PATCH_PX - 0.5
    coordinates = np.stack(np.meshgrid(at, at, indexing="ij"))
    return np.stack([map_coordinates(image[0, c], coordinates, order=1, mode="nearest") for c in range(channels)])


def numpy_sample(field: Field, u: Float64Array, v: Float64Array) -> Float32Array:
    """Give bilinear vectors at points inside full lattices by numpy alone: searches, one gather, one contraction."""
    rows = field.rows
    # one ascending number for all patches: rows one after the other
    span = float(np.ptp(rows.u)) + 1.0
    row_of = np.repeat(np.arange(len(rows.row_v)), np.diff(rows.row_start))
    sorted_at = row_of * span + (rows.u - rows.u.min())
    index, weight = [], []
    for k in range(rows.n_lattices):
        first, stop = rows.lattice_start[k], rows.lattice_start[k + 1]
        north = np.searchsorted(rows.row_v[first:stop], v, side="right") + first
        share_v = (v - rows.row_v[north - 1]) / (rows.row_v[north] - rows.row_v[north - 1])
        for row, row_share in ((north - 1, 1.0 - share_v), (north, share_v)):
            east = np.searchsorted(sorted_at, row * span + (u - rows.u.min()), side="right")
            share_u = (u - rows.u[east - 1]) / (rows.u[east] - rows.u[east - 1])
            index += [rows.patch[east - 1], rows.patch[east]]
            weight += [row_share * (1.0 - share_u), row_share * share_u]
    weights = (np.stack(weight, axis=1) / rows.n_lattices).astype(np.float32)
    return np.einsum("mk,mkd->md", weights, field.vectors[np.stack(index, axis=1)])


def time_all(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Give the median CPU seconds of each contender; each round runs all of them once, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for warm_up in range(rounds + 1):
        for name, run in contenders.items():
            start = time.thread_time()
            run()
            if warm_up:
                seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def check_agreement(field: Field, image: Float32Array, out: Float32Array) -> float:
    """Give the largest difference of the three dense contenders; fail if they do not do the same work."""
    size = field.grid.width
    upsample_window(BilinearUpsampler().fit(field.rows, field.vectors), field.rows, field.grid, out)
    by_torch = torch_window(torch.from_numpy(image), size).numpy()[0].transpose(1, 2, 0)
    by_scipy = scipy_window(image, size, SCIPY_CHANNELS).transpose(1, 2, 0)
    worst = max(
        float(np.abs(out - by_torch).max()),
        float(np.abs(out[..., :SCIPY_CHANNELS] - by_scipy).max()),
    )
    if not worst < 1e-4:
        raise SystemExit(f"dense contenders: found differences up to {worst}, expected below 1e-4: not the same work")
    return worst


def measure_dense(window_px: int, rounds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Measure dense windows of 384 dimensions in pixels a second."""
    square, image = make_square(window_px, rng)
    both = make_earth_genome(window_px, window_px * PIXEL_M + 3000, rng)
    out = aligned_empty((window_px, window_px, DIMS))
    worst = check_agreement(square, image, out)
    bilinear = BilinearUpsampler().fit(square.rows, square.vectors)
    two = BilinearUpsampler().fit(both.rows, both.vectors)
    tensor = torch.from_numpy(image)
    # torch's own fastest form of the same result: channels last, as vectors of pixels are
    last = tensor.contiguous(memory_format=torch.channels_last)
    seconds = time_all(
        {
            "fill": lambda: out.fill(1.5),
            "bilinear": lambda: upsample_window(bilinear, square.rows, square.grid, out),
            "bilinear_two_lattices": lambda: upsample_window(two, both.rows, both.grid, out),
            "torch": lambda: torch_window(tensor, window_px),
            "torch_channels_last": lambda: torch_window(last, window_px),
            "scipy": lambda: scipy_window(image, window_px, SCIPY_CHANNELS),
        },
        rounds,
    )
    seconds["scipy"] *= DIMS / SCIPY_CHANNELS
    # the faster of torch's two forms is the peer
    seconds["torch_channels_first"] = seconds["torch"]
    seconds["torch"] = min(seconds["torch"], seconds["torch_channels_last"])
    rates = {f"{name}_px_s": window_px**2 / s for name, s in seconds.items()}
    return rates | {"dense_window_px": window_px, "d": DIMS, "largest_difference": worst}


def measure_reduction(window_px: int, rounds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Measure a window of few dimensions: patches reduced and then upsampled, against the other order."""
    square, _ = make_square(window_px, rng)
    both = make_earth_genome(window_px, window_px * PIXEL_M + 3000, rng)
    basis, code_basis = (fit_basis(square.vectors, k, seed=0) for k in (REDUCED_DIMS, CODE_DIMS))
    full = BilinearUpsampler().fit(square.rows, square.vectors)
    shape = (window_px, window_px)
    out, wide = aligned_empty((*shape, REDUCED_DIMS)), aligned_empty((*shape, CODE_DIMS))
    between = aligned_empty((*shape, DIMS))
    codes = np.empty((*shape, CODE_DIMS), np.int8)

    def reduce_first(field: Field, k_basis: Any, target: Float32Array) -> None:
        upsampler = BilinearUpsampler().fit(field.rows, project(field.vectors, k_basis))
        upsample_window(upsampler, field.rows, field.grid, target)

    def reduce_last(k_basis: Any) -> Float32Array:
        upsample_window(full, square.rows, square.grid, between)
        return project(between.reshape(-1, DIMS), k_basis)

    def write_codes(field: Field) -> None:
        upsampler = BilinearUpsampler().fit(field.rows, project(field.vectors, code_basis))
        upsample_window_codes(upsampler, field.rows, code_basis, field.grid, codes)

    reduce_first(square, basis, out)
    if not np.allclose(out.reshape(-1, REDUCED_DIMS), reduce_last(basis), atol=1e-4):
        raise SystemExit("reduce first and reduce last: found different values, expected the same work")
    seconds = time_all(
        {
            "reduce_first": lambda: reduce_first(square, basis, out),
            "reduce_last": lambda: reduce_last(basis),
            f"reduce_first_{CODE_DIMS}": lambda: reduce_first(square, code_basis, wide),
            f"reduce_last_{CODE_DIMS}": lambda: reduce_last(code_basis),
            "reduce_first_two_lattices": lambda: reduce_first(both, basis, out),
            "codes": lambda: write_codes(square),
            "codes_two_lattices": lambda: write_codes(both),
        },
        rounds,
    )
    rates = {f"{name}_px_s": window_px**2 / s for name, s in seconds.items()}
    return rates | {"reduced_window_px": window_px, "reduced_d": REDUCED_DIMS, "codes_d": CODE_DIMS}


def measure_sampled(n_points: int, rounds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Measure random points of 384 dimensions on both Earth Genome lattices, in points a second."""
    field = make_earth_genome(1024, 50_000.0, rng)
    lon, lat = ZONE_CENTER
    u = rng.uniform(lon - 0.2, lon + 0.2, n_points)
    v = rng.uniform(lat - 0.2, lat + 0.2, n_points)
    upsampler = BilinearUpsampler().fit(field.rows, field.vectors)
    if not np.allclose(upsampler.transform(u, v), numpy_sample(field, u, v), atol=1e-4):
        raise SystemExit("sampled contenders: found different values, expected the same work")
    in_order = np.lexsort((u, np.floor(v / lattice.ROW_HEIGHT_DEG)))
    index, weight, _ = bilinear_weights(field.rows, u, v)
    seconds = time_all(
        {
            "sampled_points": lambda: upsampler.transform(u, v),
            "numpy_sampled_points": lambda: numpy_sample(field, u, v),
            "numpy_gather_only_points": lambda: np.einsum("mk,mkd->md", weight, field.vectors[index]),
            "sampled_in_order_points": lambda: upsampler.transform(u[in_order], v[in_order]),
            "weights_points": lambda: bilinear_weights(field.rows, u, v),
            "interpolate_points": lambda: interpolate(field.vectors, index, weight),
        },
        rounds,
    )
    rates = {f"{name}_s": n_points / s for name, s in seconds.items()}
    return rates | {"n_points": n_points, "sampled_patches": len(field.vectors)}


def measure_peak(window_px: int, area_m: float) -> float:
    """Give the MB that one window adds to a fresh process at most, patches of the area not counted."""
    run = subprocess.run(
        [sys.executable, __file__, "--peak", str(window_px), str(area_m)], capture_output=True, text=True, check=True
    )
    return float(run.stdout.strip().splitlines()[-1])


def print_peak(window_px: int, area_m: float) -> None:
    """Print what one window adds to this process: its own array and all that it takes to fill it."""
    field = make_earth_genome(window_px, area_m, np.random.default_rng(0))
    upsampler = BilinearUpsampler().fit(field.rows, field.vectors)
    tiny = PixelGrid(EPSG, field.grid.affine, 2, 2)
    upsample_window(upsampler, field.rows, tiny)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = psutil.Process().memory_info().rss
    upsample_window(upsampler, field.rows, field.grid)
    print((peak_bytes() - before) / 1e6)


def measure(quick: bool) -> dict[str, Any]:
    """Run everything and give the figures."""
    rng = np.random.default_rng(0)
    window_px, n_points, rounds = (256, 20_000, 5) if quick else (512, 100_000, 7)
    figures: dict[str, Any] = {"is_simulated": True, "threads": 1, "cores": os.cpu_count(), "rounds": rounds}
    figures |= measure_dense(window_px, rounds, rng)
    figures |= measure_reduction(window_px if quick else 1024, rounds, rng)
    figures |= measure_sampled(n_points, rounds, rng)
    small, large = (15_000.0, 30_000.0) if quick else (20_000.0, 80_000.0)
    figures["window_mb"] = window_px**2 * DIMS * 4 / 1e6
    figures["peak_mb_small_area"] = measure_peak(window_px, small)
    figures["peak_mb"] = measure_peak(window_px, large)
    figures["peak_areas_km"] = [small / 1000, large / 1000]
    return figures


def ratios(figures: dict[str, Any]) -> dict[str, float]:
    """Give the ratios that have bars."""
    return {
        "bilinear / torch": figures["bilinear_px_s"] / figures["torch_px_s"],
        "bilinear / scipy": figures["bilinear_px_s"] / figures["scipy_px_s"],
        "bilinear / fill": figures["bilinear_px_s"] / figures["fill_px_s"],
        "reduce first / last": figures["reduce_first_px_s"] / figures["reduce_last_px_s"],
        "sampled / numpy": figures["sampled_points_s"] / figures["numpy_sampled_points_s"],
    }


def main() -> None:
    """Measure, print a table, and with `--json` one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="small windows: to see that it runs, not to quote")
    parser.add_argument("--peak", nargs=2, type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if args.peak:
            print_peak(int(args.peak[0]), args.peak[1])
            return
        figures = measure(args.quick)
    for name, value in figures.items():
        print(f"{name:28s} {value / 1e6:10.2f} M/s" if name.endswith("_s") else f"{name:28s} {value!s:>10s}")
    for name, value in ratios(figures).items():
        print(f"{name:28s} {value:10.2f}  bar {BARS[name]}")
    if args.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
