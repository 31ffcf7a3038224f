from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import shapely
from affine import Affine

from transforms import geohash, h3_index
from transforms.area import Bbox, area_of_boxes
from transforms.keeping import KeepRule, OwnerRule, keep_pixels, keep_points, sample_by_place, vector_array
from transforms.quantization import quantize
from transforms.shards import Shard, cut_mgrs, cut_regions
from transforms.utm import project, unproject, utm_epsg
from transforms.windows import PixelPoints, PixelWindow

EPSG = 32648
#: A box of 1 km around (103.2 E, 12.6 N), inside one MGRS square.
WEST, NORTH = 304_000.0, 1_394_000.0
ALL = KeepRule(all=True, windows=(), sample=0.0)


def make_window(
    size: int = 100,
    *,
    west: float = WEST,
    north: float = NORTH,
    epsg: int = EPSG,
    nodata_share: float = 0.0,
    bands: int = 4,
    dtype: type = np.int8,
) -> PixelWindow:
    """A window whose vectors say where each pixel is, whatever window it is in."""
    affine = Affine(10, 0, west, 0, -10, north)
    col = np.floor((west + 5 + 10 * np.arange(size)) / 10).astype(np.int64)
    row = np.floor((north - 5 - 10 * np.arange(size)) / 10).astype(np.int64)
    code = (col[None, None, :] * 7 + row[None, :, None] * 13 + np.arange(bands)[:, None, None] * 3) % 255 - 127
    valid = np.random.default_rng(0).random((size, size)) >= nodata_share
    if dtype is np.int8:
        values = np.where(valid, code, -128).astype(np.int8)
    else:
        values = np.where(valid, code / 100, np.nan).astype(np.float32)
    return PixelWindow(values, valid, affine, epsg, "memory")


def box_around(window: PixelWindow, *, margin_deg: float = 0.001) -> Bbox:
    bounds = window.bounds
    lon, lat = unproject([bounds.west, bounds.east], [bounds.south, bounds.north], window.epsg)
    return lon[0] - margin_deg, lat[0] - margin_deg, lon[1] + margin_deg, lat[1] + margin_deg


def owner_of(*windows: PixelWindow, by_zone: bool = True) -> OwnerRule:
    """One region that holds all windows."""
    west, south, east, north = np.array([box_around(window) for window in windows]).T
    shards = tuple(cut_regions({"here": (west.min(), south.min(), east.max(), north.max())}))
    return OwnerRule("here", shards, None, by_zone)


def keep(window: PixelWindow, rule: KeepRule, owner: OwnerRule | None = None) -> pa.Table:
    return keep_pixels(window, rule, owner or owner_of(window), "aef", is_simulated=True)


def codes_of(table: pa.Table, column: str = "embedding_q") -> np.ndarray:
    array = table[column].combine_chunks()
    return array.flatten().to_numpy().reshape(-1, array.type.list_size)


def code_at(x_m: np.ndarray, y_m: np.ndarray, bands: int = 4) -> np.ndarray:
    col, row = np.floor(x_m / 10).astype(np.int64), np.floor(y_m / 10).astype(np.int64)
    return (col[:, None] * 7 + row[:, None] * 13 + np.arange(bands) * 3) % 255 - 127


def test_all_keeps_every_valid_pixel_with_its_own_vector() -> None:
    window = make_window(nodata_share=0.3)
    table = keep(window, ALL)
    assert table.num_rows == window.valid.sum() < window.valid.size
    x, y = table["x_m"].to_numpy(), table["y_m"].to_numpy()
    assert (codes_of(table) == code_at(x, y)).all()
    assert table["in_sample"].to_numpy(zero_copy_only=False).all()
    assert table["window"].null_count == table.num_rows


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
@pytest.mark.parametrize(
    "rule", [ALL, KeepRule(False, (("w", (103.0, 12.0, 104.0, 13.0)),), 0.0), KeepRule(False, (), 0.5)]
)
def test_nodata_is_never_kept(rule: KeepRule, dtype: type) -> None:
    table = keep(make_window(nodata_share=0.6, dtype=dtype), rule)
    column = "embedding_q" if dtype is np.int8 else "embedding"
    assert table.num_rows > 1000
    values = codes_of(table, column)
    assert values.dtype == dtype
    assert np.isfinite(values).all()
    assert (values != -128).all()


def test_a_window_without_valid_pixels_keeps_none() -> None:
    table = keep(make_window(nodata_share=1.1), ALL)
    assert table.num_rows == 0
    assert table.schema == keep(make_window(), ALL).schema


