"""Footprints over the edge of a UTM zone: whole, no ground twice, and the same whichever shard computes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import shapely
from affine import Affine

from transforms.places import PatchPlaces
from transforms.pooled_rows import RasterPooling, reached_zones
from transforms.pooling.operators import PooledPatches
from transforms.pooling.polygons import PolygonPooler
from transforms.utm import project, unproject
from transforms.windows import PixelWindow

EPSG, NEXT = 32647, 32648
EDGE_LON, LAT = 102.0, 12.65


def zone_window(epsg: int, code: int, is_valid: Callable[[np.ndarray], np.ndarray], size: int = 400) -> PixelWindow:
    """One code over 4 x 4 km around the zone edge, where `is_valid` of the longitude says so."""
    x, y = (float(v) for v in project(EDGE_LON, LAT, epsg))
    west, north = round(x / 10) * 10 - 5 * size, round(y / 10) * 10 + 5 * size
    xs, ys = np.meshgrid(west + 5 + 10 * np.arange(size), north - 5 - 10 * np.arange(size))
    valid = is_valid(unproject(xs, ys, epsg)[0])
    codes = np.where(valid, np.int8(code), np.int8(-128))[None].astype(np.int8)
    return PixelWindow(codes, valid, Affine(10, 0, west, 0, -10, north), epsg, str(epsg))


def at_seam(dx: float, dy: float, side: float = 320, turn: float = 0) -> shapely.Polygon:
    x, y = (float(v) for v in project(EDGE_LON, LAT, EPSG))
    box = shapely.box(x + dx - side / 2, y + dy - side / 2, x + dx + side / 2, y + dy + side / 2)
    return shapely.affinity.rotate(box, turn)


def pool_seam(
    shapes_: list[shapely.Polygon],
    own: list[PixelWindow],
    other: list[PixelWindow],
    columns: tuple[str, ...] = ("mean",),
) -> PooledPatches:
    pooler = PolygonPooler(np.array(shapes_), EPSG, 1, columns, min_coverage=0.0, continued=np.ones(len(shapes_), bool))
    for window in own:
        pooler.add(window)
    pooler.move_to(NEXT)
    for window in other:
        pooler.add(window)
    return pooler.finish()


def test_footprints_over_a_zone_edge_are_whole_and_no_ground_counts_twice() -> None:
    own = zone_window(EPSG, 100, lambda lon: lon < EDGE_LON + 0.0002)
    other = zone_window(NEXT, -100, lambda lon: lon > EDGE_LON - 0.002)  # overlaps by 240 m
    shapes_ = [
        at_seam(0, 0),
        at_seam(-90, 900, turn=30),
        at_seam(120, -700, turn=70),
        at_seam(300, 50),
        at_seam(0, 0, 1_500),
    ]
    pooled = pool_seam(shapes_, [own], [other])
    assert pooled.valid_fraction.tolist() == [1] * 5
    x, y = own.centers()
    squares = shapely.box(
        *(c.ravel() for c in np.meshgrid(x - 5, y - 5)), *(c.ravel() for c in np.meshgrid(x + 5, y + 5))
    )
    ground = shapely.union_all(squares[own.valid.ravel()])
    for k, shape in enumerate(shapes_):
        share = ground.intersection(shape).area / shape.area
        top = (100 / 127.5) ** 2
        assert pooled.columns["mean"][k, 0] == pytest.approx(top * (2 * share - 1), abs=2e-4)
    assert pooled.columns["mean"][3, 0] == np.float32(-((100 / 127.5) ** 2))  # wholly in the next zone


def test_a_footprint_whole_in_its_own_zone_takes_nothing_from_the_next() -> None:
    own, other = zone_window(EPSG, 50, lambda lon: lon < EDGE_LON + 0.01), zone_window(NEXT, 7, lambda lon: lon > 0)
    shapes_ = [at_seam(0, 0, turn=20), at_seam(100, 100)]
    alone = PolygonPooler(np.array(shapes_), EPSG, 1, ("mean",))
    alone.add(own)
    expected = alone.finish()
    pooled = pool_seam(shapes_, [own], [other])
    np.testing.assert_array_equal(pooled.columns["mean"], expected.columns["mean"])
    np.testing.assert_array_equal(pooled.n_pixels, expected.n_pixels)
    pooler = PolygonPooler(np.array(shapes_), EPSG, 1, ("mean",), continued=np.ones(2, bool))
    pooler.add(own)
    pooler.move_to(NEXT)
    assert pooler.boxes() == []  # so the neighbour's rasters are not even opened


def test_seams_ignore_order_and_cut_and_gather_pixels_of_both_zones() -> None:
    own = zone_window(EPSG, 100, lambda lon: lon < EDGE_LON)
    other = zone_window(NEXT, -20, lambda lon: lon > EDGE_LON - 0.001)
    own.valid[195:205, 190:210] = False  # a hole that the neighbour's overlap fills
    own.values[:, 195:205, 190:210] = -128
    columns = ("mean", "std", "median_iqr", "centre_weighted", "pyramid_2x2")
    shapes_ = [at_seam(0, 0, turn=10), at_seam(-60, 30)]
    whole = pool_seam(shapes_, [own], [other], columns)
    pieces = pool_seam(
        shapes_, cut_window(own, [170, 200], [203])[::-1], cut_window(other, [201], [190, 210])[::-1], columns
    )
    for name in columns:
        np.testing.assert_allclose(whole.columns[name], pieces.columns[name], rtol=1e-6, err_msg=name)
    assert whole.valid_fraction.tolist() == pieces.valid_fraction.tolist() == [1, 1]
    # west of the edge 100, east of it -20: the quarters of the pyramid tell them apart
    quarters = whole.columns["pyramid_2x2"][1].reshape(5, 1)[1:, 0]
    assert quarters[0] > 0.4
    assert quarters[1] < quarters[0] - 0.2


def test_ground_that_no_zone_shows_stays_open() -> None:
    own = zone_window(EPSG, 100, lambda lon: lon < EDGE_LON)
    other = zone_window(NEXT, 100, lambda lon: lon > EDGE_LON + 0.001)
    pooled = pool_seam([at_seam(0, 0)], [own], [other])
    gap = 0.001 * 108_700 / 320
    assert pooled.valid_fraction[0] == pytest.approx(1 - gap, abs=0.04)


# -- footprints of patches ----------------------------------------------------------------------------------------


def make_spine(epsg: int, dx: np.ndarray, dy: np.ndarray) -> PatchPlaces:
    """Footprints of 320 m in one zone, beside the place where the zone edge crosses the windows."""
    x, y = (float(v) for v in project(EDGE_LON, LAT, epsg))
    n = len(dx)
    lon, lat = unproject(x + dx, y + dy, epsg)
    nowhere = np.full(n, -1, np.int32)
    return PatchPlaces(
        np.arange(n).astype(np.uint64), np.full(n, "own"), nowhere, nowhere, lon, lat, np.full(n, epsg, np.int32),
        x + dx, y + dy, np.full(n, 320.0),
    )  # fmt: skip


def join(*spines: PatchPlaces) -> PatchPlaces:
    return PatchPlaces(*(np.concatenate([getattr(s, n) for s in spines]) for n in PatchPlaces.__dataclass_fields__))


def pool_spine(
    spine: PatchPlaces, windows: list[PixelWindow], columns: tuple[str, ...] = ("mean", "std")
) -> PooledPatches:
    pooling = RasterPooling(spine, 1, columns, min_coverage=0.0)
    for window in windows:
        if window.epsg in spine.epsg:
            pooling.add(window)
    for epsg in pooling.next_zones():
        boxes = pooling.move_to(epsg)
        for window in windows:
            if any(box.intersects(window.bounds) for box in boxes):
                pooling.add(window)
    return pooling.finish()


@pytest.fixture(scope="module")
def spine() -> PatchPlaces:
    rng = np.random.default_rng(5)
    return join(*(make_spine(e, rng.uniform(-900, 900, 25), rng.uniform(-900, 900, 25)) for e in (EPSG, NEXT)))


@pytest.fixture(scope="module")
def windows() -> list[PixelWindow]:
    west = zone_window(EPSG, 100, lambda lon: lon < EDGE_LON + 0.0003)
    return [west, zone_window(NEXT, -50, lambda lon: lon > EDGE_LON - 0.0003)]


def test_only_footprints_over_the_edge_reach_another_zone(spine: PatchPlaces) -> None:
    reached = reached_zones(spine)
    edge_x = {epsg: float(project(EDGE_LON, LAT, epsg)[0]) for epsg in (EPSG, NEXT)}
    offset = spine.x_m - np.array([edge_x[epsg] for epsg in spine.epsg.tolist()])
    # the meridian leans by some 10 m in 900
    sure = np.abs(np.abs(offset) - 160) > 15
    is_west = spine.epsg == EPSG
    beyond = np.where(is_west, offset > -160, offset < 160)
    np.testing.assert_array_equal((reached[NEXT] | reached[EPSG])[sure], beyond[sure])
    assert not (reached[NEXT] & ~is_west).any()
    assert not (reached[EPSG] & is_west).any()


def test_all_footprints_of_both_zones_are_whole(spine: PatchPlaces, windows: list[PixelWindow]) -> None:
    pooled = pool_spine(spine, windows)
    assert pooled.index.tolist() == list(range(50))
    assert pooled.valid_fraction.tolist() == [1] * 50
    low, high = -((50 / 127.5) ** 2), (100 / 127.5) ** 2
    assert ((pooled.columns["mean"] >= np.float32(low)) & (pooled.columns["mean"] <= np.float32(high))).all()
    alone = RasterPooling(spine, 1, ("mean", "std"), min_coverage=0.0, others={})
    for window in windows:
        alone.add(window)
    expected = alone.finish()
    whole = expected.valid_fraction == 1
    assert 10 < whole.sum() < 45
    np.testing.assert_allclose(pooled.columns["mean"][whole], expected.columns["mean"][whole], atol=1e-6)


def test_a_row_does_not_depend_on_the_shard_that_computes_it(spine: PatchPlaces, windows: list[PixelWindow]) -> None:
    whole = pool_spine(spine, windows)
    order = np.random.default_rng(0).permutation(50)
    for part in (order[:17], order[17:18], order[18:]):
        pooled = pool_spine(spine.take(part), [part for w in windows[::-1] for part in cut_window(w, [150], [222])])
        for name in ("mean", "std"):
            np.testing.assert_array_equal(pooled.columns[name], whole.columns[name][part])
        np.testing.assert_array_equal(pooled.valid_fraction, whole.valid_fraction[part])
        np.testing.assert_array_equal(pooled.n_pixels, whole.n_pixels[part])


def test_footprints_of_one_zone_in_rasters_of_another_crs(windows: list[PixelWindow]) -> None:
    spine = make_spine(EPSG, np.array([400.0, 700.0]), np.array([0.0, 100.0]))
    pooling = RasterPooling(spine, 1, ("mean",), others={NEXT: np.ones(2, bool)})
    assert pooling.next_zones() == [NEXT]
    boxes = pooling.move_to(NEXT)
    assert len(boxes) >= 1
    pooling.add(windows[1])
    pooled = pooling.finish()
    np.testing.assert_array_equal(pooled.columns["mean"], np.full((2, 1), -((50 / 127.5) ** 2), np.float32))


def cut_window(window: PixelWindow, rows: list[int], cols: list[int]) -> list[PixelWindow]:
    """Cut a window at some rows and columns."""
    rows = sorted({0, *rows, window.valid.shape[0]})
    cols = sorted({0, *cols, window.valid.shape[1]})
    return [
        PixelWindow(
            window.values[:, r0:r1, c0:c1], window.valid[r0:r1, c0:c1],
            window.affine @ Affine.translation(c0, r0), window.epsg, window.source,
        )
        for r0, r1 in itertools.pairwise(rows)
        for c0, c1 in itertools.pairwise(cols)
    ]  # fmt: skip
