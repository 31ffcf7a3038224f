"""Pooled vectors against area-weighted statistics computed straight from the COGs, and across file seams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
from rasterio.windows import Window

from assets.pixels import ingest_pixels
from assets.pooled import pool_shard
from assets.release_index import observe_releases
from tests.assets.brute_force import PIXEL_M, Codes, dequantise, read_codes, shares
from tests.conftest import TinyRun
from tests.tiny import copy_world, tiny_settings, write_settings
from warehouse.layout import PartitionKey, partition_path
from warehouse.reader import vectors
from warehouse.settings import load_settings
from warehouse.store import Warehouse

ZONES = {32647: "47N", 32648: "48N"}
OPERATORS = ("mean", "mean_renormalised", "std", "min", "max")


def read_pooled(run: TinyRun, year: int) -> list[dict[str, Any]]:
    """Pooled rows with the footprints of their patches; vectors as float64."""
    keys = run.warehouse.partitions("out_patch__aef_pooled", year=year)
    table = run.warehouse.read_many("out_patch__aef_pooled", keys)
    spine = run.sql("select patch_id, epsg, x_m, y_m, side_m from core_grid__patches").to_pylist()
    places = {row["patch_id"]: row for row in spine}
    columns = {name: vectors(table, name).astype(np.float64) for name in OPERATORS}
    rows = table.select(["patch_id", "n_pixels", "valid_fraction", "mean_length", "shard"]).to_pylist()
    return [
        row | places[row["patch_id"]] | {name: values[i] for name, values in columns.items()}
        for i, row in enumerate(rows)
    ]


def pool_by_hand(run: TinyRun, year: int, row: dict[str, Any]) -> dict[str, Any]:
    """Area-weighted statistics of a footprint; ground without a valid pixel in its zone is the next zone's."""
    codes = read_codes(run.world, year, ZONES[row["epsg"]])
    half = row["side_m"] / 2
    west, east = row["x_m"] - half, row["x_m"] + half
    south, north = row["y_m"] - half, row["y_m"] + half
    weight = np.outer(shares(south, north, codes.y), shares(west, east, codes.x)) * codes.valid
    is_inside = np.outer((codes.y >= south) & (codes.y < north), (codes.x >= west) & (codes.x < east)) & codes.valid
    x, w, inner = codes.values[:, weight > 0], weight[weight > 0], codes.values[:, is_inside]
    if is_across_the_zone_edge(row):
        left = shapely.box(west, south, east, north).difference(squares_of(codes, weight > 0))
        for part, share, is_in in pixels_of_next_zone(run, year, row["epsg"], left):
            x, w = np.column_stack([x, part]), np.append(w, share)
            inner = np.column_stack([inner, part]) if is_in else inner
    answer: dict[str, Any] = {"valid_fraction": w.sum() * PIXEL_M**2 / row["side_m"] ** 2, "n_pixels": inner.shape[1]}
    if answer["valid_fraction"] < 0.5:
        return answer
    values, inner = dequantise(x), dequantise(inner)
    mean = (values * w).sum(axis=1) / w.sum()
    return answer | {
        "mean": mean,
        "mean_length": np.linalg.norm(mean),
        "mean_renormalised": mean / np.linalg.norm(mean),
        "std": np.sqrt(((values - mean[:, None]) ** 2 * w).sum(axis=1) / w.sum()),
        "min": inner.min(axis=1),
        "max": inner.max(axis=1),
    }


def squares_of(codes: Codes, chosen: np.ndarray) -> shapely.Geometry:
    """Join the squares of some pixels."""
    i, j = np.nonzero(chosen)
    return shapely.union_all(shapely.box(codes.x[j] - 5, codes.y[i] - 5, codes.x[j] + 5, codes.y[i] + 5))


