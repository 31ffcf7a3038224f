"""The simulated landscape, its labels and both kinds of vectors, as arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from transforms import geohash
from transforms.blocks import assign_blocks
from transforms.lattice import enumerate_places
from transforms.quantization import NODATA, dequantize, quantize
from transforms.sentinel2 import sentinel2_tile_box
from transforms.simulation.label_errors import mislabel
from transforms.simulation.landscape import Landscape, build_landscape, changed_pixels
from transforms.simulation.noise import derive_key, derive_rng, smooth_field
from transforms.simulation.patch_vectors import VALUE_RANGE, Footprints, build_patch_model, render_patches
from transforms.simulation.pixel_vectors import PixelPlaces, build_pixel_model, render_codes
from transforms.simulation.pyramid import halve_sums, overview_codes, sum_codes
from transforms.simulation.spec import (
    DEFAULT,
    FAVOUR_PATCHES,
    FAVOUR_PIXELS,
    N_CLASSES,
    NO_CLASS,
    PIXEL_M,
    TILES,
    SignalStrengths,
    describe_world,
    world_spec,
)
from transforms.utm import project, unproject

MASTER_EPSG = 32648
SEED = 3


@pytest.fixture(scope="module")
def tiny() -> Landscape:
    return build_landscape(world_spec("tiny"), SEED)


@pytest.fixture(scope="module")
def demo() -> Landscape:
    return build_landscape(world_spec("demo"), SEED)


def _shares(classes: np.ndarray) -> np.ndarray:
    land = classes[classes != NO_CLASS]
    return np.bincount(land, minlength=N_CLASSES) / len(land)


def test_demo_holds_36_whole_blocks_of_land(demo: Landscape) -> None:
    grid = demo.grid
    rows, cols = np.meshgrid(np.arange(2, grid.height, 4), np.arange(2, grid.width, 4), indexing="ij")
    x, y = grid.west_m + (cols + 0.5) * PIXEL_M, grid.south_m + (rows + 0.5) * PIXEL_M
    lon, lat = unproject(x.ravel(), y.ravel(), MASTER_EPSG)
    blocks = assign_blocks(lon, lat, 5000.0)
    is_land = (demo.classes[2024][rows, cols] != NO_CLASS).ravel()
    _, index = np.unique(blocks, return_inverse=True)
    whole = np.bincount(index[is_land]) >= 0.995 * 25e6 / (4 * PIXEL_M) ** 2
    assert whole.sum() >= 36
    assert (demo.classes[2024] != NO_CLASS).sum() * 1e-4 >= 900
    assert 95 <= (demo.classes[2023] != NO_CLASS).sum() * 1e-4 <= 105


def test_every_class_takes_at_least_one_percent(demo: Landscape) -> None:
    shares = _shares(demo.classes[2024])
    assert shares.min() >= 0.01
    assert shares.max() <= 0.3


def test_label_range_is_at_most_2500_m(demo: Landscape) -> None:
    classes = demo.classes[2024]

    def disagreement(lag_m: int) -> float:
        lag = round(lag_m / PIXEL_M)
        a, b = classes[:, :-lag], classes[:, lag:]
        both = (a != NO_CLASS) & (b != NO_CLASS)
        return float((a != b)[both].mean())

    sill = disagreement(5_000)
    assert disagreement(2_500) >= 0.95 * sill
    assert disagreement(200) <= 0.75 * sill


def test_world_has_thin_and_small_objects(demo: Landscape) -> None:
    # erosion by 2 px each way removes what is at most 4 px wide; most roads and much water must go
    classes = demo.classes[2024]
    thin = {}
    for k in (4, 6):
        inside = classes == k
        core = inside.copy()
        for shift in (-2, -1, 1, 2):
            core &= np.roll(inside, shift, axis=0) & np.roll(inside, shift, axis=1)
        thin[k] = 1 - core.sum() / inside.sum()
    assert all(share > 0.2 for share in thin.values())  # built-up roads, and water


def test_year_2023_differs_by_known_clearings_only(demo: Landscape) -> None:
    early, late, change = demo.classes[2023], demo.classes[2024], changed_pixels(demo)
    has_data = early != NO_CLASS
    assert (change[~has_data] == NO_CLASS).all()
    assert ((change == 1) == ((early != late) & has_data)).all()
    assert 0.02 < (change == 1).sum() / has_data.sum() < 0.2
    moves = set(zip(early[change == 1].tolist(), late[change == 1].tolist(), strict=True))
    assert moves == {(0, 3), (3, 4), (2, 4)}  # forest to crop; crop or grass to built


def test_same_seed_same_landscape_other_seed_another(tiny: Landscape) -> None:
    again = build_landscape(world_spec("tiny"), SEED)
    other = build_landscape(world_spec("tiny"), SEED + 1)
    assert (again.classes[2024] == tiny.classes[2024]).all()
    assert (again.parcels == tiny.parcels).all()
    assert (other.classes[2024] != tiny.classes[2024]).mean() > 0.3


@pytest.mark.parametrize("epsg", [32647, 32648])
def test_window_positions_match_projection_of_each_pixel(tiny: Landscape, epsg: int) -> None:
    x0, y0 = (round(float(v), -1) for v in project(102.0, 12.645, epsg))
    rows, cols = tiny.grid.window_positions((x0, y0), (10.0, 10.0), (70, 90), epsg)
    x, y = np.meshgrid(x0 + 5 + 10 * np.arange(90), y0 + 5 + 10 * np.arange(70))
    true_rows, true_cols = tiny.grid.positions(x, y, epsg)
    np.testing.assert_allclose(rows, true_rows, atol=1e-3)
    np.testing.assert_allclose(cols, true_cols, atol=1e-3)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_label_errors_have_the_rate_asked_for(tiny: Landscape, rate: float) -> None:
    truth = tiny.classes[2024]
    labels = mislabel(truth, rate, SEED)
    land = truth != NO_CLASS
    assert (labels[~land] == NO_CLASS).all()
    assert (labels[land] < N_CLASSES).all()
    assert (labels != truth)[land].mean() == pytest.approx(rate, abs=1e-4)


def test_label_errors_gather_at_parcel_edges(tiny: Landscape) -> None:
    truth = tiny.classes[2024]
    wrong = mislabel(truth, 0.05, SEED) != truth
    edge = np.zeros_like(wrong)
    edge[:, 1:] |= truth[:, 1:] != truth[:, :-1]
    edge[:, :-1] |= truth[:, 1:] != truth[:, :-1]
    edge[1:] |= truth[1:] != truth[:-1]
    edge[:-1] |= truth[1:] != truth[:-1]
    assert edge[wrong].mean() > 0.65
    assert wrong[~edge & (truth != NO_CLASS)].mean() > 0.005


@given(
    hnp.arrays(np.int8, (3, 4, 8), elements=st.integers(-127, 127)),
    hnp.arrays(np.bool_, (4, 8)),
)
def test_overview_is_the_renormalised_mean_of_valid_pixels(codes: np.ndarray, missing: np.ndarray) -> None:
    codes = codes.copy()
    codes[:, missing] = NODATA
    found = overview_codes(halve_sums(sum_codes(codes)))
    vectors = dequantize(codes).astype(np.float64)
    for j in range(2):
        part = vectors[:, :, 4 * j : 4 * j + 4].reshape(3, 16)
        valid = ~np.isnan(part[0])
        total = part[:, valid].sum(axis=1)
        if np.allclose(total, 0):
            assert (found[:, 0, j] == NODATA).all()
        else:
            expected = quantize(total / np.linalg.norm(total))
            assert np.abs(found[:, 0, j].astype(int) - expected).max() <= 1


def test_smooth_field_has_unit_variance_and_the_stated_range() -> None:
    field = smooth_field(derive_rng(0, "test"), (600, 600), 5.0)
    assert field.std() == pytest.approx(1.0, abs=0.06)
    # correlation exp(-h^2 / (4 sigma^2)) is 5 % at 2 sqrt(3) sigma = 17.3 cells
    assert abs(np.corrcoef(field[:, :-17].ravel(), field[:, 17:].ravel())[0, 1] - 0.05) < 0.06


def test_keys_depend_on_every_label() -> None:
    keys = {derive_key(1), derive_key(2), derive_key(1, "a"), derive_key(1, "a", 1), derive_key(1, "a", 11)}
    assert len(keys) == 5


def test_description_tells_worlds_apart() -> None:
    spec = world_spec("tiny")
    assert describe_world(spec, DEFAULT, 0) == describe_world(world_spec("tiny"), SignalStrengths(), 0)
    assert describe_world(spec, DEFAULT, 0) != describe_world(spec, FAVOUR_PIXELS, 0)
    assert describe_world(spec, DEFAULT, 0) != describe_world(spec, DEFAULT, 1)


def test_four_tiles_meet_inside_both_worlds() -> None:
    for size in ("tiny", "demo"):
        west, south, east, north = world_spec(size).bbox
        for tile in TILES:
            box = sentinel2_tile_box(tile)
            lon, lat = unproject([box.west, box.east], [box.south, box.north], box.epsg)
            assert lon[0] < west
            assert lon[1] > east
            assert lat[0] < north
            assert lat[1] > south
        # the upper edge of the lower row crosses the world
        assert all(south < _upper_edge_lat(tile) < north for tile in TILES if tile[-1] in "PU")


def _upper_edge_lat(tile: str) -> float:
    box = sentinel2_tile_box(tile)
    x, _ = project(102.0, 12.64, box.epsg)
    return float(unproject(x, box.north, box.epsg)[1])


def _window(landscape: Landscape, row: int, col: int, side: int) -> PixelPlaces:
    rows, cols = np.meshgrid(row + np.arange(side) + 0.5, col + np.arange(side) + 0.5, indexing="ij")
    return PixelPlaces(
        MASTER_EPSG,
        landscape.grid.west_m + PIXEL_M * col,
        landscape.grid.south_m + PIXEL_M * row,
        rows.astype(np.float32),
        cols.astype(np.float32),
        np.zeros(side, np.int64),
        np.full(side, side, np.int64),
    )


def test_pixel_vectors_have_unit_length_and_ignore_how_the_window_is_cut(tiny: Landscape) -> None:
    model = build_pixel_model(tiny, DEFAULT, SEED, 2024)
    whole = np.empty((64, 200, 200), np.int8)
    render_codes(tiny, model, _window(tiny, 300, 300, 200), SEED, 2024, whole)
    part = np.empty((64, 50, 50), np.int8)
    render_codes(tiny, model, _window(tiny, 370, 410, 50), SEED, 2024, part)
    norms = np.linalg.norm(dequantize(whole), axis=0)
    assert norms.min() >= 0.99
    assert norms.max() <= 1.01
    assert (part == whole[:, 70:120, 110:160]).all()


def _task(landscape: Landscape, strengths: SignalStrengths) -> dict[str, float]:
    """Macro-F1 of the majority class of pure patches, half trained on, half tested, per kind of vector."""
    west, south, east, north = landscape.spec.bbox
    places = enumerate_places(west + 0.004, south + 0.01, east - 0.004, north - 0.004)
    x, y = project(places.lon, places.lat, MASTER_EPSG)
    patches = Footprints(geohash.encode(places.lon, places.lat), x, y, MASTER_EPSG)
    native, _ = render_patches(landscape, build_patch_model(SEED), patches, strengths, SEED, "copy")
    model = build_pixel_model(landscape, strengths, SEED, 2024)
    rows, cols = (np.floor(p).astype(int) - 16 for p in landscape.grid.positions(x, y, MASTER_EPSG))
    pooled, majority, purity = [], [], []
    codes = np.empty((64, 32, 32), np.int8)
    for row, col in zip(rows, cols, strict=True):
        render_codes(landscape, model, _window(landscape, row, col, 32), SEED, 2024, codes)
        v = dequantize(codes).reshape(64, -1)
        pooled.append(np.concatenate([v.min(1), v.max(1), v.mean(1), v.std(1)]))
        shares = _shares(landscape.classes[2024][row : row + 32, col : col + 32])
        majority.append(shares.argmax())
        purity.append(shares.max())
    pure = np.array(purity) >= 0.5
    truth = np.array(majority)[pure]
    train = np.random.default_rng(0).random(len(truth)) < 0.5
    scores = {}
    for name, table in (("native", native[pure]), ("pooled", np.array(pooled)[pure])):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
        found = probe.fit(table[train], truth[train]).predict(table[~train])
        scores[name] = f1_score(truth[~train], found, average="macro")
    return scores


def test_presets_flip_which_kind_of_vector_wins(tiny: Landscape) -> None:
    patches_win = _task(tiny, FAVOUR_PATCHES)
    pixels_win = _task(tiny, FAVOUR_PIXELS)
    assert patches_win["native"] > patches_win["pooled"] + 0.05
    assert pixels_win["pooled"] > pixels_win["native"] + 0.05


def test_patch_vectors_stay_in_the_published_range_and_copies_differ_a_little(tiny: Landscape) -> None:
    x, y = project(np.full(50, 102.005), np.linspace(12.64, 12.66, 50), MASTER_EPSG)
    patches = Footprints(np.arange(50, dtype=np.uint64) * 977 + 11, x, y, MASTER_EPSG)
    model = build_patch_model(SEED)
    first, land = render_patches(tiny, model, patches, DEFAULT, SEED, "47PRP")
    second, _ = render_patches(tiny, model, patches, DEFAULT, SEED, "48PSU")
    without = dataclasses.replace(DEFAULT, patch_copy_noise=0.0)
    third, _ = render_patches(tiny, model, patches, without, SEED, "47PRP")
    fourth, _ = render_patches(tiny, model, patches, without, SEED, "48PSU")
    assert (land == 1).all()
    assert first.min() >= VALUE_RANGE[0]
    assert first.max() <= VALUE_RANGE[1]
    assert np.ptp(np.linalg.norm(first, axis=1)) > 0.5
    assert 0 < np.abs(first - second).mean() < 0.2 * first.std()
    assert (third == fourth).all()
