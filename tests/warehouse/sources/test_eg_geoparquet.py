from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.geohash import decode, encode
from transforms.lattice import LatticePlaces, enumerate_places
from transforms.utm import mgrs_squares
from warehouse.errors import SourceContentError
from warehouse.products import Product
from warehouse.sources.eg_copies import EgPatches, resolve_duplicates
from warehouse.sources.eg_geoparquet import EgFile, parse_ids, read_patches

#: Two squares that meet at the zone edge of 102 E.
WEST_TILE, EAST_TILE = "47PRQ", "48PSV"
NAME = "{}_2024-01-01_2025-01-01.parquet"
GEOHASH = "0123456789bcdefghjkmnpqrstuvwxyz"


@pytest.fixture
def places() -> LatticePlaces:
    """Places around the zone edge, on both lattices."""
    lon, lat = 102.0, 13.0
    return enumerate_places(lon - 0.02, lat, lon + 0.02, lat + 0.02)


def take(places: LatticePlaces, rows: np.ndarray) -> LatticePlaces:
    return LatticePlaces(
        places.is_secondary[rows], places.row[rows], places.col[rows], places.lon[rows], places.lat[rows]
    )


def random_vectors(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 384)).astype(np.float32)


def test_published_file_is_read(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces
) -> None:
    vectors = random_vectors(len(places), 0)
    path = write_eg(tmp_path / NAME.format(EAST_TILE), places, vectors)
    file = read_patches(path, products["eg"])
    assert (file.tile, file.epsg, file.path) == (EAST_TILE, 32648, path)
    np.testing.assert_array_equal(file.vectors, vectors)
    np.testing.assert_array_equal(file.patch_id, encode(places.lon, places.lat))
    np.testing.assert_array_equal(file.places.row, places.row)
    np.testing.assert_array_equal(file.places.col, places.col)
    np.testing.assert_array_equal(file.places.is_secondary, places.is_secondary)
    assert places.is_secondary.any()
    assert not places.is_secondary.all()


@pytest.mark.parametrize("form", ["decimal", "geohash"])
def test_2023_form(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces, form: str
) -> None:
    ids = [int(key) for key in encode(places.lon, places.lat)]
    if form == "geohash":
        texts = ["".join(GEOHASH[(key >> (5 * (10 - i))) & 31] for i in range(11)) for key in ids]
    else:
        texts = [str(key) for key in ids]
    vectors = random_vectors(len(places), 0)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 384)
    path = write_eg(tmp_path / f"{EAST_TILE}.parquet", places, vectors, id=pa.array(texts), embedding=lists)
    file = read_patches(path, products["eg"])
    assert file.patch_id.tolist() == ids
    np.testing.assert_array_equal(file.vectors, vectors)


def test_geohash_text_of_a_published_id() -> None:
    # w64: the first characters of any geohash near (104.09, 9.86)
    key = int(encode(104.090287, 9.862659))
    text = "".join(GEOHASH[(key >> (5 * (10 - i))) & 31] for i in range(11))
    assert text.startswith("w")
    assert parse_ids(pa.chunked_array([[text]]), Path("x")).tolist() == [key]


def test_area_keeps_centroids_inside(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces
) -> None:
    vectors = random_vectors(len(places), 0)
    path = write_eg(tmp_path / NAME.format(EAST_TILE), places, vectors)
    area = (102.0, 13.005, 102.01, 13.012)
    file = read_patches(path, products["eg"], area=area)
    inside = (places.lon >= 102.0) & (places.lon < 102.01) & (places.lat >= 13.005) & (places.lat < 13.012)
    assert 0 < inside.sum() < len(places)
    np.testing.assert_array_equal(file.vectors, vectors[inside])
    assert len(read_patches(path, products["eg"], area=(0.0, 0.0, 1.0, 1.0))) == 0


def test_real_empty_file(real_data: Path, products: dict[str, Product]) -> None:
    file = read_patches(real_data / "earth_index_schema" / "21MNT.parquet", products["eg"])
    assert len(file) == 0
    assert file.vectors.shape == (0, 384)
    assert file.epsg == 32721


@pytest.fixture
def overlapping(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces
) -> list[EgFile]:
    """Three files that share places; vectors of copies differ a little."""
    rng = np.random.default_rng(3)
    truth = random_vectors(len(places), 1)
    files = []
    for tile in (EAST_TILE, WEST_TILE, "48PTV"):
        rows = np.flatnonzero(rng.random(len(places)) < 0.6)
        vectors = truth[rows] + 0.05 * rng.normal(size=(len(rows), 384))
        files.append(read_patches(write_eg(tmp_path / NAME.format(tile), take(places, rows), vectors), products["eg"]))
    return files