def pixels_of_next_zone(
    run: TinyRun, year: int, epsg: int, left: shapely.Geometry
) -> Iterator[tuple[np.ndarray, float, bool]]:
    """Give (codes, share, centre inside) of the next zone's valid pixels under what is left of a footprint."""
    other = 32647 + 32648 - epsg
    to_other = pyproj.Transformer.from_crs(epsg, other, always_xy=True)
    # thinner than 2 mm: rounding of the edges
    parts = [part for part in shapely.get_parts(left) if not part.buffer(-0.001).is_empty]
    if not parts:
        return
    shape = shapely.transform(
        shapely.segmentize(shapely.multipolygons(parts), 20), lambda xy: np.column_stack(to_other.transform(*xy.T))
    )
    codes = read_codes(run.world, year, ZONES[other])
    west, south, east, north = shape.bounds
    for i in np.flatnonzero((codes.y > south - 5) & (codes.y < north + 5)):
        for j in np.flatnonzero((codes.x > west - 5) & (codes.x < east + 5)):
            x, y = codes.x[j], codes.y[i]
            share = shape.intersection(shapely.box(x - 5, y - 5, x + 5, y + 5)).area / PIXEL_M**2
            if codes.valid[i, j] and share > 1e-5:
                yield codes.values[:, i, j], share, bool(shapely.contains_xy(shape, x, y))


def is_across_the_zone_edge(row: dict[str, Any]) -> bool:
    """Tell whether a corner of a footprint lies in the next zone."""
    to_degrees = pyproj.Transformer.from_crs(row["epsg"], 4326, always_xy=True)
    half = row["side_m"] / 2
    lon, _ = to_degrees.transform(
        *(row[n] + half * np.array(s) for n, s in (("x_m", [-1, 1, 1, -1]), ("y_m", [-1, -1, 1, 1])))
    )
    return bool((np.asarray(lon) >= 102).any() if row["epsg"] == 32647 else (np.asarray(lon) < 102).any())


@pytest.mark.parametrize("year", [2023, 2024])
def test_pooled_vectors_equal_area_weighted_statistics_of_the_cogs(tiny_run: TinyRun, year: int) -> None:
    every = read_pooled(tiny_run, year)
    rows = [row for i, row in enumerate(every) if i % 2 == 0 or 0 < row["valid_fraction"] < 1]
    n_empty = n_partial = n_across = 0
    for row in rows:
        expected = pool_by_hand(tiny_run, year, row)
        assert row["n_pixels"] == expected["n_pixels"]
        assert row["valid_fraction"] == pytest.approx(expected["valid_fraction"], abs=3e-5)
        if expected["valid_fraction"] < 0.5:
            assert all(np.isnan(row[name]).all() for name in OPERATORS)
            n_empty += 1
            continue
        for name in (*OPERATORS, "mean_length"):
            np.testing.assert_allclose(row[name], expected[name], atol=2e-6, err_msg=f"{name} of {row['patch_id']}")
        n_partial += expected["valid_fraction"] < 0.99
        n_across += is_across_the_zone_edge(row)
    assert n_empty  # sea, or ground without pixels in that year
    assert n_partial  # coast, or the edge of that year's ground
    assert len(rows) - n_empty > 20
    assert n_across > 2


def test_mean_is_not_renormalised_and_length_says_how_mixed_a_patch_is(tiny_run: TinyRun) -> None:
    rows = [row for row in read_pooled(tiny_run, 2024) if np.isfinite(row["mean"]).all()]
    lengths = np.array([np.linalg.norm(row["mean"]) for row in rows])
    assert lengths.max() < 1
    assert np.allclose(lengths, [row["mean_length"] for row in rows], atol=1e-6)
    assert np.allclose([np.linalg.norm(row["mean_renormalised"]) for row in rows], 1, atol=1e-6)


def split_cog(world: Path, year: int, zone: str, northing: float) -> None:
    """Replace a COG by two bottom-up files that meet at a northing, and their rows in the index."""
    (path,) = (world / f"aef/v1/annual/{year}/{zone}").glob("*.tiff")
    codes = read_codes(world, year, zone)
    with rasterio.open(path) as raster:
        first = round((codes.north - codes.values.shape[1] * PIXEL_M - raster.transform.f) / PIXEL_M)
        col = round((codes.west - raster.transform.c) / PIXEL_M)
        seam = round((northing - raster.transform.f) / PIXEL_M)
        parts = {"south": (first, seam), "north": (seam, first + codes.values.shape[1])}
        boxes = {}
        for name, (start, stop) in parts.items():
            window = Window(col, start, codes.values.shape[2], stop - start)
            transform = rasterio.Affine(
                10, 0, codes.west, 0, 10, raster.transform.f + PIXEL_M * start
            )  # e > 0: bottom-up
            profile = raster.profile | {"width": window.width, "height": window.height, "transform": transform}
            profile |= {"blockxsize": 256, "blockysize": 256, "zlevel": 1}
            target = path.with_name(f"x{name}-0000000000-0000000000.tiff")
            with rasterio.open(target, "w", **profile) as part:
                part.write(raster.read(window=window))
            y0 = transform.f
            boxes[target] = (codes.west, y0, codes.west + 10 * window.width, y0 + 10 * window.height)
    write_index(world, path, boxes, codes.epsg)
    path.unlink()


