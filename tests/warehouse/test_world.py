"""The files of a simulated world: does a reader see what the producers publish?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.windows import Window, from_bounds
from rio_cogeo.cogeo import cog_validate

from transforms import geohash
from transforms.lattice import enumerate_places, recover
from transforms.quantization import NODATA, dequantize
from transforms.sentinel2 import sentinel2_tile_box
from transforms.simulation.spec import CLASS_CODES, TILES, world_spec
from transforms.utm import footprint_boxes, project, unproject
from warehouse.errors import DiskSpaceError
from warehouse.world import MARK, NotAWorldError, WorldSummary, build_world
from warehouse.world_eg import TILE_WITHOUT_CRS, patch_file_path

SEED = 5


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> WorldSummary:
    return build_world(tmp_path_factory.mktemp("worlds") / "tiny", "tiny", SEED)


@pytest.fixture(scope="module")
def root(summary: WorldSummary) -> Path:
    return summary.root


def _rasters(root: Path, year: int) -> dict[str, Path]:
    return {path.parent.name: path for path in sorted(root.glob(f"aef/v1/annual/{year}/*/*.tiff"))}


#: Columns and rows of 47N's file that hold the tiny world, and some of what lies around it.
DATA = Window(0, 0, 1024, 1152)


@pytest.fixture(scope="module")
def codes_47(root: Path) -> np.ndarray:
    with rasterio.open(_rasters(root, 2024)["47N"]) as raster:
        codes: np.ndarray = raster.read(window=DATA)
        return codes


def test_rasters_have_the_published_shape(root: Path) -> None:
    paths = [*_rasters(root, 2023).values(), *_rasters(root, 2024).values()]
    assert len(paths) == 4
    for path in paths:
        with rasterio.open(path) as raster:
            assert (raster.width, raster.height, raster.count) == (8192, 8192, 64)
            assert set(raster.dtypes) == {"int8"}
            assert set(raster.block_shapes) == {(1024, 1024)}
            assert raster.nodata == NODATA
            assert raster.profile["interleave"] == "band"
            assert raster.compression.value == "ZSTD"
            assert raster.transform.e == 10.0  # bottom-up
            assert raster.bounds.bottom > raster.bounds.top
            assert (raster.transform.c % 81_920, raster.transform.f % 81_920) == (0, 0)
            assert raster.crs.to_epsg() == 32600 + int(path.parent.name[:-1])
            assert raster.overviews(1) == [2**k for k in range(1, 14)]
            assert raster.descriptions == tuple(f"A{k:02d}" for k in range(64))
        assert path.stat().st_size < 30e6  # sparse: dense would be 4 GB
        assert cog_validate(path, quiet=True)[:2] == (True, [])


def test_names_follow_the_grammar_and_differ_between_years(root: Path) -> None:
    for zone in ("47N", "48N"):
        stems = [_rasters(root, year)[zone].stem for year in (2023, 2024)]
        assert all(re.fullmatch(r"[a-z0-9]{17}-0000(?:000000|008192)-0000(?:000000|008192)", s) for s in stems)
        assert stems[0].split("-")[0] != stems[1].split("-")[0]


def test_nodata_is_in_all_bands_or_none_and_vectors_have_unit_length(codes_47: np.ndarray) -> None:
    missing = codes_47 == NODATA
    assert (missing.all(axis=0) == missing.any(axis=0)).all()
    assert 0 < missing[0].mean() < 1
    norms = np.linalg.norm(dequantize(codes_47[:, ~missing[0]]), axis=0)
    assert norms.min() >= 0.99
    assert norms.max() <= 1.01


@pytest.mark.parametrize("level", [0, 2, 4])
def test_overviews_are_renormalised_means(root: Path, codes_47: np.ndarray, level: int) -> None:
    # a corner of the world: land, and nothing to the south and east of it
    factor, row, col, size = 2 ** (level + 1), 320, 512, 512
    side = size // factor
    with rasterio.open(_rasters(root, 2024)["47N"], overview_level=level) as overview:
        found = overview.read(window=Window(col // factor, row // factor, side, side))
    vectors = np.nan_to_num(dequantize(codes_47[:, row : row + size, col : col + size]))
    total = vectors.reshape(64, side, factor, side, factor).sum(axis=(2, 4), dtype=np.float64)
    length = np.linalg.norm(total, axis=0)
    assert ((found[0] == NODATA) == (length == 0)).all()
    valid = length > 0
    assert 0 < valid.mean() < 1
    expected = total[:, valid] / length[valid]
    assert np.abs(dequantize(found[:, valid]) - expected).max() < 0.008


def test_smallest_overview_is_the_mean_of_the_file(root: Path, codes_47: np.ndarray) -> None:
    with rasterio.open(_rasters(root, 2024)["47N"], overview_level=12) as overview:
        found = dequantize(overview.read())[:, 0, 0]
    total = np.array([np.nansum(dequantize(band), dtype=np.float64) for band in codes_47])
    assert found @ (total / np.linalg.norm(total)) > 0.9999


def test_vrt_is_the_raster_turned_north_up(root: Path, codes_47: np.ndarray) -> None:
    path = _rasters(root, 2024)["47N"].with_suffix(".vrt")
    with rasterio.open(path) as vrt:
        assert vrt.transform.e == -10.0
        window = Window(300, 8192 - 1100, 200, 300)
        turned = vrt.read([1, 64], window=window)
    assert (turned == codes_47[[0, 63], 800:1100, 300:500][:, ::-1]).all()
    assert (turned != NODATA).any()


def _sample_vectors(root: Path, year: int, zone: str, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    path = _rasters(root, year)[zone]
    with rasterio.open(path) as raster:
        x, y = project(lon, lat, raster.crs.to_epsg())
        cols = np.floor((x - raster.transform.c) / 10).astype(int)
        rows = np.floor((y - raster.transform.f) / 10).astype(int)
        return dequantize(raster.read(window=Window(0, 0, 2048, 2048))[:, rows, cols])


def _sample_raster(path: Path, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    with rasterio.open(path) as raster:
        return np.array([value[0] for value in raster.sample(np.stack([lon, lat], axis=1))])


def test_both_zones_show_the_same_ground_where_they_overlap(root: Path) -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(101.98, 102.02, 600), rng.uniform(12.622, 12.673, 600)
    west, east = (_sample_vectors(root, 2024, zone, lon, lat) for zone in ("47N", "48N"))
    truth = _sample_raster(root / "truth/2024_classes.tif", lon, lat)
    land = ~np.isnan(west[0])
    # off by a pixel at the coast only
    assert (land == ~np.isnan(east[0])).mean() > 0.99
    assert (land == (truth != 0)).mean() > 0.99
    both = land & ~np.isnan(east[0])
    cosine = (west * east).sum(axis=0)[both]
    assert np.median(cosine) > 0.97
    assert (west[:, both] != east[:, both]).any()  # resampled and noisy, not copied
    classes = truth[both]
    for code in np.unique(classes):
        if (classes == code).sum() >= 20:
            means = [v[:, both][:, classes == code].mean(axis=1) for v in (west, east)]
            assert np.linalg.norm(means[0] - means[1]) < 0.05


def test_years_share_ground_but_not_vectors(root: Path) -> None:
    lon, lat = np.random.default_rng(1).uniform([[101.99], [12.636]], [[102.01], [12.659]], (2, 400))
    early, late = (_sample_vectors(root, year, "48N", lon, lat) for year in (2023, 2024))
    change = _sample_raster(root / "truth/change.tif", lon, lat)
    cosine = (early * late).sum(axis=0)
    assert set(np.unique(change)) == {0, 1}
    assert cosine[change == 0].mean() > cosine[change == 1].mean() + 0.005
    truths = [_sample_raster(root / f"truth/{year}_classes.tif", lon, lat) for year in (2023, 2024)]
    assert ((truths[0] != truths[1]) == (change == 1)).mean() > 0.99


def test_index_has_both_published_forms(root: Path) -> None:
    folder = root / "aef/v1/annual"
    plain = gpd.read_parquet(folder / "aef_index.parquet")
    stac = gpd.read_parquet(folder / "aef_index_stac_geoparquet.parquet")
    bounds = [f"{crs}_{side}" for crs in ("utm", "wgs84") for side in ("west", "south", "east", "north")]
    assert set(plain.columns) == {"fid", "geom", "crs", "year", "utm_zone", "path", *bounds}
    assert plain.geometry.name == "geom"
    assert stac.geometry.name == "geometry"
    assert {"bbox", "datetime", "proj:epsg", "assets"} <= set(stac.columns)
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*.tiff")}
    assert {path.split("annual/")[1] for path in plain["path"]} == on_disk
    assert [row["data"]["href"] for row in stac["assets"]] == plain["path"].tolist()
    assert (plain["utm_east"] - plain["utm_west"] == 81_920).all()


def _tables(root: Path) -> dict[str, pa.Table]:
    return {tile: pq.read_table(root / patch_file_path(tile, 2024)) for tile in TILES}


def test_patch_files_have_the_published_columns(root: Path) -> None:
    for tile, table in _tables(root).items():
        assert table.column_names == ["id", "embedding", "geometry"]
        assert table.schema.field("id").type == pa.int64()
        assert pa.types.is_list(table.schema.field("embedding").type)
        assert table.schema.field("embedding").type.value_type == pa.float32()
        assert set(table["embedding"].combine_chunks().value_lengths().to_pylist()) == {384}
        crs = gpd.read_parquet(root / patch_file_path(tile, 2024)).crs
        assert (crs is None) == (tile == TILE_WITHOUT_CRS)


def test_ids_decode_to_the_geometry_and_stand_on_the_lattice(root: Path) -> None:
    for tile in TILES:
        frame = gpd.read_parquet(root / patch_file_path(tile, 2024))
        lon, lat = geohash.decode(frame["id"].to_numpy())
        x, y = project(lon, lat, 32648)
        px, py = project(frame.geometry.x, frame.geometry.y, 32648)
        assert np.hypot(x - px, y - py).max() < 1.0
        assert len(recover(lon, lat)) == len(frame)
        box = sentinel2_tile_box(tile)
        footprints = footprint_boxes(*project(lon, lat, box.epsg), 320.0)
        assert footprints[:, 0].min() >= box.west - 1
        assert footprints[:, 1].min() >= box.south - 1
        assert footprints[:, 2].max() <= box.east + 1
        assert footprints[:, 3].max() <= box.north + 1


def test_duplicates_stand_in_several_files_and_differ_a_little(root: Path, summary: WorldSummary) -> None:
    tables = _tables(root)
    ids = np.concatenate([table["id"].to_numpy() for table in tables.values()])
    vectors = np.concatenate(
        [table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, 384) for table in tables.values()]
    )
    _, first, index, copies = np.unique(ids, return_index=True, return_inverse=True, return_counts=True)
    assert (len(copies), len(ids), copies.max()) == (summary.n_patches, summary.n_patch_rows, summary.n_max_copies)
    assert summary.n_max_copies == 4
    assert vectors.min() >= -5.5
    assert vectors.max() <= 4.3
    reference = vectors[first[index]]
    is_copy = first[index] != np.arange(len(ids))
    cosine = (vectors * reference).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1)
    assert (vectors[is_copy] != reference[is_copy]).any(axis=1).all()
    assert np.median(cosine[is_copy]) > 0.99


def test_files_hold_every_place_of_the_lattice_the_sea_too(root: Path) -> None:
    places = enumerate_places(*world_spec("tiny").bbox)
    for tile, table in _tables(root).items():
        box = sentinel2_tile_box(tile)
        x, y = project(places.lon, places.lat, box.epsg)
        west, south, east, north = footprint_boxes(x, y, 320.0).T
        in_tile = (west >= box.west) & (south >= box.south) & (east <= box.east) & (north <= box.north)
        in_world = _corners_inside(places.lon, places.lat, world_spec("tiny").bbox, box.epsg)
        expected = geohash.encode(places.lon, places.lat)[in_tile & in_world]
        assert set(table["id"].to_pylist()) == set(expected.tolist())


def _corners_inside(lon: np.ndarray, lat: np.ndarray, bbox: tuple[float, float, float, float], epsg: int) -> np.ndarray:
    """Tell which footprints lie wholly in a box in degrees."""
    west, south, east, north = footprint_boxes(*project(lon, lat, epsg), 320.0).T
    inside = np.ones(len(lon), bool)
    for x, y in ((west, south), (west, north), (east, south), (east, north)):
        corner_lon, corner_lat = unproject(x, y, epsg)
        inside &= (corner_lon >= bbox[0]) & (corner_lon <= bbox[2])
        inside &= (corner_lat >= bbox[1]) & (corner_lat <= bbox[3])
    return inside


def test_labels_agree_with_truth_at_the_recorded_rate(root: Path, summary: WorldSummary) -> None:
    paths = sorted((root / "worldcover").glob("*.tif"))
    assert [path.name for path in paths] == [
        f"ESA_WorldCover_10m_2021_v200_{name}_Map.tif" for name in ("N12E099", "N12E102")
    ]
    wrong = total = 0
    with rasterio.open(root / "truth/2024_classes.tif") as truth:
        for path in paths:
            with rasterio.open(path) as labels:
                found = labels.read(1)
                true = truth.read(
                    1, window=from_bounds(*labels.bounds, truth.transform).round_offsets().round_lengths()
                )
                assert labels.crs.to_epsg() == 4326
                assert set(np.unique(found)) <= {0, *CLASS_CODES}
            assert ((found == 0) == (true == 0)).all()
            wrong += (found != true).sum()
            total += (true != 0).sum()
    assert wrong / total == pytest.approx(summary.label_error_rate)
    assert wrong / total == pytest.approx(0.05, abs=0.005)


def _arrays(root: Path) -> list[np.ndarray]:
    arrays = [
        np.asarray(pq.read_table(root / patch_file_path(tile, 2024))["embedding"].combine_chunks().flatten())
        for tile in TILES
    ]
    for path in sorted([*root.rglob("*.tif"), *root.rglob("*.tiff")]):
        with rasterio.open(path) as raster:
            arrays.append(raster.read(window=Window(0, 0, min(raster.width, 2048), min(raster.height, 2048))))
    return arrays


def test_same_seed_gives_the_same_arrays(root: Path, tmp_path: Path) -> None:
    again = build_world(tmp_path / "again", "tiny", SEED)
    assert again.was_built
    for first, second in zip(_arrays(root), _arrays(again.root), strict=True):
        assert np.array_equal(first, second)


def test_build_is_idempotent_and_a_new_seed_replaces_the_world(root: Path, tmp_path: Path) -> None:
    before = (root / MARK).stat().st_mtime_ns
    assert not build_world(root, "tiny", SEED).was_built
    assert (root / MARK).stat().st_mtime_ns == before
    other = tmp_path / "world"
    (other / "old").mkdir(parents=True)
    mark = json.loads((root / MARK).read_text())
    (other / MARK).write_text(json.dumps(mark | {"seed": SEED + 1}))
    rebuilt = build_world(other, "tiny", SEED)
    assert rebuilt.was_built
    assert not (other / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_killed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(what: str, _share: float) -> None:
        if what == "pixels":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_world(tmp_path / "world", "tiny", SEED, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_world_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(NotAWorldError, match="mine: found a folder without"):
        build_world(tmp_path / "mine", "tiny", SEED)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_full_disk_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.world._NEEDED_MB", {"tiny": 10**12})
    with pytest.raises(DiskSpaceError):
        build_world(tmp_path / "world", "tiny", SEED)
    assert list(tmp_path.iterdir()) == []


def test_mark_lists_every_file_and_says_simulated(root: Path, summary: WorldSummary) -> None:
    mark = json.loads((root / MARK).read_text())
    listed = {entry["path"]: entry["bytes"] for entry in mark["files"]}
    on_disk = {
        path.relative_to(root).as_posix(): path.stat().st_size
        for path in root.rglob("*")
        if path.is_file() and path.name != MARK
    }
    assert listed == on_disk
    assert mark["is_simulated"] is True
    assert "simulated" in mark["note"]
    assert (summary.n_files, summary.n_bytes) == (len(on_disk), sum(on_disk.values()))