def brute_force(files: list[EgFile]) -> dict[int, tuple[str, int, float, bytes]]:
    """Per id: (tile, copies, worst cosine distance, vector) of the copy that must win, by plain loops."""
    copies: dict[int, list[tuple[bool, str, str, np.ndarray]]] = {}
    for file in files:
        lon, lat = decode(file.patch_id)
        for key, square, vector in zip(file.patch_id.tolist(), mgrs_squares(lon, lat), file.vectors, strict=True):
            copies.setdefault(key, []).append((square != file.tile, str(file.path), file.tile, vector))
    result = {}
    for key, found in copies.items():
        found.sort(key=lambda copy: copy[:2])
        winner = found[0][3].astype(float)
        distances = [
            1 - winner @ c[3].astype(float) / np.linalg.norm(winner) / np.linalg.norm(c[3].astype(float)) for c in found
        ]
        result[key] = (found[0][2], len(found), max(distances), found[0][3].tobytes())
    return result


def check_against(patches: EgPatches, expected: dict[int, tuple[str, int, float, bytes]]) -> None:
    assert patches.patch_id.tolist() == sorted(expected)
    for i, key in enumerate(patches.patch_id.tolist()):
        tile, copies, distance, vector = expected[key]
        assert (patches.tile[i], patches.n_copies[i]) == (tile, copies)
        assert patches.copies_max_cosine_distance[i] == pytest.approx(distance, abs=1e-6)
        assert patches.vectors[i].tobytes() == vector
        assert patches.epsg[i] == (32647 if tile == WEST_TILE else 32648)


def test_duplicates_equal_brute_force_in_any_order(overlapping: list[EgFile]) -> None:
    expected = brute_force(overlapping)
    assert {copies for _, copies, _, _ in expected.values()} == {1, 2, 3}
    check_against(resolve_duplicates(overlapping), expected)
    check_against(resolve_duplicates(overlapping[::-1]), expected)


def test_own_tile_wins_over_the_first_path(overlapping: list[EgFile]) -> None:
    patches = resolve_duplicates(overlapping)
    squares = mgrs_squares(*decode(patches.patch_id))
    held = {tile: set(f.patch_id.tolist()) for f in overlapping for tile in [f.tile]}
    is_held = np.array([key in held.get(s, set()) for key, s in zip(patches.patch_id.tolist(), squares, strict=True)])
    assert (patches.tile[is_held] == squares[is_held]).all()
    assert set(patches.tile[is_held]) == {WEST_TILE, EAST_TILE}
    single = patches.n_copies == 1
    assert (patches.copies_max_cosine_distance[single] == 0).all()
    assert (patches.copies_max_cosine_distance[~single] > 0).all()


def test_shards_add_up_to_the_whole(tmp_path: Path, products: dict[str, Product], overlapping: list[EgFile]) -> None:
    whole = resolve_duplicates(overlapping)
    ids: list[int] = []
    vectors = []
    for area in ((101.9, 12.9, 102.0, 13.1), (102.0, 12.9, 102.1, 13.1)):
        part = resolve_duplicates([read_patches(f.path, products["eg"], area=area) for f in overlapping])
        ids += part.patch_id.tolist()
        vectors.append(part.vectors)
    order = np.argsort(ids)
    assert np.array(ids)[order].tolist() == whole.patch_id.tolist()
    np.testing.assert_array_equal(np.concatenate(vectors)[order], whole.vectors)


def test_no_files_give_no_patches() -> None:
    assert len(resolve_duplicates([])) == 0


@pytest.mark.parametrize(
    "ids", [pa.array([-1, 5]), pa.array([2**56, 5]), pa.array([None, 5]), pa.array(["w64", "x"]), pa.array([0.5, 1])]
)
def test_ids_that_are_none(ids: pa.Array) -> None:
    with pytest.raises(SourceContentError, match="expected 55-bit geohash numbers"):
        parse_ids(pa.chunked_array([ids]), Path("file.parquet"))


def test_row_groups_without_patches_inside_are_not_read(
    tmp_path: Path, products: dict[str, Product], write_eg: Callable, places: LatticePlaces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = write_eg(tmp_path / NAME.format(EAST_TILE), places, random_vectors(len(places), 0))
    read: list[list[str]] = []
    original = pq.ParquetFile.read_row_group

    def spy(self: pq.ParquetFile, i: int, columns: list[str]) -> pa.Table:
        read.append(columns)
        return original(self, i, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    read_patches(path, products["eg"], area=(102.0, 13.0, 102.02, 13.004))
    groups = pq.ParquetFile(path).num_row_groups
    assert groups == 4
    assert read.count(["id"]) == groups
    assert 0 < read.count(["embedding", "geometry"]) < groups
