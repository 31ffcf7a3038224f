from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from transforms.errors import LatticeError
from transforms.lattice import enumerate_places
from transforms.places import PatchPlaces, PixelPlaces, place_lattice
from transforms.upsampled_rows import PatchField, UpsampledRows, basis_rows, stored_methods
from transforms.upsampling.basis import decode, fit_basis, reconstruct
from transforms.upsampling.operators import UPSAMPLERS, UnknownUpsamplerError
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


def make_field(places: PatchPlaces, vectors: np.ndarray | None = None) -> PatchField:
    if vectors is None:
        vectors = np.random.default_rng(3).normal(size=(len(places), 4)).astype(np.float32)
    return PatchField(places, vectors, True)


def upsample(
    field: PatchField,
    pixels: PixelPlaces,
    methods: tuple[str, ...] = ("bilinear",),
    *,
    in_sample: np.ndarray | None = None,
    window: np.ndarray | None = None,
    basis_dims: int = 3,
) -> pa.Table:
    """Rows of pixels; all sampled and none in a window if not said otherwise."""
    basis = fit_basis(field.vectors, min(basis_dims, field.vectors.shape[1]), seed=0)
    in_sample = np.ones(len(pixels), bool) if in_sample is None else in_sample
    window = np.full(len(pixels), None, dtype=object) if window is None else window
    tables = list(UpsampledRows(field, methods, basis, "eg").tables(pixels, in_sample, window))
    return pa.concat_tables(tables) if tables else pa.table({"pixel_id": pa.array([], pa.uint64())})


def embedding(table: pa.Table) -> np.ndarray:
    return np.array(table["embedding"].to_pylist(), np.float32)


def test_a_linear_field_is_interpolated_exactly_on_a_grid() -> None:
    places = grid_places()
    vectors = np.stack([places.x_m - 300_000, places.y_m - 1_400_000], axis=1).astype(np.float32)
    rng = np.random.default_rng(0)
    pixels = pixels_at(300_000 + rng.uniform(0, 320, 50), 1_400_000 + rng.uniform(0, 320, 50))
    table = upsample(make_field(places, vectors), pixels)
    np.testing.assert_allclose(embedding(table)[:, 0], pixels.x_m - 300_000, atol=1e-2)
    np.testing.assert_allclose(embedding(table)[:, 1], pixels.y_m - 1_400_000, atol=1e-2)
    np.testing.assert_allclose(table["support"].to_numpy(), 1, atol=1e-5)


def test_a_linear_field_is_interpolated_exactly_on_the_lattice_across_the_zone_edge() -> None:
    places = eg_places()
    assert set(places.epsg.tolist()) == {32647, 32648}
    vectors = np.stack([places.lon - 102, places.lat - 12.6], axis=1).astype(np.float32) * 1000
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(101.99, 102.01, 80), rng.uniform(12.605, 12.625, 80)
    x, y = project(lon, lat, 32648)
    pixels = PixelPlaces(np.arange(80).astype(np.uint64), lon, lat, np.full(80, 32648, np.int32), x, y)
    found = embedding(upsample(make_field(places, vectors), pixels))
    np.testing.assert_allclose(found[:, 0], (lon - 102) * 1000, atol=1e-3)
    np.testing.assert_allclose(found[:, 1], (lat - 12.6) * 1000, atol=1e-3)


@pytest.mark.parametrize("places", [grid_places(), eg_places()], ids=["grid", "lattice"])
def test_the_patch_at_whose_centre_a_pixel_lies_is_the_nearest(places: PatchPlaces) -> None:
    chosen = np.arange(0, len(places), 7)
    rng = np.random.default_rng(2)
    shift = rng.uniform(-0.2, 0.2, (2, len(chosen))) * places.side_m[chosen]
    x, y = project(places.lon[chosen], places.lat[chosen], 32648)
    pixels = pixels_at(x + shift[0], y + shift[1])
    table = upsample(make_field(places), pixels)
    np.testing.assert_array_equal(table["nearest_patch_id"].to_numpy(), places.patch_id[chosen])


def test_pixels_of_another_zone_are_projected() -> None:
    places = grid_places()
    vectors = np.stack([places.x_m - 300_000, places.y_m - 1_400_000], axis=1).astype(np.float32)
    here = pixels_at(np.array([300_100.0, 300_200.0]), np.array([1_400_120.0, 1_400_040.0]))
    there = PixelPlaces(
        here.pixel_id, here.lon, here.lat, np.full(2, 32647, np.int32), *project(here.lon, here.lat, 32647)
    )
    field = make_field(places, vectors)
    np.testing.assert_allclose(embedding(upsample(field, there)), embedding(upsample(field, here)), atol=1e-2)


