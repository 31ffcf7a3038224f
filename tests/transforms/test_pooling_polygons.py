"""Polygons: coverage against shapely, pooling against exactextract, the box pooler and the definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import shapely
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import IsthmusError, ShapeError
from transforms.pooling import polygons as module
from transforms.pooling.coverage import cover_pixels
from transforms.pooling.kernels import ONE
from transforms.pooling.operators import MOMENT_COLUMNS, POOLING_OPERATORS, PooledPatches
from transforms.pooling.pixels import PatchPixels, PoolingParameters
from transforms.pooling.polygons import PolygonPooler, PolygonTooLargeError, check_polygon_sizes, list_boxes
from transforms.pooling.pooler import CrsMismatchError, PatchPooler, WindowError
from transforms.pooling.power_sums import code_values
from transforms.windows import PixelWindow

EPSG, NEXT = 32647, 32648
WEST, NORTH = 300_000.0, 1_400_000.0
COLUMNS = tuple(name for name, o in POOLING_OPERATORS.items() if o.define is not None and not o.is_fitted)


def make_window(
    height: int, width: int, *, dims: int = 5, seed: int = 0, nodata: float = 0.1, kind: type = np.int8
) -> PixelWindow:
    """Pixels of 10 m: noise around a fixed vector, as unit vectors are."""
    rng = np.random.default_rng(seed)
    codes = (rng.integers(-40, 41, (dims, height, width)) + 20 * np.arange(-2, dims - 2)[:, None, None]).astype(np.int8)
    valid = rng.random((height, width)) >= nodata
    values = codes if kind is np.int8 else np.moveaxis(code_values(codes), 0, 0).astype(np.float32)
    values[:, ~valid] = -128 if kind is np.int8 else np.nan
    return PixelWindow(values, valid, Affine(10, 0, WEST, 0, -10, NORTH), EPSG, "memory")


def cut(window: PixelWindow, rows: list[int], cols: list[int]) -> list[PixelWindow]:
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


def star(x: float, y: float, radii: list[float], turn: float) -> shapely.Polygon:
    """A polygon around a place of the window, in pixels from its north-west corner."""
    angle = turn + np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    ring = np.stack([WEST + 10 * (x + radii * np.cos(angle)), NORTH - 10 * (y + radii * np.sin(angle))], axis=1)
    return shapely.Polygon(ring)


@st.composite
def shapes(draw: st.DrawFn) -> shapely.Geometry:
    """Stars, some with a hole, some in two parts, smaller and larger than a pixel, over the window's edge too."""

    def one() -> shapely.Polygon:
        radii = draw(st.lists(st.floats(0.2, 9), min_size=3, max_size=9))
        return star(draw(st.floats(-2, 42)), draw(st.floats(-2, 42)), radii, draw(st.floats(0, 6)))

    shape: shapely.Geometry = one()
    if draw(st.booleans()):
        shape = shape.difference(shapely.affinity.scale(shape, 0.4, 0.5))
    if draw(st.booleans()):
        shape = shape.union(shapely.affinity.translate(one(), 300, 0))
    parts = shapely.get_parts(shape)
    return shapely.multipolygons(parts[shapely.area(parts) > 1])


@settings(max_examples=60, deadline=None)
@given(shapes(), st.integers(0, 10**6))
def test_shares_are_the_areas_of_intersections(shape: shapely.Geometry, offset: int) -> None:
    if shape.is_empty:
        return
    window = make_window(40, 40)
    phase = offset / 10**6 * 10  # a grid that starts anywhere
    window = PixelWindow(
        window.values, window.valid, Affine(10, 0, WEST + phase, 0, -10, NORTH - phase), EPSG, "memory"
    )
    pieces = list(cover_pixels(np.array([shape]), window))
    row, col, share = (np.concatenate([getattr(p, n) for p in pieces] or [[]]) for n in ("row", "col", "share"))
    found = np.zeros((40, 40))
    found[row.astype(int), col.astype(int)] = share / ONE
    x, y = WEST + phase + 10 * np.arange(40), NORTH - phase - 10 * np.arange(40)
    squares = shapely.box(x[None], y[:, None] - 10, x[None] + 10, y[:, None])
    # vertices are rounded by up to 2^-17 pixel
    np.testing.assert_allclose(found, shapely.area(shapely.intersection(squares, shape)) / 100, atol=6e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 79), min_size=1, max_size=4, unique=True), st.floats(-8, 8), st.booleans())
