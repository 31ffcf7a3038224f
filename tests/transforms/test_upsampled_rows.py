from __future__ import annotations

import numpy as np
import pytest

from transforms.errors import LatticeError
from transforms.lattice import enumerate_places
from transforms.places import PatchPlaces, PixelPlaces, place_lattice
from transforms.upsampled_rows import PatchField, upsample_places, upsampled_table
from transforms.utm import mgrs_squares, project, unproject


def grid_places(n: int = 5, side_m: float = 80.0, epsg: int = 32648) -> PatchPlaces:
    x, y = (a.ravel() for a in np.meshgrid(300_000 + side_m * np.arange(n), 1_400_000 + side_m * np.arange(n)))
    lon, lat = unproject(x, y, epsg)
    nowhere = np.full(len(x), -1, np.int32)
    ids = (np.arange(len(x)) + 1000).astype(np.uint64)
    codes = np.full(len(x), epsg, np.int32)
    return PatchPlaces(ids, np.full(len(x), "own"), nowhere, nowhere, lon, lat, codes, x, y, np.full(len(x), side_m))


def eg_places() -> PatchPlaces:
    cells = enumerate_places(101.985, 12.60, 102.015, 12.63)
    return place_lattice(cells, mgrs_squares(cells.lon, cells.lat), [])


def pixels_at(x_m: np.ndarray, y_m: np.ndarray, epsg: int = 32648) -> PixelPlaces:
    lon, lat = unproject(x_m, y_m, epsg)
    codes = np.full(len(x_m), epsg, np.int32)
    return PixelPlaces((np.arange(len(x_m)) + 7).astype(np.uint64), lon, lat, codes, np.array(x_m), np.array(y_m))


def test_a_linear_field_is_interpolated_exactly_on_a_grid() -> None:
    places = grid_places()
    vectors = np.stack([places.x_m - 300_000, places.y_m - 1_400_000], axis=1).astype(np.float32)
    rng = np.random.default_rng(0)
    pixels = pixels_at(300_000 + rng.uniform(0, 320, 50), 1_400_000 + rng.uniform(0, 320, 50))
    found = upsample_places(PatchField(places, vectors, True), pixels)
    np.testing.assert_allclose(found.vectors[:, 0], pixels.x_m - 300_000, atol=1e-2)
    np.testing.assert_allclose(found.vectors[:, 1], pixels.y_m - 1_400_000, atol=1e-2)
    np.testing.assert_allclose(found.support, 1, atol=1e-5)


def test_a_linear_field_is_interpolated_exactly_on_the_lattice_across_the_zone_edge() -> None:
    places = eg_places()
    assert set(places.epsg.tolist()) == {32647, 32648}
    vectors = np.stack([places.lon - 102, places.lat - 12.6], axis=1).astype(np.float32) * 1000
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(101.99, 102.01, 80), rng.uniform(12.605, 12.625, 80)
    x, y = project(lon, lat, 32648)
    pixels = PixelPlaces(np.arange(80).astype(np.uint64), lon, lat, np.full(80, 32648, np.int32), x, y)
    found = upsample_places(PatchField(places, vectors, True), pixels)
    np.testing.assert_allclose(found.vectors[:, 0], (lon - 102) * 1000, atol=1e-3)
    np.testing.assert_allclose(found.vectors[:, 1], (lat - 12.6) * 1000, atol=1e-3)


@pytest.mark.parametrize("places", [grid_places(), eg_places()], ids=["grid", "lattice"])
def test_the_nearest_patch_is_the_nearest_centroid(places: PatchPlaces) -> None:
    chosen = np.arange(0, len(places), 7)
    rng = np.random.default_rng(2)
    shift = rng.uniform(-0.2, 0.2, (2, len(chosen))) * places.side_m[chosen]
    x, y = project(places.lon[chosen], places.lat[chosen], 32648)
    pixels = pixels_at(x + shift[0], y + shift[1])
    found = upsample_places(PatchField(places, np.zeros((len(places), 2), np.float32), True), pixels)
    px, py = project(places.lon, places.lat, 32648)
    distance = np.hypot(px[None] - pixels.x_m[:, None], py[None] - pixels.y_m[:, None])
    np.testing.assert_array_equal(found.nearest, distance.argmin(axis=1))


