from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
import shapely

from transforms.quantization import dequantize, quantize
from transforms.utm import project
from warehouse.errors import SourceContentError, SourceFormatError
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources import open_pixel_source
from warehouse.sources.index import read_index
from warehouse.sources.pixel_table import PixelTableSource, read_points

REGIONS = ("amazon_forest", "california_coast", "iowa_ag", "sf_bay_urban")
LON, LAT = np.array([101.9, 102.1, 102.2]), np.array([13.0, 13.0, -1.0])
UNIT = np.full((3, 64), 0.125, np.float32)


def vector_columns(vectors: np.ndarray = UNIT) -> dict[str, np.ndarray]:
    return {f"A{i:02d}": vectors[:, i] for i in range(vectors.shape[1])}


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    def write(columns: dict) -> Path:
        path = tmp_path / "table.csv"
        csv.write_csv(pa.table(columns), path)
        return path

    return write


@pytest.mark.parametrize("region", REGIONS)
def test_real_earth_engine_exports(real_data: Path, products: dict[str, Product], region: str) -> None:
    path = real_data / "aef_points" / f"alphaearth_s1_dw_samples_{region}_2024.csv"
    points, extra = read_points(path, products["aef_table"])
    assert points.vectors.shape == (720, 64)
    # every published value is on the int8 grid, so quantising loses nothing
    np.testing.assert_allclose(dequantize(quantize(points.vectors)), points.vectors, atol=1e-6)
    norms = np.linalg.norm(points.vectors, axis=1)
    assert 0.994 < norms.min() < norms.max() < 1.006
    geojson = csv.read_csv(path)[".geo"].to_pylist()
    assert [json.loads(text)["coordinates"] for text in geojson[:5]] == [
        [lon, lat] for lon, lat in zip(points.lon[:5], points.lat[:5], strict=True)
    ]
    assert {"dw_label", "region", "year", "S1_VV"} <= set(extra.column_names)
    assert not {"A00", "longitude", ".geo"} & set(extra.column_names)
    assert np.bincount(extra["dw_label"].to_numpy()).tolist() == [80] * 9


def test_real_list_column_with_own_metres(real_data: Path, make_product: Callable[..., Product]) -> None:
    product = make_product(grain="pixel", layout="pixel_table", dims=128, pixel_m=10.0)
    path = real_data / "pairs" / "eurosat200_pixels_stride4.parquet"
    points, extra = read_points(path, product)
    table = pq.read_table(path, columns=["x", "epsg", "embedding", "lon"])
    assert points.vectors.shape == (51_200, 128)
    assert extra.column_names == ["chip", "label", "fold", "row", "col"]
    np.testing.assert_array_equal(points.x_m, table["x"].to_numpy())
    np.testing.assert_array_equal(points.epsg, table["epsg"].to_numpy())
    np.testing.assert_array_equal(points.vectors[777], np.array(table["embedding"][777].as_py(), np.float32))
    for epsg in np.unique(points.epsg)[:3]:
        mine = points.epsg == epsg
        x, y = project(points.lon[mine], points.lat[mine], int(epsg))
        assert np.hypot(x - points.x_m[mine], y - points.y_m[mine]).max() < 0.01


def spellings() -> dict[str, dict]:
    x, y = project(LON, LAT, 32648)
    points = shapely.points(LON, LAT)
    return {
        "lon lat": {"lon": LON, "lat": LAT},
        "longitude latitude": {"longitude": LON, "latitude": LAT},
        "metres": {"x": x, "y": y, "epsg": np.full(3, 32648)},
        "WKT": {"WKT": shapely.to_wkt(points, rounding_precision=9)},
        ".geo": {".geo": shapely.to_geojson(points)},
        "coordinates before an empty .geo": {
            "longitude": LON, "latitude": LAT, ".geo": ['{"type":"MultiPoint","coordinates":[]}'] * 3
        },
    }  # fmt: skip


@pytest.mark.parametrize("spelling", list(spellings()))
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_spellings_of_places(tmp_path: Path, products: dict[str, Product], spelling: str, suffix: str) -> None:
    table = pa.table({**vector_columns(), **spellings()[spelling], "label": ["a", "b", "c"]})
    path = tmp_path / f"points{suffix}"
    csv.write_csv(table, path) if suffix == ".csv" else pq.write_table(table, path)
    points, extra = read_points(path, products["aef_table"])
    np.testing.assert_allclose(points.lon, LON, atol=1e-9)
    np.testing.assert_allclose(points.lat, LAT, atol=1e-9)
    zones = [32648] * 3 if spelling == "metres" else [32647, 32648, 32748]
    assert points.epsg.tolist() == zones
    for i, zone in enumerate(zones):
        x, y = project(LON[i], LAT[i], zone)
        assert (points.x_m[i], points.y_m[i]) == pytest.approx((float(x), float(y)), abs=1e-3)
    assert extra.to_pydict() == {"label": ["a", "b", "c"]}


def test_wkb_points(tmp_path: Path, products: dict[str, Product]) -> None:
    path = tmp_path / "points.parquet"
    pq.write_table(pa.table({**vector_columns(), "geometry": pa.array(shapely.to_wkb(shapely.points(LON, LAT)))}), path)
    np.testing.assert_array_equal(read_points(path, products["aef_table"])[0].lat, LAT)


