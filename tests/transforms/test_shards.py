from __future__ import annotations

import mgrs
import numpy as np
import pyproj
import pytest
import shapely

from transforms import lattice
from transforms import shards as rules
from transforms.area import Area, Bbox, area_of_boxes, grow, inside_bbox
from transforms.errors import ShapeError
from transforms.shards import Shard, area_km2, cut_files, cut_regions, inside_zone
from transforms.utm import SQUARE_M, unproject

LIBRARY = mgrs.MGRS()
GEOD = pyproj.Geod(ellps="WGS84")
#: A tenth of a millimetre: nearer to a border than any pixel or patch, farther than rounding.
NEAR_DEG = 1e-9
#: Edges of an area are chords in UTM, which bow two metres at most.
BOW_DEG = 2e-5

AREAS: dict[str, Bbox] = {
    "zone edge at 102 E": (101.2, 12.1, 102.9, 13.3),
    "equator": (8.0, -0.8, 9.6, 0.7),
    "up to the equator": (17.0, -1.2, 18.9, 0.0),
    "from the equator": (17.0, 0.0, 18.9, 1.0),
    "zone edge at the equator": (101.4, -0.3, 102.5, 0.4),
    "Norway": (2.1, 55.2, 5.4, 57.1),
    "Norway in the north": (1.0, 63.2, 7.0, 64.6),
    "Svalbard": (4.0, 71.2, 12.0, 72.9),
    "southern hemisphere": (150.3, -34.5, 151.2, -33.6),
    "southern band edge": (-66.3, -40.9, -65.2, -39.2),
    "west of the antimeridian": (178.2, -17.2, 180.0, -16.0),
    "east of the antimeridian": (-180.0, -17.2, -179.0, -16.0),
}


def as_area(box: Bbox | None) -> Area | None:
    return None if box is None else area_of_boxes([box])


def cut_mgrs(box: Bbox) -> list[Shard]:
    return rules.cut_mgrs(area_of_boxes([box]))


def assign_owners(lon: np.ndarray, lat: np.ndarray, shards: list[Shard], box: Bbox | None) -> np.ndarray:
    return rules.assign_owners(lon, lat, shards, as_area(box))


def count_expected_patches(shard: Shard, shards: list[Shard], box: Bbox | None) -> int:
    return rules.count_expected_patches(shard, shards, as_area(box))


@pytest.fixture(params=AREAS.values(), ids=AREAS.keys())
def area(request: pytest.FixtureRequest) -> Bbox:
    return request.param