def test_pixels_of_another_zone_are_projected() -> None:
    places = grid_places()
    vectors = np.stack([places.x_m - 300_000, places.y_m - 1_400_000], axis=1).astype(np.float32)
    here = pixels_at(np.array([300_100.0, 300_200.0]), np.array([1_400_120.0, 1_400_040.0]))
    there = PixelPlaces(
        here.pixel_id, here.lon, here.lat, np.full(2, 32647, np.int32), *project(here.lon, here.lat, 32647)
    )
    field = PatchField(places, vectors, True)
    np.testing.assert_allclose(upsample_places(field, there).vectors, upsample_places(field, here).vectors, atol=1e-2)


def test_footprints_of_two_zones_are_refused() -> None:
    first, second = grid_places(2), grid_places(2, epsg=32647)
    both = PatchPlaces(*(np.concatenate([getattr(p, name) for p in (first, second)]) for name in vars(first)))
    field = PatchField(both, np.zeros((8, 1), np.float32), False)
    with pytest.raises(LatticeError, match=r"footprints in 2 UTM zones.*evaluate\.tasks"):
        upsample_places(field, pixels_at(np.array([300_000.0]), np.array([1_400_000.0])))


def test_far_pixels_have_no_vector_and_no_row() -> None:
    places = grid_places()
    pixels = pixels_at(np.array([300_100.0, 330_000.0]), np.array([1_400_100.0, 1_400_100.0]))
    field = PatchField(places, np.ones((25, 2), np.float32), True)
    found = upsample_places(field, pixels)
    assert np.isnan(found.vectors[1]).all()
    assert found.support[1] == 0
    assert found.nearest[1] == -1
    assert upsampled_table(field, pixels, found, "eg")["pixel_id"].to_pylist() == [7]


def test_rows_of_upsampled_pixels() -> None:
    places = grid_places()
    vectors = np.random.default_rng(3).normal(size=(25, 4)).astype(np.float32)
    pixels = pixels_at(np.array([300_090.0, 299_970.0]), np.array([1_400_100.0, 1_400_000.0]))
    field = PatchField(places, vectors, True)
    found = upsample_places(field, pixels)
    table = upsampled_table(field, pixels, found, "eg")
    assert table["pixel_id"].to_pylist() == [7, 8]
    assert table["nearest_patch_id"].to_pylist() == [1006, 1000]
    assert table["method"].to_pylist() == ["bilinear"] * 2
    assert table["support"].to_pylist() == pytest.approx([1.0, 1 - 30 / 80])
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), found.vectors)
    assert table["is_simulated"].to_pylist() == [True, True]
    assert table["lon"].to_pylist() == pixels.lon.tolist()


@pytest.mark.parametrize(("n_patches", "n_pixels"), [(0, 3), (25, 0), (0, 0)])
def test_nothing_to_upsample(n_patches: int, n_pixels: int) -> None:
    places = grid_places().take(np.arange(n_patches))
    pixels = pixels_at(np.full(n_pixels, 300_000.0), np.full(n_pixels, 1_400_000.0))
    field = PatchField(places, np.zeros((n_patches, 6), np.float32), False)
    found = upsample_places(field, pixels)
    assert found.vectors.shape == (n_pixels, 6)
    assert np.isnan(found.vectors).all()
    assert (found.nearest == -1).all()
    table = upsampled_table(field, pixels, found, "eg")
    assert table.num_rows == 0
    assert table.schema.field("embedding").type.list_size == 6
    assert table.schema.field("nearest_patch_id").type == "uint64"


def test_a_field_knows_its_lattice() -> None:
    vectors = np.zeros((0, 1), np.float32)
    assert PatchField(eg_places(), vectors, False).on_lattice
    assert not PatchField(grid_places(), vectors, False).on_lattice
    assert not PatchField(grid_places().take(np.arange(0)), vectors, False).on_lattice