def test_places_of_kept_pixels() -> None:
    table = keep(make_window(20), ALL)
    x, y, lon, lat = (table[name].to_numpy() for name in ("x_m", "y_m", "lon", "lat"))
    assert ((x % 10 == 5) & (y % 10 == 5)).all()
    np.testing.assert_allclose(unproject(x, y, EPSG), [lon, lat], atol=1e-12)
    assert table["epsg"].to_pylist() == [EPSG] * 400
    assert (table["pixel_id"].to_numpy() == geohash.pixel_keys(lon, lat, EPSG)).all()
    assert (table["h3_r12"].to_numpy() == h3_index.cells(lon, lat, 12)).all()
    assert (table["h3_r5"].to_numpy() == h3_index.parents(h3_index.cells(lon, lat, 12), 5)).all()
    points = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    np.testing.assert_array_equal(shapely.get_coordinates(points), np.stack([lon, lat], axis=1))
    assert table["product"].to_pylist() == ["aef"] * 400
    assert table["is_simulated"].to_pylist() == [True] * 400


def test_windows_are_dense_and_named() -> None:
    window = make_window()
    lon, lat = unproject([WEST + 200, WEST + 500], [NORTH - 600, NORTH - 300], EPSG)
    bbox = (float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1]))
    table = keep(window, KeepRule(False, (("delta", bbox),), 0.0))
    assert table["window"].to_pylist() == ["delta"] * table.num_rows
    assert not table["in_sample"].to_numpy(zero_copy_only=False).any()
    everything = keep(window, ALL)
    lons, lats = everything["lon"].to_numpy(), everything["lat"].to_numpy()
    inside = (lons >= bbox[0]) & (lons < bbox[2]) & (lats >= bbox[1]) & (lats < bbox[3])
    assert set(table["pixel_id"].to_pylist()) == set(everything["pixel_id"].to_numpy()[inside].tolist())
    assert 800 < table.num_rows < 1000  # 300 m by 300 m, and the box is turned a little


def test_windows_elsewhere_keep_nothing() -> None:
    rule = KeepRule(False, (("far", (10.0, 45.0, 11.0, 46.0)),), 0.0)
    assert keep(make_window(), rule).num_rows == 0


def test_window_and_sample_together() -> None:
    window = make_window()
    lon, lat = unproject([WEST, WEST + 300], [NORTH - 300, NORTH], EPSG)
    box = ("corner", (float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1])))
    both = keep(window, KeepRule(False, (box,), 0.1))
    sample = keep(window, KeepRule(False, (), 0.1))
    dense = keep(window, KeepRule(False, (box,), 0.0))
    sampled = both["pixel_id"].to_numpy()[both["in_sample"].to_numpy(zero_copy_only=False)]
    assert set(sampled) == set(sample["pixel_id"].to_numpy())  # the flag tells the uniform sample from the rest
    named = both.filter(both["window"].is_valid())
    assert set(named["pixel_id"].to_pylist()) == set(dense["pixel_id"].to_pylist())
    assert both.num_rows == len(set(sampled.tolist()) | set(dense["pixel_id"].to_pylist()))


@pytest.mark.parametrize("share", [0.01, 0.2, 0.7])
def test_the_share_of_the_sample_is_right(share: float) -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(WEST + 5 + 10 * np.arange(400), NORTH - 5 - 10 * np.arange(400)))
    found = sample_by_place(x, y, EPSG, share)
    sigma = np.sqrt(share * (1 - share) / len(x))
    assert abs(found.mean() - share) < 4 * sigma
    # no stripes: every row and every column of the ground has about its share
    grid = found.reshape(400, 400)
    for axis in (0, 1):
        assert np.abs(grid.mean(axis=axis) - share).max() < 5 * np.sqrt(share * (1 - share) / 400)


def test_ends_of_the_share() -> None:
    x, y = np.arange(1000.0) * 10 + 5, np.zeros(1000)
    assert sample_by_place(x, y, EPSG, 1.0).all()
    assert not sample_by_place(x, y, EPSG, 0.0).any()
    assert sample_by_place(x, y, EPSG, 1 - 1e-12).all()


def test_a_larger_share_keeps_the_smaller_one() -> None:
    x, y = np.arange(5000.0) * 10 + 5, np.full(5000, 7.0)
    small, large = sample_by_place(x, y, EPSG, 0.1), sample_by_place(x, y, EPSG, 0.3)
    assert (large | ~small).all()
    assert large.sum() > small.sum() > 0


