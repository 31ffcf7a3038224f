from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from transforms.area import area_of_boxes
from warehouse.errors import AnotherProductError, MissingColumnsError, SourceFormatError, SourceMissingError
from warehouse.products import Product
from warehouse.schemas import build_specs
from warehouse.source_settings import SourceSettings
from warehouse.sources.aef_index import count_aef_files, identify_index
from warehouse.sources.index import count_unregistered_years, list_unreadable, parse_eg_name, read_index

PATH = "annual/2024/48N/x0abc-0000000000-0000000000.tiff"
PREFIXES = [
    "s3://us-west-2.opendata.source.coop/tge-labs/aef/v1/",
    "https://data.source.coop/tge-labs/aef/v1/",
    "gs://alphaearth_foundations/satellite_embedding/v1/",
    "",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("geometry", ["geom", "geometry"])
@pytest.mark.parametrize("folder", ["annual", ""])
def test_table_form(
    tmp_path: Path, products: dict[str, Product], write_index: Callable, write_tiff: Callable,
    make_aef_row: Callable, prefix: str, geometry: str, folder: str,
) -> None:  # fmt: skip
    tiff = write_tiff(tmp_path / PATH, size=32)
    write_index(tmp_path / folder / "aef_index.parquet", [make_aef_row(prefix + PATH, size=32)], geometry=geometry)
    index = read_index(products["aef"], SourceSettings(root=tmp_path), [2024])
    specs = build_specs({"aef": products["aef"]}, labels={}, pixels=None, patches=None)
    assert index.schema == specs["raw_aef__index"].schema
    (row,) = index.to_pylist()
    assert (row["path"], row["tile"], row["epsg"], row["year"]) == (PATH, "48N", 32648, 2024)
    assert (row["utm_west_m"], row["utm_north_m"]) == (200_000, 1_400_320)
    assert row["size_bytes"] == tiff.stat().st_size
    assert row["etag"] == f"{tiff.stat().st_size:x}-{tiff.stat().st_mtime_ns:x}"
    assert row["is_simulated"] is False


@pytest.mark.parametrize("with_grid", [True, False])
@pytest.mark.parametrize("crs", ["proj:epsg", "proj:code"])
def test_stac_form_equals_table_form(
    tmp_path: Path, products: dict[str, Product], write_index: Callable, write_stac_index: Callable,
    write_tiff: Callable, make_aef_row: Callable, with_grid: bool, crs: str,
) -> None:  # fmt: skip
    write_tiff(tmp_path / PATH, size=32)
    rows = [make_aef_row(PREFIXES[0] + PATH, size=32)]
    stac = write_stac_index(tmp_path / "stac" / "aef_index_stac_geoparquet.parquet", rows, with_grid=with_grid, crs=crs)
    write_index(tmp_path / "annual/aef_index.parquet", rows)
    source = SourceSettings(root=tmp_path)
    from_table = read_index(products["aef"], source, [2024])
    from_stac = read_index(products["aef"], source.model_copy(update={"index": stac}), [2024])
    assert from_stac.to_pylist() == from_table.to_pylist()


def test_stac_row_without_file_and_grid_has_approximate_bounds(
    tmp_path: Path, products: dict[str, Product], write_stac_index: Callable, make_aef_row: Callable
) -> None:
    write_stac_index(tmp_path / "annual/aef_index_stac_geoparquet.parquet", [make_aef_row(PATH)], with_grid=False)
    (row,) = read_index(products["aef"], SourceSettings(root=tmp_path), [2024]).to_pylist()
    assert row["size_bytes"] is None
    assert row["utm_west_m"] == pytest.approx(200_000, abs=20)
    assert row["utm_west_m"] <= 200_000
    assert row["utm_north_m"] >= 1_400_960


@pytest.mark.parametrize("is_stac", [False, True])
def test_rows_are_counted_by_year_and_zone(
    tmp_path: Path, products: dict[str, Product], write_index: Callable, write_stac_index: Callable,
    make_aef_row: Callable, is_stac: bool,
) -> None:  # fmt: skip
    paths = [(2023, "48N"), (2024, "48N"), (2024, "48N"), (2024, "1S")]
    rows = [
        make_aef_row(
            f"{PREFIXES[0]}annual/{year}/{zone}/x{number}.tiff", year=year, epsg=32701 if zone == "1S" else 32648
        )
        for number, (year, zone) in enumerate(paths)
    ]
    if is_stac:
        write_stac_index(tmp_path / "annual/aef_index_stac_geoparquet.parquet", rows, with_grid=True)
    else:
        write_index(tmp_path / "annual/aef_index.parquet", rows)
    source = SourceSettings(root=tmp_path)
    assert count_aef_files(products["aef"], source) == {(2023, "48N"): 1, (2024, "48N"): 2, (2024, "1S"): 1}
    before = identify_index(products["aef"], source)
    assert identify_index(products["aef"], source) == before
    (next(tmp_path.glob("annual/*.parquet"))).write_bytes(b"longer than it was, and newer" * 1000)
    assert identify_index(products["aef"], source) != before


def test_years_and_area_filter(
    tmp_path: Path, products: dict[str, Product], write_index: Callable, make_aef_row: Callable
) -> None:
    paths = [f"annual/{year}/48N/{name}.tiff" for year in (2023, 2024) for name in ("b", "a")]
    rows = [
        make_aef_row(path, year=int(path.split("/")[1]), west=200_000.0 if path.endswith("a.tiff") else 300_000.0)
        for path in paths
    ]
    write_index(tmp_path / "aef_index.parquet", rows)
    source = SourceSettings(root=tmp_path)
    everything = read_index(products["aef"], source, [2023, 2024])
    assert everything["path"].to_pylist() == [paths[1], paths[0], paths[3], paths[2]]  # by year, then path
    assert read_index(products["aef"], source, [2022]).num_rows == 0
    near = read_index(products["aef"], source, [2024], area_of_boxes([(102.2, 12.6, 102.3, 12.7)]))
    assert near["path"].to_pylist() == [paths[3]]
    assert read_index(products["aef"], source, [2024], area_of_boxes([(0.0, 0.0, 1.0, 1.0)])).num_rows == 0


def test_area_across_the_antimeridian(
    tmp_path: Path, products: dict[str, Product], write_index: Callable, make_aef_row: Callable
) -> None:
    row = make_aef_row(PATH.replace("48N", "1S"), epsg=32701, west=100_000.0, south=8_000_000.0, size=8192)
    assert row["wgs84_west"] > row["wgs84_east"]
    write_index(tmp_path / "aef_index.parquet", [row])
    source = SourceSettings(root=tmp_path)
    for area in ((179.0, -19.0, 180.0, -17.0), (-180.0, -19.0, -179.9, -17.0)):
        assert read_index(products["aef"], source, [2024], area_of_boxes([area])).num_rows == 1
    assert read_index(products["aef"], source, [2024], area_of_boxes([(0.0, -19.0, 1.0, -17.0)])).num_rows == 0


def test_all_missing_columns_in_one_error(
    tmp_path: Path, products: dict[str, Product], write_index: Callable, make_aef_row: Callable
) -> None:
    write_index(tmp_path / "aef_index.parquet", [make_aef_row(PATH)], drop=("utm_west", "crs"))
    with pytest.raises(MissingColumnsError) as caught:
        read_index(products["aef"], SourceSettings(root=tmp_path), [2024])
    message = str(caught.value)
    assert message.startswith("raw_aef__index[2024]: columns 'crs', 'utm_west' are missing; found ['fid'")
    assert message.endswith("Set sources.aef.index.")


def test_absent_and_damaged_indexes(tmp_path: Path, products: dict[str, Product]) -> None:
    source = SourceSettings(root=tmp_path)
    with pytest.raises(SourceMissingError, match=r"annual/aef_index\.parquet.*sources\.aef\.root"):
        read_index(products["aef"], source, [2024])
    (tmp_path / "aef_index.parquet").write_bytes(b"PAR1 but not for long")
    with pytest.raises(SourceFormatError, match=r"aef_index\.parquet.*Download it again"):
        read_index(products["aef"], source, [2024])


def test_paths_of_another_layout_are_refused(
    tmp_path: Path, products: dict[str, Product], write_index: Callable, make_aef_row: Callable
) -> None:
    write_index(tmp_path / "aef_index.parquet", [make_aef_row("s3://elsewhere/48N/x.tiff")])
    with pytest.raises(SourceFormatError, match=r"s3://elsewhere.*annual/\{year\}"):
        read_index(products["aef"], SourceSettings(root=tmp_path), [2024])


@pytest.mark.parametrize("levels", [0, 1, 6])
def test_simulated_mark_above_the_root(
    tmp_path: Path, products: dict[str, Product], write_index: Callable, make_aef_row: Callable, levels: int
) -> None:
    root = tmp_path.joinpath(*(f"level{i}" for i in range(levels)))
    write_index(root / "aef_index.parquet", [make_aef_row(PATH)])
    (tmp_path / "SIMULATED.json").write_text("{}")
    index = read_index(products["aef"], SourceSettings(root=root), [2024])
    assert index["is_simulated"].to_pylist() == [True]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("48PVS_2024-01-01_2025-01-01.parquet", ("48PVS", 2024)),
        ("48PVS_2023-06-01_2024-06-01.parquet", None),
        ("48PVS_2024-01-01_2024-12-31.parquet", None),
        ("48PVS.parquet", None),
        ("48PVS_2024-01-01_2025-01-01.parquet.tmp", None),
    ],
)
def test_eg_names(name: str, expected: tuple[str, int] | None) -> None:
    assert parse_eg_name(name) == expected


