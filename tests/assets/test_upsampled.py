"""Upsampled vectors against bilinear interpolation by hand on the two lattices; nearest against its rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.compute as pc
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
    table = table.filter((pc.field("method") == "bilinear") & pc.field("embedding").is_valid())
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
    wanted = sampled["pixel_id"].to_pylist()
    for method in ("bilinear", "mass_preserving"):
        stored = tiny_run.sql(
            "select pixel_id from out_pixel__eg_upsampled "
            "where year = $year and method = $method and embedding is not null",
            year=YEAR,
            method=method,
        )
        found = stored["pixel_id"].to_pylist()
        assert len(set(found)) == len(found)
        assert set(found) <= set(wanted)
        assert len(found) > 0.98 * len(wanted)
    assert tiny_run.sql("select distinct year from out_pixel__eg_upsampled").to_pydict() == {"year": [YEAR]}


def test_window_pixels_have_codes_of_the_basis_and_a_pixel_has_one_row_a_method(tiny_run: TinyRun) -> None:
    kept = tiny_run.sql('select pixel_id from core_aef__pixels where "window" is not null and year = $year', year=YEAR)
    rows = tiny_run.sql(
        "select method, count(*) as n, count(distinct pixel_id) as n_pixels, count(embedding_q) as n_codes, "
        "count(distinct basis_version) as n_versions from out_pixel__eg_upsampled where year = $year group by method",
        year=YEAR,
    ).to_pylist()
    assert {row["method"] for row in rows} == {"bilinear", "mass_preserving"}
    for row in rows:
        assert row["n"] == row["n_pixels"]
        assert 0.98 * kept.num_rows < row["n_codes"] <= kept.num_rows
        assert row["n_versions"] == 1


def test_codes_can_be_decoded_in_plain_sql(tiny_run: TinyRun) -> None:
    # the first element of the vector: mean + sum over components of code value x scale x loading
    decoded = tiny_run.sql(
        "with codes as (select pixel_id, embedding, dequantize(embedding_q) as z from out_pixel__eg_upsampled "
        "  where year = $year and method = 'bilinear' and embedding is not null and embedding_q is not null) "
        "select c.pixel_id, any_value(c.embedding[1]) as exact, "
        "  any_value(b.mean[1]) + sum(c.z[b.component + 1] * b.scale * b.loading[1]) as decoded "
        "from codes as c cross join out_patch__eg_basis as b where b.year = $year group by c.pixel_id",
        year=YEAR,
    ).to_pandas()
    share = tiny_run.sql("select any_value(explained_share) as share from out_patch__eg_basis").to_pylist()[0]["share"]
    assert len(decoded) > 20
    residual = ((decoded.exact - decoded.decoded) ** 2).mean() / decoded.exact.var()
    assert residual < 3 * (1 - share) + 0.05


def holding_row_first(places: pd.DataFrame, lon: float, lat: float) -> int:
    """The patch that nearest means, by its rule: the nearest row of both lattices whose cell here exists."""
    found = []
    for is_secondary, shift in ((False, 0.5), (True, 1.0)):
        row = round((lat + 90) / ROW_DEG - shift)
        n = count_columns(row)
        col = round((lon + 180) / (360 / n) - shift) % n
        distance = abs(lat - (-90 + (row + shift) * ROW_DEG))
        lattice = "secondary" if is_secondary else "primary"
        mine = places[(places.lattice == lattice) & (places.row == row) & (places.col == col)]
        found.append((distance, int(mine.patch_id.iloc[0]) if len(mine) else -1))
    return min(found)[1] if min(found)[1] >= 0 else max(found)[1]


def test_nearest_view_gives_the_patch_of_the_nearest_row(tiny_run: TinyRun) -> None:
    view = tiny_run.sql(
        "select pixel_id, lon, lat, nearest_patch_id, embedding, method, is_simulated from out_pixel__nearest "
        "where year = $year order by pixel_id",
        year=YEAR,
    )
    assert set(view["method"].to_pylist()) == {"nearest"}
    centroids = tiny_run.sql(
        "select s.lattice, s.row, s.col, p.patch_id, p.embedding from core_eg__patches p "
        "join core_grid__patches s using (patch_id) where p.year = $year order by p.patch_id",
        year=YEAR,
    )
    places = centroids.drop(["embedding"]).to_pandas()
    chosen = np.arange(0, view.num_rows, 37)
    lon, lat, ids = (view[name].to_numpy()[chosen] for name in ("lon", "lat", "nearest_patch_id"))
    expected = [holding_row_first(places, *place) for place in zip(lon, lat, strict=True)]
    known = np.array(expected) >= 0  # else both cells are missing, and the nearest centroid in reach stands in
    assert known.mean() > 0.95
    np.testing.assert_array_equal(ids[known].astype(np.int64), np.array(expected)[known])
    slot = np.searchsorted(places.patch_id.to_numpy(), view["nearest_patch_id"].to_numpy())
    assert np.array_equal(vectors(view, "embedding"), vectors(centroids, "embedding")[slot])
    n_stored = tiny_run.sql("select count(distinct pixel_id) as n from out_pixel__eg_upsampled").to_pylist()[0]["n"]
    assert 0 <= n_stored - view.num_rows < 0.02 * n_stored  # only where no patch is within half a diagonal


def test_neighbour_shards_are_read_so_that_zone_and_square_edges_do_not_show(tiny_run: TinyRun) -> None:
    query = (
        "select avg(support) as support from out_pixel__eg_upsampled "
        "where year = 2024 and abs(lon - 102.0) < 0.0014 and lat between 12.64 and 12.655"
    )
    assert tiny_run.sql(query).to_pylist()[0]["support"] > 0.999
