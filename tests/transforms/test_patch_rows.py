from __future__ import annotations

import numpy as np
import pytest
import shapely

from transforms.errors import LatticeError
from transforms.lattice import enumerate_places
from transforms.patch_rows import UniquePatches, patch_table
from transforms.places import PatchPlaces, footprint_polygons, place_lattice
from transforms.utm import mgrs_squares


@pytest.fixture
def spine() -> PatchPlaces:
    cells = enumerate_places(101.99, 12.60, 102.01, 12.62)
    return place_lattice(cells, mgrs_squares(cells.lon, cells.lat), [])


def make_patches(ids: np.ndarray, dims: int = 3) -> UniquePatches:
    n = len(ids)
    return UniquePatches(
        ids,
        np.array([f"s{key}" for key in ids], np.str_),
        np.arange(n * dims, dtype=np.float32).reshape(n, dims),
        np.full(n, 2, np.int16),
        np.linspace(0, 0.1, n, dtype=np.float32),
        np.full(n, 7.0),  # the spine's own centroids go into the table
        np.full(n, 8.0),
    )


def test_patches_get_the_place_and_footprint_of_the_spine(spine: PatchPlaces) -> None:
    slot = np.array([40, 3, 17])
    table = patch_table(make_patches(spine.patch_id[slot]), spine, "eg", is_simulated=True)
    assert table["patch_id"].to_pylist() == spine.patch_id[slot].tolist()
    assert table["lon"].to_pylist() == spine.lon[slot].tolist()
    assert table["lat"].to_pylist() == spine.lat[slot].tolist()
    shapes = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    assert shapely.equals(shapes, footprint_polygons(spine)[slot]).all()
    assert table["embedding"].to_pylist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert table["source_id"].to_pylist() == [f"s{key}" for key in spine.patch_id[slot]]
    assert table["n_copies"].to_pylist() == [2, 2, 2]
    assert table["product"].to_pylist() == ["eg"] * 3
    assert table["is_simulated"].to_pylist() == [True] * 3


def test_patches_without_a_place_are_refused(spine: PatchPlaces) -> None:
    ids = np.array([spine.patch_id[0], 11, 12], np.uint64)
    with pytest.raises(LatticeError, match=r"core_eg__patches: found 2 patches .* the first 11.*another grid version"):
        patch_table(make_patches(ids), spine, "eg", is_simulated=True)


def test_no_patches_give_no_rows(spine: PatchPlaces) -> None:
    full = patch_table(make_patches(spine.patch_id[:2]), spine, "eg", is_simulated=True)
    empty = patch_table(make_patches(spine.patch_id[:0]), spine, "eg", is_simulated=True)
    assert empty.num_rows == 0
    assert empty.schema.field("embedding").type == full.schema.field("embedding").type


def test_patches_are_taken_by_mask_or_position(spine: PatchPlaces) -> None:
    patches = make_patches(spine.patch_id[:4])
    taken = patches.take(np.array([True, False, False, True]))
    assert len(taken) == 2
    assert taken.source_id.tolist() == patches.source_id[[0, 3]].tolist()
    np.testing.assert_array_equal(taken.vectors, patches.take(np.array([0, 3])).vectors)