def test_eg_listing(tmp_path: Path, products: dict[str, Product]) -> None:
    for path in (
        "2024/48PTU_2024-01-01_2025-01-01.parquet",
        "2024/47PRP_2024-01-01_2025-01-01.parquet",
        "2024/47PRP_2023-01-01_2024-01-01.parquet",  # touches on 1 January: another vintage
        "2023/48PTU_2023-01-01_2024-01-01.parquet",
        "2024/readme.txt",
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    source = SourceSettings(root=tmp_path)
    index = read_index(products["eg"], source, [2024])
    assert index.select(["year", "tile", "epsg"]).to_pylist() == [
        {"year": 2024, "tile": "47PRP", "epsg": 32647},
        {"year": 2024, "tile": "48PTU", "epsg": 32648},
    ]
    assert index["utm_east_m"].to_pylist()[1] - index["utm_west_m"].to_pylist()[1] == 109_800
    assert read_index(products["eg"], source, [2024], area_of_boxes([(0.0, 0.0, 1.0, 1.0)])).num_rows == 0
    with pytest.raises(SourceMissingError, match=r"raw_eg__index\[2020\].*none named for these years"):
        read_index(products["eg"], source, [2020])


def test_plain_files_need_a_year_and_a_match(
    tmp_path: Path, make_product: Callable[..., Product], write_tiff: Callable
) -> None:
    fields = {"grain": "pixel", "layout": "pixel_geotiff", "dims": 4, "pixel_m": 10.0}
    product = make_product(years=(2023, 2024), **fields)
    write_tiff(tmp_path / "deep/a.tif", bands=4, dtype="float32", nodata=None, size=32)
    (tmp_path / "SIMULATED.json").write_text("{}")
    source = SourceSettings(root=tmp_path, files="**/*", year=2024)
    (row,) = read_index(product, source, [2024]).to_pylist()
    assert (row["path"], row["tile"], row["epsg"], row["utm_east_m"]) == ("deep/a.tif", "a", 32648, 200_320)
    assert row["is_simulated"]
    assert read_index(product, source, [2023]).num_rows == 0
    with pytest.raises(SourceMissingError, match=r"sources\.test\.year"):
        read_index(product, SourceSettings(root=tmp_path, files="**/*.tif"), [2024])
    with pytest.raises(SourceMissingError, match=r"no file matching '\*\.csv'"):
        read_index(product, SourceSettings(root=tmp_path, files="*.csv", year=2024), [2024])
    with pytest.raises(SourceMissingError, match="no such folder"):
        read_index(product, SourceSettings(root=tmp_path / "gone", year=2024), [2024])


def test_years_that_the_registry_does_not_name_are_counted(tmp_path: Path, products: dict[str, Product]) -> None:
    source = SourceSettings(root=tmp_path)
    for year, tiles in ((2024, ["48PTU"]), (2025, ["48PTU", "48PTV"])):
        for tile in tiles:
            path = tmp_path / str(year) / f"{tile}_{year}-01-01_{year + 1}-01-01.parquet"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x")
    assert count_unregistered_years(products["eg"], source, [2024, 2025], None) == {2025: 2}
    assert count_unregistered_years(products["eg"], source, [2024], None) == {}
    both = products["eg"].model_copy(update={"years": (2024, 2025)})
    assert count_unregistered_years(both, source, [2024, 2025], None) == {}
    assert count_unregistered_years(products["aef"], source, [2030], None) == {}


@pytest.mark.parametrize(
    ("found", "declared", "is_refused"),
    [
        (["aef_v1"], None, False),
        (["aef_v1"], "aef_v1", False),
        (["aef_v2"], "aef_v1", True),
        (["aef_v1", "aef_v2"], None, True),
        (["aef_v1", "aef_v2"], "aef_v1", True),
    ],
)
def test_a_stac_index_of_another_collection_is_another_product(
    tmp_path: Path, products: dict[str, Product], write_stac_index: Callable, make_aef_row: Callable,
    found: list[str], declared: str | None, is_refused: bool,
) -> None:  # fmt: skip
    rows = [{**make_aef_row(PATH), "collection": name} for name in found]
    write_stac_index(tmp_path / "annual/aef_index_stac_geoparquet.parquet", rows, with_grid=True)
    product = products["aef"].model_copy(update={"collection": declared})
    if not is_refused:
        assert read_index(product, SourceSettings(root=tmp_path), [2024]).num_rows == 1
        return
    with pytest.raises(AnotherProductError, match=r"(?s)STAC collections: found .*\[products.aef_other\]"):
        read_index(product, SourceSettings(root=tmp_path), [2024])


def test_a_file_that_could_not_be_placed_is_told_of_even_when_it_can_be_read_now(
    tmp_path: Path, write_tiff: Callable[..., Path], make_product: Callable[..., Product]
) -> None:
    path = write_tiff(tmp_path / "a.tif", bands=8, dtype="float32", nodata=None)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    product = make_product(name="mine", grain="pixel", layout="pixel_geotiff", dims=8, pixel_m=10.0)
    source = SourceSettings(root=tmp_path, files="*.tif", year=2024)
    index = read_index(product, source, [2024])
    (message,) = list_unreadable(product, source, index)
    assert "a.tif" in message
    assert "100 bytes" in message
    path.write_bytes(whole)  # the upload has ended
    (message,) = list_unreadable(product, source, index)
    assert "a.tif: found a file that can be read now" in message
    assert "Run again" in message
    assert list_unreadable(product, source, read_index(product, source, [2024])) == []
