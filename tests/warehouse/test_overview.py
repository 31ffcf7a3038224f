"""The overview preview: every row near exact pooling, right way up, with its error; files without overviews."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.assets.brute_force import dequantise, read_codes
from tests.tiny import copy_world, tiny_settings, write_settings
from tests.warehouse import seam_tree
from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.overview import ERROR_KEY, PreviewSummary, write_preview
from warehouse.reader import vectors
from warehouse.settings import load_settings
from warehouse.sources.overviews import read_overview
from warehouse.store import Warehouse

ZONES = {32647: "47N", 32648: "48N"}


def preview(warehouse: Warehouse, year: int = 2024, sample: int = 16, output: Path | None = None) -> PreviewSummary:
    return write_preview(warehouse, year, None, output, sample, lambda _share, _text: None)


@pytest.fixture(scope="module")
def tiny(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("preview")
    return Warehouse(load_settings(write_settings(folder / "tiny.toml", tiny_settings(tiny_world))))


@pytest.fixture(scope="module")
def written(tiny: Warehouse) -> tuple[PreviewSummary, pa.Table]:
    summary = preview(tiny)
    return summary, pq.read_table(summary.output)


def test_every_row_is_near_the_renormalised_mean_of_its_pixels(
    tiny_world: Path, written: tuple[PreviewSummary, pa.Table]
) -> None:
    _, table = written
    found = vectors(table, "mean_renormalised")
    for epsg, zone in ZONES.items():
        codes = read_codes(tiny_world, 2024, zone)
        # edges of the 320 m grid, which the data start anywhere in
        for k in np.flatnonzero(table["epsg"].to_numpy() == epsg):
            inside_x = np.abs(codes.x - table["x_m"][k].as_py()) < 160
            inside_y = np.abs(codes.y - table["y_m"][k].as_py()) < 160
            cell = codes.values[:, np.ix_(inside_y, inside_x)[0], np.ix_(inside_y, inside_x)[1]]
            valid = (cell != -128).all(axis=0)
            total = dequantise(cell[:, valid]).sum(axis=1)
            assert found[k] @ total / np.linalg.norm(total) > 0.999
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_rows_are_cells_of_the_area_in_their_own_zone(
    tiny: Warehouse, written: tuple[PreviewSummary, pa.Table]
) -> None:
    summary, table = written
    west, south, east, north = tiny.settings.area.bbox or (0, 0, 0, 0)
    lon, lat, epsg = (table[name].to_numpy() for name in ("lon", "lat", "epsg"))
    assert ((lon >= west) & (lon < east) & (lat >= south) & (lat < north)).all()
    assert ((lon < 102) == (epsg == 32647)).all()
    assert summary.rows == table.num_rows == 256
    assert summary.files == 2
    # 5.2 x 5.2 km of land, less the sea in the south
    assert len(set(zip(epsg.tolist(), table["x_m"].to_pylist(), table["y_m"].to_pylist(), strict=True))) == 256
    assert table["is_simulated"].to_pylist() == [True] * 256
    assert table["h3_r7"].type == pa.uint64()


def test_the_error_is_in_the_footer_and_small(written: tuple[PreviewSummary, pa.Table]) -> None:
    summary, _ = written
    footer = pq.read_metadata(summary.output).metadata
    record = json.loads(footer[ERROR_KEY.encode()])
    assert record == {name: getattr(summary.error, name) for name in record}
    assert record["n_cells"] == 16
    assert 0.999 < record["cosine_min"] <= record["cosine_mean"] <= 1
    # codes are rounded: half a step is .0058 for |x| <= .55
    assert 0 < record["mean_abs_difference"] < record["max_abs_difference"] < 0.0078
    assert json.loads(footer[b"isthmus"])["is_simulated"] is True


def test_the_sample_is_the_same_every_time_and_may_be_larger_than_the_table(tiny: Warehouse, tmp_path: Path) -> None:
    first, second = (preview(tiny, 2023, 8, tmp_path / f"{k}.parquet") for k in range(2))
    assert first.error == second.error
    everything = preview(tiny, 2023, 10_000, tmp_path / "all.parquet")
    assert everything.error.n_cells == everything.rows == 100
    assert everything.error.cosine_min <= first.error.cosine_min
    nothing = preview(tiny, 2023, 0, tmp_path / "none.parquet")
    assert nothing.error.n_cells == 0
    assert np.isnan(nothing.error.cosine_mean)


def test_regions_are_the_area_where_there_are_some(tiny: Warehouse, tmp_path: Path) -> None:
    regions = {"west": (101.98, 12.63, 101.99, 12.64), "east": (102.01, 12.65, 102.02, 12.66)}
    area = tiny.settings.area.model_copy(update={"bbox": None, "shard_rule": "region", "regions": regions})
    warehouse = Warehouse(tiny.settings.model_copy(update={"area": area}))
    summary = preview(warehouse, output=tmp_path / "regions.parquet")
    rows = pq.ParquetFile(summary.output).read(columns=["lon", "lat"]).to_pylist()
    inside = [
        [west <= row["lon"] <= east and south <= row["lat"] <= north for west, south, east, north in regions.values()]
        for row in rows
    ]
    assert 0 < len(rows) < 60
    assert all(any(one) for one in inside)
    assert np.any(inside, axis=0).all()


def test_averages_of_codes_by_gdal_show_as_a_larger_error(tmp_path: Path) -> None:
    root = seam_tree.write_tree(tmp_path / "aef", overlap_deg=0.0, overviews=True)
    warehouse = Warehouse(load_settings(seam_tree.write_config(tmp_path, root)))
    summary = preview(warehouse)
    assert summary.rows > 50
    assert summary.output == tmp_path / "warehouse" / "overview_aef_2024.parquet"
    assert 0.9 < summary.error.cosine_mean < 0.9999


def test_overviews_come_north_up(tmp_path: Path, tiny_world: Path, tiny: Warehouse) -> None:
    (path,) = (tiny_world / "aef/v1/annual/2024/47N").glob("*.tiff")
    window = read_overview(path, tiny.products["aef"], 32)
    assert window.affine.e == -320
    codes = read_codes(tiny_world, 2024, "47N")
    rows = np.flatnonzero(window.valid.any(axis=1))
    y = window.centers()[1]
    assert abs(y[rows[0]] - codes.y.max()) < 320
    assert abs(y[rows[-1]] - codes.y.min()) < 320 + 600  # the sea


def test_files_without_overviews_say_how_to_add_them(tmp_path: Path) -> None:
    root = seam_tree.write_tree(tmp_path / "aef", overlap_deg=0.0)
    warehouse = Warehouse(load_settings(seam_tree.write_config(tmp_path, root)))
    with pytest.raises(SourceFormatError, match=r"seam\.tiff: overview of 32 x 32 pixels: found levels \[\].*gdaladdo"):
        preview(warehouse)
    assert not list((tmp_path / "warehouse").rglob("*overview*"))


def test_years_and_products_that_are_not_there(tiny: Warehouse) -> None:
    with pytest.raises(SourceMissingError, match=r"raw_aef__index\[2020\].*\[2023, 2024\]"):
        preview(tiny, 2020)
    with pytest.raises(SourceMissingError, match="found 'eg', expected one of"):
        write_preview(tiny, 2024, "eg", None, 4, lambda _share, _text: None)


def test_damaged_files_leave_no_table(tiny_world: Path, tmp_path: Path) -> None:
    world = copy_world(tiny_world, tmp_path / "world")
    (path,) = (world / "aef/v1/annual/2024/48N").glob("*.tiff")
    data = path.read_bytes()
    path.unlink()  # it is a hard link
    path.write_bytes(data[:300])
    warehouse = Warehouse(load_settings(write_settings(tmp_path / "tiny.toml", tiny_settings(world))))
    with pytest.raises(SourceFormatError, match="48N"):
        preview(warehouse)
    assert not list(tmp_path.glob("warehouse/*"))
