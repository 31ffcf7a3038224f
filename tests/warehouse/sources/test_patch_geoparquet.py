from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from transforms.lattice import count_columns, enumerate_places
from transforms.utm import project, unproject
from warehouse.errors import MissingColumnsError, SourceContentError, SourceFormatError
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources.index import read_index
from warehouse.sources.patch_geoparquet import read_footprints, read_patch_file
from warehouse.sources.patches import read_footprint_places, read_unique_patches

FIELDS = {"grain": "patch", "layout": "patch_geoparquet", "dims": 2, "patch_m": 320.0, "years": (2024,)}


@pytest.fixture
def boxes() -> gpd.GeoDataFrame:
    """Two squares of 300 m and 320 m in zone 48, with vectors."""
    shapes = [shapely.box(500_000, 1e6, 500_300, 1e6 + 300), shapely.box(600_000, 1e6, 600_320, 1e6 + 320)]
    return gpd.GeoDataFrame({"embedding": [[1.0, 2.0], [3.0, 4.0]], "name": ["a", "b"]}, geometry=shapes, crs=32648)


def test_real_clay(real_data: Path, products: dict[str, Product]) -> None:
    path = real_data / "clay_patches" / "03WVN_20220610_20220610_v001.gpq"
    file = read_patch_file(path, products["clay_v0"])
    assert file.vectors.shape == (417, 768)
    assert file.extra.column_names == ["index", "source_url", "date"]
    prints = file.footprints
    np.testing.assert_allclose(prints.side_m, 5120, atol=1e-3)
    assert set(prints.epsg) == {32603}
    frame = gpd.read_parquet(path)
    assert shapely.equals(prints.polygons, frame.geometry.to_numpy()).all()
    centroids = frame.to_crs(32603).centroid
    np.testing.assert_allclose(prints.x_m, centroids.x, atol=1e-4)
    np.testing.assert_allclose(prints.y_m, centroids.y, atol=1e-4)
    assert file.source_id[:3].tolist() == ["0", "1", "2"]
    (row,) = read_index(products["clay_v0"], SourceSettings(root=path.parent, files="*.gpq"), [2022]).to_pylist()
    np.testing.assert_allclose(
        [row["west_deg"], row["south_deg"], row["east_deg"], row["north_deg"]], frame.total_bounds
    )


@pytest.mark.parametrize(
    ("name", "rows", "side"),
    [("slovenia_patches8px", 144, 80), ("slovenia_patches4px", 576, 40), ("eurosat200_patches8px", 12_800, 80)],
)
def test_real_pairs(real_data: Path, make_product: Callable[..., Product], name: str, rows: int, side: float) -> None:
    product = make_product(**{**FIELDS, "dims": 128, "id_column": "id", "patch_m": side})
    file = read_patch_file(real_data / "pairs" / f"{name}.parquet", product)
    assert file.vectors.shape == (rows, 128)
    assert len(np.unique(file.source_id)) == rows
    np.testing.assert_allclose(file.footprints.side_m, side, rtol=0.01)


def test_real_chips_use_their_own_zone(real_data: Path, make_product: Callable[..., Product]) -> None:
    product = make_product(**{**FIELDS, "dims": 128, "id_column": "id", "patch_m": 640.0})
    path = real_data / "pairs" / "eurosat200_chips64px.parquet"
    file = read_patch_file(path, product)
    np.testing.assert_array_equal(file.footprints.epsg, pq.read_table(path)["epsg"].to_numpy())
    assert {"label", "group", "fold", "epsg"} == set(file.extra.column_names)


def test_polygons_in_another_crs(tmp_path: Path, make_product: Callable[..., Product], boxes: gpd.GeoDataFrame) -> None:
    path = tmp_path / "boxes.parquet"
    boxes.to_parquet(path)
    file = read_patch_file(path, make_product(**FIELDS, id_column="name"))
    assert file.source_id.tolist() == ["a", "b"]
    np.testing.assert_array_equal(file.vectors, [[1, 2], [3, 4]])
    np.testing.assert_allclose(file.footprints.x_m, [500_150, 600_160], atol=1e-4)
    np.testing.assert_allclose(file.footprints.side_m, [300, 320], atol=1e-4)
    lon, lat = unproject([500_150, 600_160], [1e6 + 150, 1e6 + 160], 32648)
    np.testing.assert_allclose(file.footprints.lon, lon, atol=1e-9)
    np.testing.assert_allclose(file.footprints.lat, lat, atol=1e-9)
    assert file.extra.column_names == []