def test_samples_of_zones_are_not_copies_of_each_other() -> None:
    x, y = np.arange(20_000.0) * 10 + 5, np.full(20_000, 7.0)
    both = sample_by_place(x, y, 32647, 0.2) & sample_by_place(x, y, 32648, 0.2)
    assert abs(both.mean() - 0.04) < 0.01


def test_the_sample_does_not_know_how_the_ground_was_tiled() -> None:
    rule = KeepRule(False, (), 0.2)
    whole = make_window(120)
    owner = owner_of(whole)
    parts = [
        make_window(size, west=WEST + 10 * col, north=NORTH - 10 * row)
        for size, col, row in ((60, 0, 0), (60, 60, 0), (60, 0, 60), (60, 60, 60))
    ]
    shifted = [
        make_window(80, west=WEST - 10 * 37, north=NORTH + 10 * 11),
        make_window(110, west=WEST + 10 * 43, north=NORTH + 10 * 11),
    ]
    expected = set(keep(whole, rule, owner)["pixel_id"].to_pylist())
    tiled = [key for part in parts for key in keep(part, rule, owner)["pixel_id"].to_pylist()]
    assert len(tiled) == len(set(tiled))
    assert set(tiled) == expected
    # the overlap of another tiling agrees pixel by pixel
    reference = keep(whole, rule, owner)
    for window in shifted:
        bounds = window.bounds
        x, y = reference["x_m"].to_numpy(), reference["y_m"].to_numpy()
        here = (x > bounds.west) & (x < bounds.east) & (y > bounds.south) & (y < bounds.north)
        found = keep(window, rule, owner_of(window, whole))
        fx, fy = found["x_m"].to_numpy(), found["y_m"].to_numpy()
        box = whole.bounds
        common = (fx > box.west) & (fx < box.east) & (fy > box.south) & (fy < box.north)
        assert here.sum() > 200
        assert set(found["pixel_id"].to_numpy()[common]) == set(reference["pixel_id"].to_numpy()[here])


def zone_edge_windows() -> tuple[PixelWindow, PixelWindow]:
    """Two windows over one piece of ground at 102 E, one in each zone."""
    windows = []
    for epsg in (32647, 32648):
        x, y = project([102.0], [12.6], epsg)
        west, north = np.floor(x[0] / 10) * 10 - 300, np.floor(y[0] / 10) * 10 + 300
        windows.append(make_window(60, west=float(west), north=float(north), epsg=epsg))
    return windows[0], windows[1]


def test_pixels_beyond_their_zone_are_dropped() -> None:
    west, east = zone_edge_windows()
    owner = owner_of(west, east)
    kept = [keep(window, ALL, owner) for window in (west, east)]
    for table, epsg in zip(kept, (32647, 32648), strict=True):
        lon, lat = table["lon"].to_numpy(), table["lat"].to_numpy()
        assert (utm_epsg(lon, lat) == epsg).all()
        assert 1500 < table.num_rows < 2100
    rule = OwnerRule(owner.key, owner.shards, None, by_zone=False)
    assert [keep(window, ALL, rule).num_rows for window in (west, east)] == [3600, 3600]


def test_zones_leave_no_gap_and_no_overlap_of_ground() -> None:
    west, east = zone_edge_windows()
    owner = owner_of(west, east)
    lon = np.concatenate([keep(window, ALL, owner)["lon"].to_numpy() for window in (west, east)])
    pixel_deg = 10 / 108_700
    assert lon[lon < 102].max() > 102 - pixel_deg
    assert lon[lon >= 102].min() < 102 + pixel_deg


def test_every_pixel_belongs_to_one_shard() -> None:
    area = (101.98, 12.61, 102.03, 12.68)
    shards = tuple(cut_mgrs(area_of_boxes([area])))
    assert len(shards) == 4
    windows = []
    for epsg in (32647, 32648):
        x, y = project([101.98, 102.03, 102.03, 101.98], [12.61, 12.61, 12.68, 12.68], epsg)
        size = int(max(np.ptp(x), np.ptp(y)) / 10) + 20
        west, north = np.floor(x.min() / 10) * 10 - 100, np.floor(y.max() / 10) * 10 + 100
        windows.append(make_window(size, west=float(west), north=float(north), epsg=epsg, bands=1))
    rule = KeepRule(False, (), 0.02)
    tables = [
        keep(window, rule, OwnerRule(shard.key, shards, area_of_boxes([area]), True))
        for shard in shards
        for window in windows
    ]
    found = np.concatenate([table["pixel_id"].to_numpy() for table in tables])
    assert len(np.unique(found)) == len(found)
    expected = []
    for window in windows:
        x, y = (axis.ravel() for axis in np.meshgrid(*window.centers()))
        x, y = (axis[sample_by_place(x, y, window.epsg, 0.02)] for axis in (x, y))
        lon, lat = unproject(x, y, window.epsg)
        inside = (lon >= area[0]) & (lon < area[2]) & (lat >= area[1]) & (lat < area[3])
        own_zone = utm_epsg(lon, lat) == window.epsg
        expected.append(geohash.pixel_keys(lon, lat, window.epsg)[inside & own_zone])
    assert set(found.tolist()) == set(np.concatenate(expected).tolist())
    assert sum(table.num_rows > 50 for table in tables) == 4