def test_footprints_of_two_zones_are_refused() -> None:
    first, second = grid_places(2), grid_places(2, epsg=32647)
    both = PatchPlaces(*(np.concatenate([getattr(p, name) for p in (first, second)]) for name in vars(first)))
    with pytest.raises(LatticeError, match=r"footprints in 2 UTM zones.*evaluate\.tasks"):
        upsample(make_field(both), pixels_at(np.array([300_000.0]), np.array([1_400_000.0])))


def test_far_pixels_have_no_row() -> None:
    pixels = pixels_at(np.array([300_100.0, 330_000.0]), np.array([1_400_100.0, 1_400_100.0]))
    assert upsample(make_field(grid_places()), pixels)["pixel_id"].to_pylist() == [7]


def test_rows_of_sampled_pixels() -> None:
    pixels = pixels_at(np.array([300_090.0, 299_970.0]), np.array([1_400_100.0, 1_400_000.0]))
    field = make_field(grid_places())
    table = upsample(field, pixels)
    assert table["pixel_id"].to_pylist() == [7, 8]
    assert table["nearest_patch_id"].to_pylist() == [1006, 1000]
    assert table["method"].to_pylist() == ["bilinear"] * 2
    assert table["support"].to_pylist() == pytest.approx([1.0, 1 - 30 / 80])
    assert table["embedding_q"].null_count == table["basis_version"].null_count == 2
    assert table["is_simulated"].to_pylist() == [True, True]
    assert table["lon"].to_pylist() == pixels.lon.tolist()


def test_window_pixels_have_codes_in_the_basis_and_sampled_ones_full_vectors() -> None:
    rng = np.random.default_rng(4)
    pixels = pixels_at(300_000 + rng.uniform(0, 320, 40), 1_400_000 + rng.uniform(0, 320, 40))
    in_sample = np.arange(40) < 15
    window = np.where(np.arange(40) >= 10, "town", None).astype(object)
    field = make_field(grid_places())
    table = upsample(field, pixels, in_sample=in_sample, window=window, basis_dims=4)
    assert table.num_rows == 40
    assert np.array_equal(np.asarray(table["embedding"].is_valid()), in_sample)
    coded = np.asarray(table["embedding_q"].is_valid())
    assert np.array_equal(coded, window != None)  # noqa: E711  # elementwise
    basis = fit_basis(field.vectors, 4, seed=0)
    assert set(table["basis_version"].drop_null().to_pylist()) == {basis.version}
    # a window pixel means what a sampled one means, but for the int8 code: all four dimensions are kept
    full = embedding(upsample(field, pixels))
    codes = np.array(table["embedding_q"].filter(pa.array(coded)).to_pylist(), np.int8)
    np.testing.assert_allclose(reconstruct(decode(codes, basis), basis), full[coded], atol=0.02)


def test_every_method_gives_a_row_and_a_constant_field_stays_constant() -> None:
    pixels = pixels_at(np.array([300_150.0, 300_170.0]), np.array([1_400_150.0, 1_400_130.0]))
    methods = stored_methods(tuple(UPSAMPLERS))
    table = upsample(make_field(grid_places(7), np.full((49, 4), 2.5, np.float32)), pixels, methods)
    assert table["method"].to_pylist() == [name for name in methods for _ in range(2)]
    np.testing.assert_allclose(embedding(table), 2.5, atol=1e-5)


def test_stored_methods_learn_nothing_and_nearest_is_a_view() -> None:
    assert stored_methods(("nearest",)) == ("bilinear",)
    every = stored_methods(tuple(UPSAMPLERS))
    assert set(every) == {name for name, entry in UPSAMPLERS.items() if not entry.is_fitted} - {"nearest"}
    with pytest.raises(UnknownUpsamplerError):
        stored_methods(("bilinar",))


def test_no_pixels_no_rows() -> None:
    assert upsample(make_field(grid_places()), pixels_at(np.empty(0), np.empty(0))).num_rows == 0


@pytest.mark.parametrize(("n_vectors", "n_rows"), [(0, 0), (1, 3), (40, 3)])
def test_a_basis_has_one_row_a_component_and_none_without_vectors(n_vectors: int, n_rows: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(n_vectors, 6)).astype(np.float32)
    rows = basis_rows(vectors, 3, seed=0, is_simulated=True)
    assert rows.num_rows == n_rows
    assert {"basis_version", "loading", "mean_cosine", "is_simulated"} <= set(rows.column_names)


def test_a_field_knows_its_lattice() -> None:
    vectors = np.zeros((0, 1), np.float32)
    assert PatchField(eg_places(), vectors, False).on_lattice
    assert not PatchField(grid_places(), vectors, False).on_lattice
    assert not PatchField(grid_places().take(np.arange(0)), vectors, False).on_lattice