def write_index(world: Path, old: Path, boxes: dict[Path, tuple[float, float, float, float]], epsg: int) -> None:
    index = world / "aef/v1/annual/aef_index.parquet"
    table = gpd.read_parquet(index)
    is_old = table["path"].str.endswith(old.name)
    assert is_old.sum() == 1
    rows = []
    for path, box in boxes.items():
        row = table[is_old].copy()
        row["path"] = row["path"].str.replace(old.name, path.name)
        degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True).transform_bounds(*box)
        for side, metres, degree in zip(("west", "south", "east", "north"), box, degrees, strict=True):
            row[f"utm_{side}"], row[f"wgs84_{side}"] = metres, degree
        rows.append(row)
    merged = gpd.GeoDataFrame(pd.concat([table[~is_old], *rows], ignore_index=True), geometry="geom", crs=4326)
    index.unlink()  # it is a hard link
    merged.to_parquet(index, index=False)


@pytest.fixture(scope="module")
def seam_northing(tiny_run: TinyRun) -> float:
    """A northing inside 47PRP where two files are made to meet."""
    rows = tiny_run.sql("select y_m from core_grid__patches where shard = '47PRP' and epsg = 32647").to_pydict()
    return float(round(np.median(rows["y_m"]) / PIXEL_M) * PIXEL_M)


@pytest.fixture(scope="module")
def seamed(tiny_run: TinyRun, seam_northing: float, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """47PRP of a world whose 47N comes in two files of 256 px blocks."""
    folder = tmp_path_factory.mktemp("seam")
    world = copy_world(tiny_run.world, folder / "world")
    split_cog(world, 2024, "47N", seam_northing)
    settings = tiny_settings(world) | {"limits": {"block_px": 256, "min_free_mb": 100}}
    warehouse = Warehouse(load_settings(write_settings(folder / "tiny.toml", settings)))
    for table, key in (("core_grid__shards", PartitionKey()), ("core_grid__patches", PartitionKey(shard="47PRP"))):
        target = partition_path(warehouse.root, table, key)
        target.parent.mkdir(parents=True)
        target.symlink_to(partition_path(tiny_run.warehouse.root, table, key))
    aef = warehouse.products["aef"]
    observe_releases(warehouse, aef)
    ingest_pixels(warehouse, aef, PartitionKey(2024, "47PRP"))
    pool_shard(warehouse, aef, warehouse.products["eg"], PartitionKey(2024, "47PRP"))
    return warehouse


def test_patches_on_a_seam_of_files_and_blocks_are_pooled_as_if_there_were_none(
    tiny_run: TinyRun, seamed: Warehouse, seam_northing: float
) -> None:
    key = PartitionKey(2024, "47PRP")
    spine = tiny_run.warehouse.read("core_grid__patches", PartitionKey(shard="47PRP"))
    n_on_seam = int((np.abs(spine["y_m"].to_numpy() - seam_northing) < 150).sum())
    assert n_on_seam > 5
    # rows are written as patches become whole: another order of blocks, another order of rows
    whole, parts = (w.read("out_patch__aef_pooled", key).sort_by("patch_id") for w in (tiny_run.warehouse, seamed))
    assert whole["patch_id"].equals(parts["patch_id"])
    for name in (*OPERATORS, "mean_length", "valid_fraction", "n_pixels"):
        a, b = (vectors(t, name) if name in OPERATORS else t[name].to_numpy() for t in (whole, parts))
        np.testing.assert_array_equal(a, b, err_msg=name)  # sums of codes are integers: not one bit differs


def test_pixels_on_a_seam_are_kept_once(tiny_run: TinyRun, seamed: Warehouse) -> None:
    key = PartitionKey(2024, "47PRP")
    whole, parts = (w.read("core_aef__pixels", key).sort_by("pixel_id") for w in (tiny_run.warehouse, seamed))
    assert whole.equals(parts)