def test_every_pixel_centre_is_inside_exactly_one_of_neighbouring_polygons(
    halves: list[int], slope: float, is_straight: bool
) -> None:
    window = make_window(40, 40)
    # cuts at whole and half pixels: half of them run through centres
    xs = [0.0, *(h / 2 for h in sorted(halves)), 40.0]
    tilt = 0.0 if is_straight else slope
    strips = [
        shapely.Polygon(
            [
                (WEST + 10 * (a + (0 if a == 0 else tilt)), NORTH), (WEST + 10 * (b + (0 if b == 40 else tilt)), NORTH),
                (WEST + 10 * b, NORTH - 400), (WEST + 10 * a, NORTH - 400),
            ]
        )
        for a, b in itertools.pairwise(xs)
    ]  # fmt: skip
    if not all(strip.is_valid for strip in strips) or not 0 <= min(xs[1:-1]) + tilt <= max(xs[1:-1]) + tilt <= 40:
        return
    count = np.zeros((40, 40), int)
    for piece in cover_pixels(np.array(strips), window):
        np.add.at(count, (piece.row, piece.col), piece.is_inside)
    assert (count == 1).all()


def test_a_centre_on_the_edge_belongs_to_the_polygon_in_the_east_and_north() -> None:
    window = make_window(4, 4)
    box = shapely.box(WEST + 5, NORTH - 35, WEST + 25, NORTH - 15)  # west and south edges through centres
    (piece,) = cover_pixels(np.array([box]), window)
    inside = {(int(r), int(c)) for r, c in zip(piece.row[piece.is_inside], piece.col[piece.is_inside], strict=True)}
    assert inside == {(2, 0), (2, 1), (3, 0), (3, 1)}


def pool(window_or_parts: PixelWindow | list[PixelWindow], shape: object, **options: object) -> PooledPatches:
    parts = window_or_parts if isinstance(window_or_parts, list) else [window_or_parts]
    shapes_ = np.atleast_1d(np.asarray(shape, object))
    columns = options.pop("columns", COLUMNS)
    options = {"min_coverage": 0.0, **options}
    pooler = PolygonPooler(shapes_, EPSG, len(parts[0].values), columns, **options)  # type: ignore[arg-type]
    for part in parts:
        pooler.add(part)
    return pooler.finish()


@settings(max_examples=25, deadline=None)
@given(shapes(), st.lists(st.integers(1, 39), max_size=3), st.lists(st.integers(1, 39), max_size=3), st.randoms())
def test_windows_may_come_in_any_order_and_cut(
    shape: shapely.Geometry, rows: list[int], cols: list[int], random: object
) -> None:
    if shape.is_empty:
        return
    window = make_window(40, 40)
    parts = cut(window, rows, cols)
    random.shuffle(parts)  # type: ignore[attr-defined]
    whole, pieces = pool(window, shape), pool(parts, shape)
    for name in COLUMNS:
        np.testing.assert_array_equal(whole.columns[name], pieces.columns[name], err_msg=name)
    assert whole.valid_fraction == pieces.valid_fraction
    assert whole.n_pixels == pieces.n_pixels


def test_cuts_across_the_tiles_of_the_grid_and_rows_stored_the_other_way_round() -> None:
    window = make_window(700, 600, dims=2)
    river = shapely.LineString([(WEST, NORTH - 6_900), (WEST + 2_500, NORTH - 3_000), (WEST + 5_990, NORTH)]).buffer(77)
    streamed = (*MOMENT_COLUMNS, "gem", "median_iqr")
    whole = pool(window, river, columns=streamed)
    parts = cut(window, [100, 512, 613], [37, 300])
    flipped = [
        PixelWindow(np.ascontiguousarray(p.values[:, ::-1])[:, ::-1], p.valid, p.affine, p.epsg, p.source)
        for p in parts
    ]
    pieces = pool(flipped[::-1], river, columns=streamed)
    for name in streamed:
        np.testing.assert_array_equal(whole.columns[name], pieces.columns[name], err_msg=name)