def test_only_owned_places_are_kept() -> None:
    window = make_window()
    middle = float(unproject([WEST + 500], [NORTH - 500], EPSG)[0][0])
    west, south, east, north = box_around(window)
    shards = tuple(cut_regions({"left": (west, south, middle, north), "right": (west, south, east, north)}))
    tables = {key: keep(window, ALL, OwnerRule(key, shards, None, True)) for key in ("left", "right")}
    assert tables["left"]["lon"].to_numpy().max() <= middle < tables["right"]["lon"].to_numpy().min()
    assert sum(table.num_rows for table in tables.values()) == window.valid.size


def test_an_owner_rule_knows_its_shard() -> None:
    shards = (Shard("a", "region", EPSG, (0, 0, 1, 1)), Shard("b", "region", EPSG, (1, 0, 2, 1)))
    assert OwnerRule("b", shards, None, False).shard is shards[1]


def make_points(lon: list[float], lat: list[float], vectors: np.ndarray) -> PixelPoints:
    x, y = project(lon, lat, EPSG)
    return PixelPoints(
        np.array(lon), np.array(lat), x, y, np.full(len(lon), EPSG, np.int32), vectors.astype(np.float32)
    )


def keep_listed(*tables: PixelPoints, rule: KeepRule = ALL, quantised: bool = False) -> pa.Table:
    shards = tuple(cut_regions({"here": (103.0, 12.0, 104.0, 13.0)}))
    owner = OwnerRule("here", shards, None, False)
    return keep_points(tables, rule, owner, "aef_table", quantised=quantised, is_simulated=False)


def test_listed_pixels_are_kept_once_and_where_owned() -> None:
    vectors = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]])
    first = make_points([103.5, 99.0, 103.5, 103.2], [12.5, 12.5, 12.5, 12.1], vectors)
    table = keep_listed(first)
    assert table["lon"].to_pylist() == [103.5, 103.2]  # not owned and repeated ones are left out
    assert codes_of(table, "embedding").tolist() == vectors[[0, 3]].astype(np.float32).tolist()
    assert table["in_sample"].to_pylist() == [True, True]
    assert table["is_simulated"].to_pylist() == [False, False]


def test_a_place_in_two_tables_is_kept_from_the_first() -> None:
    first = make_points([103.5, 103.2], [12.5, 12.5], np.array([[0.1, 0.2], [0.3, 0.4]]))
    second = make_points([103.2, 103.7], [12.5, 12.5], np.array([[0.5, 0.6], [0.7, 0.8]]))
    table = keep_listed(first, second)
    found = dict(zip(table["lon"].to_pylist(), codes_of(table, "embedding")[:, 0].tolist(), strict=True))
    assert found == pytest.approx({103.5: 0.1, 103.2: 0.3, 103.7: 0.7})


def test_listed_pixels_ignore_the_sample_and_take_window_names() -> None:
    points = make_points([103.1, 103.2, 103.3], [12.5] * 3, np.zeros((3, 2)))
    rule = KeepRule(False, (("w", (103.15, 12.0, 103.25, 13.0)),), 0.0)
    assert keep_listed(points, rule=rule)["window"].to_pylist() == [None, "w", None]


def test_listed_pixels_are_quantised_for_quantised_products() -> None:
    vectors = np.array([[0.5, -0.25, 0.0]])
    table = keep_listed(make_points([103.5], [12.5], vectors), quantised=True)
    assert codes_of(table).tolist() == quantize(vectors).tolist()


def test_vectors_become_lists_in_order() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert vector_array(vectors).to_pylist() == vectors.tolist()
    assert vector_array(vectors[:, ::-1]).to_pylist() == vectors[:, ::-1].tolist()
    assert vector_array(np.empty((0, 5), np.int8)).type == pa.list_(pa.int8(), 5)