@pytest.mark.parametrize("footer", ["geopandas", "none"])
def test_points_become_boxes_of_the_products_side(
    tmp_path: Path, make_product: Callable[..., Product], footer: str
) -> None:
    lon, lat = np.array([101.9, 102.1, 179.9]), np.array([13.0, 13.0, -40.0])
    path = tmp_path / "points.parquet"
    points = shapely.points(lon, lat)
    if footer == "geopandas":
        gpd.GeoDataFrame({"embedding": [[0.0, 1.0]] * 3}, geometry=points, crs=4326).to_parquet(path)
    else:
        pq.write_table(pa.table({"embedding": [[0.0, 1.0]] * 3, "geom": shapely.to_wkb(points)}), path)
    prints = read_footprints(path, make_product(**FIELDS))
    assert prints.epsg.tolist() == [32647, 32648, 32760]
    np.testing.assert_allclose(prints.side_m, 320, atol=1e-4)
    np.testing.assert_allclose(prints.lon, lon, atol=1e-9)
    for polygon, epsg, x, y in zip(prints.polygons, prints.epsg, prints.x_m, prints.y_m, strict=True):
        corner_x, corner_y = project(*shapely.get_coordinates(polygon).T, int(epsg))
        np.testing.assert_allclose(np.unique(np.abs(corner_x - x).round(3)), [160])
        np.testing.assert_allclose(np.unique(np.abs(corner_y - y).round(3)), [160])


def test_chosen_geometry_column(tmp_path: Path, make_product: Callable[..., Product], boxes: gpd.GeoDataFrame) -> None:
    path = tmp_path / "two.parquet"
    boxes.assign(other=boxes.geometry.translate(10_000)).set_geometry("other").drop(columns="name").pipe(
        lambda frame: frame.set_geometry("geometry")
    ).to_parquet(path)
    first = read_footprints(path, make_product(**FIELDS))
    moved = read_footprints(path, make_product(**FIELDS, geometry_column="other"))
    np.testing.assert_allclose(moved.x_m - first.x_m, 10_000, atol=1e-3)


def write_bad(path: Path, **columns: object) -> Path:
    point = shapely.to_wkb(shapely.points([1.0], [2.0]))
    data = {"embedding": [[0.0, 1.0]], "geometry": pa.array(point, pa.binary())} | columns
    pq.write_table(pa.table({key: value for key, value in data.items() if value is not None}), path)
    return path


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"embedding": None}, MissingColumnsError, "column 'embedding' is missing"),
        ({"geometry": None}, MissingColumnsError, "column 'geometry' is missing"),
        ({"embedding": [[0.0, 1.0, 2.0]]}, SourceContentError, "1 rows of 3 dimensions, expected 2"),
        ({"embedding": [[0.0, float("nan")]]}, SourceContentError, "1 of 1 rows with NaN.*row 0, element 1"),
        ({"embedding": [[0.0, None]]}, SourceContentError, "1 of 1 rows with NaN"),
        ({"embedding": pa.array([None], pa.list_(pa.float32()))}, SourceContentError, "1 rows without a vector"),
        ({"embedding": ["0 1"]}, SourceContentError, "found type string, expected a list of 2 numbers"),
        ({"geometry": pa.array([None], pa.binary())}, SourceContentError, "1 of 1 rows without one"),
        ({"geometry": pa.array([b"xyz"])}, SourceFormatError, "no WKB"),
        ({"geometry": ["POINT (1 2)"]}, SourceFormatError, "found string, expected WKB"),
        ({"geometry": shapely.to_wkb(shapely.points([5e5], [1e6]))}, SourceContentError, "Does the file lack its CRS"),
        (
            {"geometry": shapely.to_wkb(shapely.linestrings([[[0, 0], [1, 1]]]))},
            SourceContentError,
            "LINESTRING.*expected polygons or points",
        ),
    ],
)
def test_bad_files(
    tmp_path: Path, make_product: Callable[..., Product], columns: dict, error: type[Exception], message: str
) -> None:
    path = write_bad(tmp_path / "bad.parquet", **columns)
    with pytest.raises(error, match=message) as caught:
        read_patch_file(path, make_product(**FIELDS))
    assert "bad.parquet" in str(caught.value)