@pytest.mark.parametrize("kind", [np.int8, np.float32])
@pytest.mark.parametrize("gem_p", [1.0, 2.5, 3.0, 7.0])
def test_every_column_is_the_definition_of_its_operator(kind: type, gem_p: float) -> None:
    window = make_window(40, 40, kind=kind)
    shape = star(17.3, 21.1, [9, 12.5, 6, 15, 11], 0.3).difference(star(17, 21, [3, 2, 4], 1))
    (covered,) = cover_pixels(np.array([shape]), window)
    covered = covered.take(window.valid[covered.row, covered.col])
    values = window.values[:, covered.row, covered.col].T
    west, south, east, north = shape.bounds
    x, y = WEST + 10 * (covered.col + 0.5), NORTH - 10 * (covered.row + 0.5)
    at = np.stack([(x - west) / (east - west), (y - south) / (north - south)], axis=1)
    floats = code_values(values) if kind is np.int8 else values.astype(float)
    pixels = PatchPixels(floats, covered.share / ONE, covered.is_inside, at)
    parameters = PoolingParameters(gem_p=gem_p)
    pooled = pool(window, shape, parameters=parameters)
    assert len(COLUMNS) == 13
    for name in COLUMNS:
        expected = np.ravel(POOLING_OPERATORS[name].define(pixels, parameters))  # type: ignore[misc]
        np.testing.assert_allclose(np.ravel(pooled.columns[name]), expected, rtol=2e-6, atol=1e-7, err_msg=name)
    assert pooled.n_pixels[0] == covered.is_inside.sum()


def test_mean_and_std_are_those_of_exactextract() -> None:
    window = make_window(60, 60, dims=3)
    rng = np.random.default_rng(4)
    shapes_ = [star(*rng.uniform(10, 50, 2), rng.uniform(3, 12, 7).tolist(), 0.1) for _ in range(20)]
    pooled = pool(window, shapes_, columns=("mean", "std"))
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(s)} for s in shapes_]
    for band in range(3):
        values = np.where(window.valid, code_values(window.values[band]), np.nan)
        source = NumPyRasterSource(values, WEST, NORTH - 600, WEST + 600, NORTH, nodata=np.nan)
        rows = [row["properties"] for row in exact_extract(source, features, ["mean", "stdev"])]
        np.testing.assert_allclose(pooled.columns["mean"][:, band], [row["mean"] for row in rows], atol=1e-5)
        np.testing.assert_allclose(pooled.columns["std"][:, band], [row["stdev"] for row in rows], atol=1e-5)


def test_boxes_are_pooled_as_by_the_box_pooler() -> None:
    window = make_window(120, 120, nodata=0.05)
    corner = np.random.default_rng(1).uniform(-50, 1_000, (60, 2))
    boxes = np.stack(
        [WEST + corner[:, 0], NORTH - corner[:, 1] - 320, WEST + corner[:, 0] + 320, NORTH - corner[:, 1]], 1
    )
    pooler = PatchPooler(boxes, EPSG, 5, MOMENT_COLUMNS, min_coverage=0.3)
    pooler.add(window)
    expected = pooler.finish()
    found = pool(window, shapely.box(*boxes.T), columns=MOMENT_COLUMNS, min_coverage=0.3)
    for name in MOMENT_COLUMNS:
        np.testing.assert_allclose(found.columns[name], expected.columns[name], atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(found.n_pixels, expected.n_pixels)
    np.testing.assert_allclose(found.valid_fraction, expected.valid_fraction, atol=1e-6)
    assert (found.valid_fraction == 1).sum() == (expected.valid_fraction == 1).sum()


def test_sums_stay_exact_where_64_bits_would_overflow() -> None:
    codes = np.full((1, 1_100, 1_100), 127, np.int8)
    codes[0, 0, 0] = -127
    window = PixelWindow(codes, np.ones((1_100, 1_100), bool), Affine(10, 0, WEST, 0, -10, NORTH), EPSG, "memory")
    pooled = pool(window, shapely.box(WEST, NORTH - 11_000, WEST + 11_000, NORTH), columns=("mean", "std", "gem"))
    n, top = 1_100**2, (127 / 127.5) ** 2
    assert 2**16 * 127**4 * n > 2**63
    mean = top * (n - 2) / n
    assert pooled.columns["mean"][0, 0] == np.float32(mean)
    assert pooled.columns["std"][0, 0] == pytest.approx(np.sqrt(top**2 - mean**2), rel=1e-6)
    assert pooled.columns["gem"][0, 0] == pytest.approx((top**3 * (n - 2) / n) ** (1 / 3), rel=1e-7)


@pytest.mark.parametrize(("min_coverage", "has_vector"), [(0.4, True), (0.5, True), (0.51, False)])
def test_too_little_coverage_gives_no_vector(min_coverage: float, has_vector: bool) -> None:
    window = make_window(20, 20, nodata=0.0)
    window.valid[:, 10:] = False
    window.values[:, :, 10:] = -128
    pooled = pool(window, shapely.box(WEST + 60, NORTH - 100, WEST + 140, NORTH - 20), min_coverage=min_coverage)
    assert pooled.valid_fraction[0] == 0.5
    assert all(np.isfinite(pooled.columns[name]).all() == has_vector for name in COLUMNS)


def test_polygons_outside_the_windows_and_below_a_pixel() -> None:
    window = make_window(20, 20, nodata=0.0)
    far = shapely.box(WEST + 9_000, NORTH, WEST + 9_100, NORTH + 100)
    tiny = shapely.box(WEST + 1, NORTH - 3, WEST + 3, NORTH - 1)  # no centre in it
    pooled = pool(window, [far, tiny])
    assert pooled.valid_fraction.tolist() == [0, 1]
    assert pooled.n_pixels.tolist() == [0, 0]
    assert np.isnan(pooled.columns["mean"][0]).all()
    np.testing.assert_allclose(pooled.columns["mean"][1], code_values(window.values[:, 0, 0]), rtol=1e-6)
    assert np.isnan(pooled.columns["min"]).all()


def test_large_polygons_ask_for_the_ground_they_touch_only() -> None:
    ring = shapely.Point(500_000, 1_400_000).buffer(60_000).difference(shapely.Point(500_000, 1_400_000).buffer(59_000))
    small = shapely.box(500_000, 1_400_000, 500_300, 1_400_300)
    boxes = list_boxes(np.array([ring, small]), EPSG)
    ground = shapely.union_all([shapely.box(b.west, b.south, b.east, b.north) for b in boxes])
    assert ground.buffer(1e-6).covers(ring)
    assert ground.area < 0.5 * ring.convex_hull.area
    assert list_boxes(np.empty(0, object), EPSG) == []


# -- bad input --------------------------------------------------------------------------------------------------

SOUND = shapely.box(WEST, NORTH - 100, WEST + 100, NORTH)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        (shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), "Self-intersection"),
        (shapely.Point(0, 0), "Point"),
        (shapely.Polygon(), "Polygon"),
        (None, "nothing"),
    ],
)
def test_shapes_without_an_area_are_refused(shape: shapely.Geometry, found: str) -> None:
    with pytest.raises(ShapeError, match=f"polygon 1: found .*{found}.*expected a sound Polygon"):
        PolygonPooler(np.array([SOUND, shape]), EPSG, 5, ("mean",))