def test_tables_by_year_through_the_source(tmp_path: Path, products: dict[str, Product], write_csv: Callable) -> None:
    write_csv({**vector_columns(), "lon": LON, "lat": LAT})
    source = SourceSettings(root=tmp_path, files="*.csv", year=2024)
    index = read_index(products["aef_table"], source, [2024])
    opened = open_pixel_source(products["aef_table"], source, index)
    assert isinstance(opened, PixelTableSource)
    assert [(path, len(points)) for path, points, _ in opened.iter_points(2024)] == [("table.csv", 3)]
    assert list(opened.iter_points(2023)) == []
    (row,) = index.to_pylist()
    assert (row["epsg"], row["west_deg"], row["north_deg"]) == (None, 101.9, 13.0)  # three zones: no metres


def test_missing_and_text_columns_in_one_error(products: dict[str, Product], write_csv: Callable) -> None:
    columns = {**vector_columns(), "lon": LON, "lat": LAT}
    del columns["A17"], columns["A40"]
    columns["A03"] = ["a", "b", "c"]
    with pytest.raises(SourceContentError) as caught:
        read_points(write_csv(columns), products["aef_table"])
    message = str(caught.value)
    assert "table.csv" in message
    assert "vector columns ['A17', 'A40']: found none, expected A00..A63" in message
    assert "found ['A03 (string)'], expected numbers" in message


def test_doubled_column(tmp_path: Path, products: dict[str, Product]) -> None:
    path = tmp_path / "double.csv"
    names = [*vector_columns(), "A17", "lon", "lat"]
    path.write_text(",".join(names) + "\n" + ",".join(["0.125"] * len(names)) + "\n")
    with pytest.raises(SourceContentError, match=r"\['A17'\]: found more than once"):
        read_points(path, products["aef_table"])


@pytest.mark.parametrize("hole", ["", "nan", "NaN"])
def test_nan_vectors(tmp_path: Path, products: dict[str, Product], hole: str) -> None:
    path = tmp_path / "nan.csv"
    values = ["0.125"] * 64
    values[17] = hole
    lines = [
        ",".join([*vector_columns(), "lon", "lat"]),
        ",".join(["0.125"] * 64 + ["102", "13"]),
        ",".join([*values, "102", "13"]),
    ]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(SourceContentError, match=r"nan\.csv: .*1 of 2 rows with NaN.*row 1, column 'A17'"):
        read_points(path, products["aef_table"])


def test_wrong_length_of_lists(tmp_path: Path, make_product: Callable[..., Product]) -> None:
    path = tmp_path / "short.parquet"
    pq.write_table(pa.table({"embedding": [[1.0, 2.0], [1.0, 2.0, 3.0]], "lon": [1.0, 2.0], "lat": [1.0, 2.0]}), path)
    product = make_product(grain="pixel", layout="pixel_table", dims=3, pixel_m=10.0)
    with pytest.raises(SourceContentError, match="found 1 rows of 2 dimensions, expected 3 in every row"):
        read_points(path, product)
    with pytest.raises(SourceContentError, match="vector column 'v': found 0"):
        read_points(path, product.model_copy(update={"vector_column": "v"}))


def test_raw_codes_are_refused(products: dict[str, Product], write_csv: Callable) -> None:
    codes = np.tile(np.arange(64) - 32, (3, 1))
    with pytest.raises(SourceContentError, match=r"values up to 32 \(int8 codes that were not dequantised\?\)"):
        read_points(write_csv({**vector_columns(codes), "lon": LON, "lat": LAT}), products["aef_table"])


def test_the_wrong_divisor_is_noticed(real_data: Path, tmp_path: Path, products: dict[str, Product]) -> None:
    table = csv.read_csv(real_data / "aef_points" / "alphaearth_s1_dw_samples_iowa_ag_2024.csv")
    right = np.stack([table[f"A{i:02d}"].to_numpy() for i in range(64)], axis=1)
    wrong = quantize(right) / 127.0  # seen in the wild: linear, and 127
    path = tmp_path / "wrong.parquet"
    pq.write_table(pa.table({**vector_columns(wrong), "lon": table["longitude"], "lat": table["latitude"]}), path)
    with pytest.raises(SourceContentError, match=r"median length of 2\.5.*another formula"):
        read_points(path, products["aef_table"])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"east": LON}, "place columns"),
        ({"lon": LON * 1e5, "lat": LAT}, "Are these metres"),
        ({"lon": [1.0, None, 2.0], "lat": LAT}, "1 rows without a place, first row 1"),
        ({"WKT": ["POINT (1 2)", "POINT (3 4", "POINT (5 6)"]}, "does not parse"),
        ({"WKT": ["POINT (1 2)", "POLYGON ((0 0, 1 0, 1 1, 0 0))", "POINT (5 6)"]}, "expected a point"),
    ],
)
def test_bad_places(products: dict[str, Product], write_csv: Callable, place: dict, message: str) -> None:
    with pytest.raises((SourceFormatError, SourceContentError), match=message) as caught:
        read_points(write_csv({**vector_columns(), **place}), products["aef_table"])
    assert "table.csv" in str(caught.value)


def test_ragged_csv(tmp_path: Path, products: dict[str, Product]) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text("A00,lon,lat\n1,2\n")
    with pytest.raises(SourceFormatError, match=r"ragged\.csv: CSV"):
        read_points(path, products["aef_table"])