def random_points(area: Bbox, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(area[0], area[2], n), rng.uniform(area[1], area[3], n)


def lies_in(shard: Shard, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    west, south, east, north = shard.bbox
    rounding = 1e-12  # of corners that were projected and back
    return (lon >= west - rounding) & (lon <= east + rounding) & (lat >= south - rounding) & (lat <= north + rounding)


def border_points(area: Bbox, shards: list[Shard]) -> tuple[np.ndarray, np.ndarray]:
    """Points on and within a millimetre of the square borders, the zone borders and the area's own borders."""
    west, south, east, north = area
    across, up = np.linspace(west, east, 401)[:-1], np.linspace(south, north, 401)[:-1]
    parts = [(across, np.full(400, south)), (np.full(400, west), up)]
    parts += [(across, np.full(400, north - NEAR_DEG)), (np.full(400, east - NEAR_DEG), up)]
    parts += [(np.full(400, float(x)), up) for x in range(int(west), int(east) + 1)]
    parts += [(across, np.full(400, float(y))) for y in range(int(south), int(north) + 1)]
    along = np.linspace(0.0, 10_000_000.0, 20_001)
    for epsg in {shard.epsg for shard in shards}:
        for shift in (0.0, -1e-3, 1e-3):
            for line in range(1, 10):
                parts.append(unproject(np.full(20_001, line * SQUARE_M + shift), along, epsg))
    lon, lat = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept = inside_bbox(lon, lat, area)
    return lon[kept], lat[kept]


def test_every_point_has_one_owner_whose_box_holds_it(area: Bbox) -> None:
    shards = cut_mgrs(area)
    lon, lat = random_points(area, 3000)
    owner = assign_owners(lon, lat, shards, area)
    boxes = {shard.key: shard for shard in shards}
    assert len(boxes) == len(shards)
    assert set(owner) <= set(boxes)
    for key, shard in boxes.items():
        assert lies_in(shard, lon[owner == key], lat[owner == key]).all(), key


def test_owners_agree_with_the_mgrs_library(area: Bbox) -> None:
    lon, lat = random_points(area, 500, seed=1)
    owner = assign_owners(lon, lat, cut_mgrs(area), area)
    named = [str(LIBRARY.toMGRS(y, x, MGRSPrecision=0)).zfill(5) for x, y in zip(lon, lat, strict=True)]
    assert owner.tolist() == named


def test_points_on_borders_have_one_owner_too(area: Bbox) -> None:
    shards = cut_mgrs(area)
    lon, lat = border_points(area, shards)
    assert len(lon) > 1500
    owner = assign_owners(lon, lat, shards, area)
    assert (owner != "").all()
    for shard in shards:
        mine = owner == shard.key
        assert lies_in(shard, lon[mine], lat[mine]).all(), shard.key


def test_shards_lie_in_the_area_in_their_zone_and_in_order(area: Bbox) -> None:
    shards = cut_mgrs(area)
    assert [shard.key for shard in shards] == sorted(shard.key for shard in shards)
    for shard in shards:
        assert shapely.box(*area).buffer(1e-12).contains(shapely.box(*shard.bbox))
        assert shapely.box(*area).buffer(BOW_DEG).contains(shard.polygon())
        assert shard.rule == "mgrs"
        assert shard.epsg % 100 == int(shard.key[:2])
        assert (shard.epsg < 32700) == (shard.key[2] >= "N")


def test_the_area_is_covered_once_by_squares() -> None:
    area = AREAS["zone edge at 102 E"]
    shards = cut_mgrs(area)
    assert [shard.key for shard in shards] == [
        "47PQP", "47PQQ", "47PRP", "47PRQ", "48PSU", "48PSV", "48PTU", "48PTV",
    ]  # fmt: skip
    assert [shard.epsg for shard in shards] == [32647] * 4 + [32648] * 4


def test_adjacent_areas_share_their_border_without_overlap() -> None:
    west, east = (101.2, 12.1, 102.0, 12.4), (102.0, 12.1, 102.9, 12.4)
    lon, lat = np.array([101.99999, 102.0, 102.00001]), np.full(3, 12.3)
    in_west = assign_owners(lon, lat, cut_mgrs(west), west) != ""
    in_east = assign_owners(lon, lat, cut_mgrs(east), east) != ""
    assert in_west.tolist() == [True, False, False]
    assert in_east.tolist() == [False, True, True]


def test_points_outside_have_no_owner() -> None:
    area = AREAS["zone edge at 102 E"]
    lon, lat = (
        np.array([101.1, 103.0, 102.0, 102.0, 0.0, 102.9, 102.0]),
        np.array([12.5, 12.5, 12.0, 13.4, 0, 12.5, 13.3]),
    )
    assert (assign_owners(lon, lat, cut_mgrs(area), area) == "").all()  # east and north borders are outside
    assert assign_owners(np.empty(0), np.empty(0), cut_mgrs(area), area).shape == (0,)


def test_without_an_area_squares_own_all_their_ground() -> None:
    shards = cut_mgrs((102.4, 12.9, 102.41, 12.91))
    assert assign_owners(np.array([102.5]), np.array([12.95]), shards, None).tolist() == [shards[0].key]


@pytest.mark.parametrize(
    "area",
    [
        (75.0, -25.3, 75.5, -25.2),  # 43JEN twice
        (-147.5, 0.0, -147.0, 0.2),  # 06NVF twice
        (105.0, 12.0, 105.5, 12.2),  # 48PVU, 2e-14 degrees wide
        AREAS["Norway"],  # 31VED: the zone ends at its own central meridian here
    ],
)
def test_areas_that_end_at_a_central_meridian_have_no_slivers(area: Bbox) -> None:
    shards = cut_mgrs(area)
    assert len({shard.key for shard in shards}) == len(shards)
    assert min(shard.bbox[2] - shard.bbox[0] for shard in shards) > NEAR_DEG


def test_areas_that_end_just_behind_a_zone_edge_are_cut() -> None:
    assert cut_mgrs((2.8, 57.0, np.nextafter(3.0, 4.0) + 4e-16, 57.3))


def test_no_hole_under_the_chord_of_a_parallel() -> None:
    y = 6_600_000.0  # a square border; the area's south edge dips 0.3 m below it around 15 E
    south = float(unproject([500_000.0], [y - 0.3], 32633)[1][0])
    area = (12.03, south, 17.95, 60.2)
    lon, lat = unproject(np.linspace(497_000, 503_000, 601), np.full(601, y - 0.1), 32633)
    inside = inside_bbox(lon, lat, area)
    assert inside.sum() > 100
    assert (assign_owners(lon[inside], lat[inside], cut_mgrs(area), area) != "").all()


def test_what_is_read_for_a_shard_is_a_metre_wider_than_what_it_owns(area: Bbox) -> None:
    for shard in cut_mgrs(area):
        west, south, east, north = shard.reading_box()
        middle = (shard.bbox[1] + shard.bbox[3]) / 2
        for inner, outer in (((shard.bbox[0], middle), (west, middle)), ((shard.bbox[2], middle), (east, middle))):
            assert 0.5 < GEOD.inv(*inner, *outer)[2] < 3.0
        for inner, outer in ((shard.bbox[1], south), (shard.bbox[3], north)):
            assert 0.5 < GEOD.inv(shard.bbox[0], inner, shard.bbox[0], outer)[2] < 3.0
        assert west < shard.bbox[0] < shard.bbox[2] < east


@pytest.mark.parametrize("distance_m", [1.0, 640.0, 20_000.0])
@pytest.mark.parametrize("bbox", [(101.9, 12.4, 102.1, 12.6), (-70.0, -55.0, -69.0, -54.0), (10.0, 78.0, 11.0, 80.0)])
def test_boxes_grow_by_at_least_the_distance(bbox: Bbox, distance_m: float) -> None:
    west, south, east, north = grow(bbox, distance_m)
    for lat in np.linspace(bbox[1], bbox[3], 5):
        assert GEOD.inv(bbox[0], lat, west, lat)[2] > distance_m * 0.999
        assert GEOD.inv(bbox[2], lat, east, lat)[2] > distance_m * 0.999
    assert GEOD.inv(bbox[0], bbox[1], bbox[0], south)[2] > distance_m * 0.999
    assert GEOD.inv(bbox[0], bbox[3], bbox[0], north)[2] > distance_m * 0.999


def test_boxes_do_not_grow_beyond_the_poles() -> None:
    assert grow((0.0, -89.9999, 1.0, 89.9999), 1000.0)[1::2] == (-90.0, 90.0)


def test_outlines_of_shards_tile_the_area() -> None:
    area = AREAS["zone edge at 102 E"]
    outlines = [shard.polygon() for shard in cut_mgrs(area)]
    union = shapely.union_all(outlines)
    assert union.area == pytest.approx(shapely.box(*area).area, rel=1e-4)
    assert sum(outline.area for outline in outlines) == pytest.approx(union.area, rel=1e-4)  # no overlap


def test_places_far_from_every_shard_have_no_owner() -> None:
    shards = cut_mgrs(AREAS["zone edge at 102 E"])
    assert assign_owners(np.array([0.0]), np.array([0.0]), shards, None).tolist() == [""]


def test_regions_keep_their_order_and_the_first_owns_the_overlap() -> None:
    shards = cut_regions({"zebra": (10.0, 45.0, 12.0, 46.0), "ant": (11.0, 45.0, 13.0, 46.0)})
    assert [(shard.key, shard.rule, shard.epsg) for shard in shards] == [
        ("zebra", "region", 32632), ("ant", "region", 32633),
    ]  # fmt: skip
    lon = np.array([10.5, 11.5, 12.5, 13.0, 13.1, 12.0])
    owner = assign_owners(lon, np.full(6, 45.5), shards, None)
    assert owner.tolist() == ["zebra", "zebra", "ant", "ant", "", "zebra"]
    assert assign_owners(lon, np.full(6, 46.0), shards, None).tolist() == owner.tolist()  # borders are inside
    area = (10.0, 45.0, 12.4, 46.0)
    assert assign_owners(lon, np.full(6, 45.5), shards, area).tolist() == ["zebra", "zebra", "", "", "", "zebra"]


def test_files_are_shards_by_stem() -> None:
    shards = cut_files([("africa_points", (-5.0, -10.0, 5.0, 10.0)), ("b", (100.0, -40.0, 100.0, -40.0))])
    assert [(shard.key, shard.rule, shard.epsg) for shard in shards] == [
        ("africa_points", "file", 32631), ("b", "file", 32747),
    ]  # fmt: skip
    # one point is a box of no area, and still owned
    assert assign_owners(np.array([100.0, 0.0]), np.array([-40.0, 0.0]), shards, None).tolist() == [
        "b",
        "africa_points",
    ]


@pytest.mark.parametrize("rule", ["region", "file"])
def test_a_box_over_the_antimeridian_is_two_shards_without_a_hole_or_an_overlap(rule: str) -> None:
    boxes = {"fiji": (177.0, -19.0, -179.0, -16.0), "beside": (-179.5, -19.0, -178.0, -16.0)}
    shards = cut_regions(boxes) if rule == "region" else cut_files(list(boxes.items()))
    assert [(shard.key, shard.rule, shard.epsg) for shard in shards] == [
        ("fiji-e", rule, 32760), ("fiji-w", rule, 32701), ("beside", rule, 32701),
    ]  # fmt: skip
    assert [shard.bbox for shard in shards[:2]] == [(177.0, -19.0, 180.0, -16.0), (-180.0, -19.0, -179.0, -16.0)]
    lon = np.array([176.9, 177.0, 179.99, 180.0, -180.0, -179.99, -179.2, -178.5, 0.0])
    owner = assign_owners(lon, np.full(len(lon), -17.5), shards, None)
    assert owner.tolist() == ["", *["fiji-e"] * 3, *["fiji-w"] * 3, "beside", ""]


def test_a_half_that_has_the_name_of_another_region_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"two shards named \['fiji-w'\].*Rename the region"):
        cut_regions({"fiji": (177.0, -19.0, -179.0, -16.0), "fiji-w": (10.0, 45.0, 11.0, 46.0)})


def test_no_shards_own_nothing() -> None:
    assert assign_owners(np.array([1.0]), np.array([2.0]), [], None).tolist() == [""]
    assert cut_regions({}) == []


def test_zones_drop_what_lies_beyond_their_longitudes() -> None:
    lon, lat = np.array([101.99, 102.0, 102.01]), np.full(3, 12.5)
    assert inside_zone(lon, lat, 32647).tolist() == [True, False, False]
    assert inside_zone(lon, lat, 32648).tolist() == [False, True, True]


def test_expected_patches_of_shards_sum_to_the_area() -> None:
    area = (101.9, 12.55, 102.1, 12.7)
    shards = cut_mgrs(area)
    assert len(shards) > 2
    total = sum(count_expected_patches(shard, shards, area) for shard in shards)
    assert total == len(lattice.enumerate_places(*area))


def test_area_of_a_square() -> None:
    area = AREAS["zone edge at 102 E"]
    total = sum(area_km2(shard) for shard in cut_regions({"a": area}))
    east = np.linspace(area[0], area[2], 400)
    ring = np.concatenate([east, east[::-1]]), np.repeat([area[1], area[3]], 400)
    truth = abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(*ring)[0]) / 1e6
    assert total == pytest.approx(truth, rel=2e-3)


def test_rows_of_the_shard_table() -> None:
    area = (101.97, 12.62, 102.03, 12.68)
    shards = cut_mgrs(area)
    table = rules.shards_table(shards, area_of_boxes([area]), on_lattice=True, is_simulated=False)
    assert table["shard"].to_pylist() == [shard.key for shard in shards]
    assert table["expected_patches"].to_pylist() == [count_expected_patches(s, shards, area) for s in shards]
    for shard, row in zip(shards, table.to_pylist(), strict=True):
        assert shapely.from_wkb(row["geometry"]).bounds == pytest.approx(shard.bbox)
        assert row["expected_pixels"] == round(row["area_km2"] * 1e4)
        assert row["lon"] == pytest.approx((shard.bbox[0] + shard.bbox[2]) / 2)
    off = rules.shards_table(shards, area_of_boxes([area]), on_lattice=False, is_simulated=False)
    assert off["expected_patches"].null_count == len(shards)
    assert rules.shards_table([], area_of_boxes([area]), on_lattice=True, is_simulated=False).schema == table.schema
