"""Labels against the raster itself, sampled by rasterio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio

from tests.conftest import TinyRun
from warehouse.layout import PartitionKey


def sample_codes(world: Path, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Codes of the label tiles at points; 0 = no label."""
    codes = np.zeros(len(lon), int)
    for path in sorted((world / "worldcover").glob("*_Map.tif")):
        with rasterio.open(path) as raster:
            west, south, east, north = raster.bounds
            inside = (lon >= west) & (lon < east) & (lat > south) & (lat <= north)
            values = raster.sample(np.stack([lon[inside], lat[inside]], axis=1))
            codes[inside] = [value[0] for value in values]
    return codes


@pytest.fixture(scope="module")
def classes(tiny_run: TinyRun) -> dict[int, tuple[int, str]]:
    """Code -> (class id, name), in the order of the settings."""
    names = tiny_run.warehouse.label("worldcover").classes
    return {int(code): (i, name) for i, (name, code) in enumerate(names.items())}


def test_pixel_labels_equal_the_raster_at_the_pixel_centre(
    tiny_run: TinyRun, classes: dict[int, tuple[int, str]]
) -> None:
    table = tiny_run.sql("select lon, lat, label, class_name, year from core_label_worldcover__pixels")
    assert set(table["year"].to_pylist()) == {2021}
    codes = sample_codes(tiny_run.world, table["lon"].to_numpy(), table["lat"].to_numpy())
    expected = [classes.get(code, (None, None)) for code in codes.tolist()]
    found = list(zip(table["label"].to_pylist(), table["class_name"].to_pylist(), strict=True))
    assert found == expected
    assert len(set(codes.tolist())) > 5
    assert len(found) > 5000


def test_every_kept_pixel_of_the_labelled_years_has_one_label_row(tiny_run: TinyRun) -> None:
    kept = tiny_run.sql("select distinct pixel_id, shard from core_aef__pixels where year = 2024")
    labelled = tiny_run.sql("select pixel_id, shard from core_label_worldcover__pixels")
    assert sorted(map(str, kept.to_pylist())) == sorted(map(str, labelled.to_pylist()))


def test_patch_labels_summarise_the_cells_of_the_footprint(
    tiny_run: TinyRun, classes: dict[int, tuple[int, str]]
) -> None:
    rows = tiny_run.sql(
        "select l.*, s.x_m, s.y_m, s.epsg, s.side_m from core_label_worldcover__patches l "
        "join core_grid__patches s using (patch_id) order by patch_id"
    ).to_pylist()
    n_unlabelled = 0
    for row in rows[::5]:
        offset = (np.arange(32) + 0.5) * row["side_m"] / 32 - row["side_m"] / 2
        x, y = (axis.ravel() for axis in np.meshgrid(row["x_m"] + offset, row["y_m"] + offset))
        lon, lat = pyproj.Transformer.from_crs(row["epsg"], 4326, always_xy=True).transform(x, y)
        codes = sample_codes(tiny_run.world, lon, lat)
        ids = np.array([classes.get(code, (-1, ""))[0] for code in codes.tolist()])
        counts = np.bincount(ids[ids >= 0], minlength=len(classes))
        assert row["valid_share"] == pytest.approx(counts.sum() / 1024, abs=1e-6)
        if row["label"] is None:
            n_unlabelled += 1
            continue
        assert counts[row["label"]] == counts.max()
        assert row["purity"] == pytest.approx(counts.max() / counts.sum(), abs=1e-6)
        np.testing.assert_allclose(row["fractions"], counts / counts.sum(), atol=1e-6)
        assert row["multi_label"] == (counts / counts.sum() >= 0.05).tolist()
        assert row["class_name"] == list(classes.values())[row["label"]][1]
    assert n_unlabelled < len(rows[::5]) / 4


def test_purity_varies_as_in_a_landscape(tiny_run: TinyRun) -> None:
    table = tiny_run.warehouse.read("core_label_worldcover__patches", PartitionKey(2021, "47PRQ"), ["purity"])
    purity = table["purity"].drop_null().to_numpy()
    assert purity.min() < 0.5 < purity.max()