def test_empty_file(tmp_path: Path, make_product: Callable[..., Product]) -> None:
    path = write_bad(
        tmp_path / "empty.parquet",
        embedding=pa.array([], pa.list_(pa.float32())), geometry=pa.array([], pa.binary()),
    )  # fmt: skip
    file = read_patch_file(path, make_product(**FIELDS))
    assert len(file) == len(file.footprints) == 0
    assert file.vectors.shape == (0, 2)


def test_files_read_alike_whether_geoarrow_is_imported_or_not(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"embedding": [[0.5] * 4, [1.0] * 4]}, geometry=gpd.points_from_xy([10.0, 10.1], [45.0, 45.1]), crs=4326
    )
    path = tmp_path / "points.parquet"
    frame.to_parquet(path)
    script = (
        "import json, sys{extra}; from pathlib import Path; from warehouse.products import Product\n"
        "from warehouse.sources.patch_geoparquet import read_patch_file\n"
        "product = Product(name='p', title='p', producer='p', model='m', grid_version='g', grain='patch',"
        " layout='patch_geoparquet', dims=4, patch_m=100.0, licence='x', attribution='x')\n"
        "print(json.dumps(read_patch_file(Path(sys.argv[1]), product).footprints.lon.tolist()))"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", script.format(extra=extra), str(path)], capture_output=True, text=True, check=True
        ).stdout
        for extra in ("", ", geoarrow.pyarrow")
    ]
    assert answers[0] == answers[1]
    assert np.allclose(json.loads(answers[0]), [10.0, 10.1])


def test_earth_genome_files_of_another_grid_are_read_by_their_points_each_place_once(
    tmp_path: Path, make_product: Callable[..., Product], write_eg: Callable
) -> None:
    places = enumerate_places(101.97, 12.5, 102.03, 12.55)  # on both sides of a zone's edge
    columns = count_columns(places.row)
    shifted = replace(places, lon=places.lon + np.where(columns % 2 == 1, 180.0 / columns, 0.0))
    n, half = len(places), len(places) // 2
    vectors = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    part = replace(shifted, **{field.name: getattr(shifted, field.name)[:half] for field in fields(shifted)})
    write_eg(tmp_path / "47PRP_2025-01-01_2026-01-01.parquet", part, -vectors[:half])
    write_eg(tmp_path / "48PTU_2025-01-01_2026-01-01.parquet", shifted, vectors)
    product = make_product(**{**FIELDS, "dims": 4, "id_column": "id", "years": (2025,)})
    source = SourceSettings(root=tmp_path, files="*.parquet", year=2025)
    index = read_index(product, source, [2025])
    found = read_unique_patches(product, source, index, (-180.0, -90.0, 180.0, 90.0)).patches
    assert len(found.patch_id) == n
    assert np.sort(found.lon) == pytest.approx(np.sort(shifted.lon), abs=1e-8)
    assert sorted(found.n_copies.tolist()) == [1] * (n - half) + [2] * half
    assert found.copies_max_cosine_distance[found.n_copies == 2] == pytest.approx(2.0)
    spine = read_footprint_places(product, source, index)
    assert np.sort(spine.patch_id).tolist() == found.patch_id.tolist()
    assert spine.side_m == pytest.approx(320.0, abs=1e-3)
    assert set(spine.epsg.tolist()) == {32647, 32648}  # that of the point, not of the file
