"""Upsampled vectors against bilinear interpolation by hand on the two lattices; nearest against a search of all."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import TinyRun
from warehouse.reader import vectors

YEAR = 2024
ROW_DEG = 180.0 / 62_618
RADIUS_M = 6_378_137.0


def count_columns(row: int) -> int:
    return int(np.ceil(2 * np.pi * RADIUS_M * np.cos(np.radians(-90 + row * ROW_DEG)) / 320))


def neighbours(lon: float, lat: float, *, is_secondary: bool) -> list[tuple[int, int, float]]:
    """Row, column and weight of the four cells around a point; rows have their own columns."""
    shift = 1.0 if is_secondary else 0.5
    v = (lat + 90) / ROW_DEG - shift
    found = []
    for row, row_weight in ((int(np.floor(v)), 1 - v % 1), (int(np.floor(v)) + 1, v % 1)):
        u = (lon + 180) / 360 * count_columns(row) - shift
        found += [(row, int(np.floor(u)), row_weight * (1 - u % 1)), (row, int(np.floor(u)) + 1, row_weight * (u % 1))]
    return found


@pytest.fixture(scope="module")
def patches(tiny_run: TinyRun) -> dict[tuple[str, int, int], tuple[int, np.ndarray]]:
    """(lattice, row, column) -> (id, vector)."""
    table = tiny_run.sql(
        "select s.lattice, s.row, s.col, p.patch_id, p.embedding from core_eg__patches p "
        "join core_grid__patches s using (patch_id) where p.year = $year",
        year=YEAR,
    )
    return {
        (row["lattice"], row["row"], row["col"]): (row["patch_id"], np.array(row["embedding"]))
        for row in table.to_pylist()
    }


def test_bilinear_is_the_mean_of_both_lattices_interpolated_along_rows_then_between(
    tiny_run: TinyRun, patches: dict[tuple[str, int, int], tuple[int, np.ndarray]]
) -> None:
    keys = tiny_run.warehouse.partitions("out_pixel__eg_upsampled", year=YEAR)
    table = tiny_run.warehouse.read_many("out_pixel__eg_upsampled", keys)
    lon, lat, support = (table[name].to_numpy() for name in ("lon", "lat", "support"))
    stored = vectors(table, "embedding")
    n_full = n_partial = 0
    for i in range(0, table.num_rows, 7):
        total, weights = np.zeros(384), 0.0
        for lattice in ("primary", "secondary"):
            for row, col, weight in neighbours(lon[i], lat[i], is_secondary=lattice == "secondary"):
                if (lattice, row, col) in patches:
                    total += weight / 2 * patches[lattice, row, col][1]
                    weights += weight / 2
        assert support[i] == pytest.approx(weights, abs=1e-5)
        np.testing.assert_allclose(stored[i], total / weights, atol=2e-5)
        n_full += support[i] > 0.999
        n_partial += support[i] < 0.9
    assert n_full > 500
    assert n_partial > 20  # at the coast and at the edge of the world


def test_upsampled_stand_at_the_sampled_pixels_that_patches_reach(tiny_run: TinyRun) -> None:
    sampled = tiny_run.sql("select pixel_id from core_aef__pixels where in_sample and year = $year", year=YEAR)
    stored = tiny_run.sql("select pixel_id from out_pixel__eg_upsampled where year = $year", year=YEAR)
    found, wanted = stored["pixel_id"].to_pylist(), sampled["pixel_id"].to_pylist()
    assert len(set(found)) == len(found)
    assert set(found) <= set(wanted)
    assert len(found) > 0.98 * len(wanted)
    assert tiny_run.sql("select distinct year from out_pixel__eg_upsampled").to_pydict() == {"year": [YEAR]}


def test_nearest_view_gives_the_patch_whose_centroid_is_nearest(tiny_run: TinyRun) -> None:
    centroids = tiny_run.sql(
        "select patch_id, lon, lat, embedding from core_eg__patches where year = $year order by patch_id", year=YEAR
    )
    view = tiny_run.sql(
        "select pixel_id, lon, lat, nearest_patch_id, embedding, method, is_simulated from out_pixel__nearest "
        "where year = $year order by pixel_id",
        year=YEAR,
    )
    assert set(view["method"].to_pylist()) == {"nearest"}
    ids = centroids["patch_id"].to_numpy()
    plon, plat = (np.radians(centroids[name].to_numpy()) for name in ("lon", "lat"))
    lon, lat = (np.radians(view[name].to_numpy()) for name in ("lon", "lat"))
    h = np.sin((lat[:, None] - plat) / 2) ** 2
    h += np.cos(lat)[:, None] * np.cos(plat) * np.sin((lon[:, None] - plon) / 2) ** 2
    distance = 2 * RADIUS_M * np.arcsin(np.sqrt(h))
    chosen = np.searchsorted(ids, view["nearest_patch_id"].to_numpy())
    assert np.array_equal(ids[chosen], view["nearest_patch_id"].to_numpy())
    excess = distance[np.arange(len(chosen)), chosen] - distance.min(axis=1)
    assert excess.max() < 0.01  # metres: ties only
    expected = np.array(centroids["embedding"].to_pylist())
    assert np.array_equal(np.array(view["embedding"].to_pylist()), expected[chosen])
    n_stored = tiny_run.sql("select count(*) as n from out_pixel__eg_upsampled").to_pylist()[0]["n"]
    assert 0 <= n_stored - view.num_rows < 0.02 * n_stored  # only where no patch is within half a diagonal


def test_neighbour_shards_are_read_so_that_zone_and_square_edges_do_not_show(tiny_run: TinyRun) -> None:
    query = (
        "select avg(support) as support from out_pixel__eg_upsampled "
        "where year = 2024 and abs(lon - 102.0) < 0.0014 and lat between 12.64 and 12.655"
    )
    assert tiny_run.sql(query).to_pylist()[0]["support"] > 0.999