def break_window(**changes: object) -> PixelWindow:
    window = make_window(20, 20, nodata=0.0)
    fields = {n: getattr(window, n) for n in ("values", "valid", "affine", "epsg", "source")}
    return PixelWindow(**(fields | changes))


@pytest.mark.parametrize(
    ("window", "error", "message"),
    [
        (break_window(epsg=NEXT), CrsMismatchError, "EPSG:32648, expected EPSG:32647"),
        (break_window(values=np.zeros((3, 20, 20), np.int8)), WindowError, r"\(3, 20, 20\), expected \(5, 20, 20\)"),
        (break_window(affine=Affine(10, 0, WEST, 0, 10, NORTH)), WindowError, "north-up"),
        (break_window(values=np.zeros((5, 20, 20), np.uint8)), WindowError, "uint8, expected int8 or float32"),
        (break_window(values=np.full((5, 20, 20), -128, np.int8)), WindowError, "nodata"),
        (break_window(values=np.full((5, 20, 20), np.inf, np.float32)), WindowError, "nodata"),
    ],
)
def test_windows_that_break_the_contract(window: PixelWindow, error: type[IsthmusError], message: str) -> None:
    pooler = PolygonPooler(np.array([SOUND]), EPSG, 5, ("mean",))
    with pytest.raises(error, match=message):
        pooler.add(window)


def test_overlapping_windows_other_pixel_sizes_and_impossible_coverage() -> None:
    window = make_window(20, 20, nodata=0.0)
    with pytest.raises(WindowError, match=r"polygon 0: covered area / polygon area: found 2\.000"):
        pool([window, window], SOUND)
    with pytest.raises(WindowError, match="pixel size"):
        pool([window, break_window(affine=Affine(20, 0, WEST, 0, -20, NORTH))], SOUND)
    with pytest.raises(ShapeError, match="min_coverage"):
        pool(window, SOUND, min_coverage=1.5)


def test_polygons_too_large_to_be_taken_at_once_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GATHERED_PIXELS", 50)
    window = make_window(20, 20, nodata=0.0)
    with pytest.raises(PolygonTooLargeError, match="polygon 0: found about 100 pixels, expected at most 50 for median"):
        pool(window, SOUND, columns=("mean", "median_iqr"))
    assert np.isfinite(pool(window, SOUND, columns=("mean", "gem")).columns["gem"]).all()
    with pytest.raises(PolygonTooLargeError, match="parcel 7: "):
        check_polygon_sizes(np.array([SOUND]), 100.0, ["covariance"], ["parcel 7"])
