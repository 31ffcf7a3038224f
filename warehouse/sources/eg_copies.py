"""One copy of each Earth Genome patch: neighbouring tiles overlap, so an id can stand in four files.

Belongs here: collecting the chosen copies of several files, and how much the others differ. Does not: reading a file
(`eg_geoparquet.py`), the rule of the choice (`transforms/dedup.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.dedup import choose_copies, cosine_distance
from transforms.geohash import decode
from transforms.lattice import LatticePlaces, recover
from transforms.utm import mgrs_squares
from warehouse.errors import SourceContentError
from warehouse.sources.eg_geoparquet import EgFile, Ids
from warehouse.sources.vectors import FloatMatrix

#: Copies of one patch come from other mosaics, but from one model: the median cosine distance that two files may have,
#: and how many copies it takes to say so. Vectors of two models are about 1 apart.
_COPIES_APART = 0.5
_COPIES_NEEDED = 20
#: Rows copied at a time: indexing makes a temporary copy.
_GATHER_ROWS = 16_384


@dataclass(frozen=True)
class EgPatches:
    """Unique patches of several files, ascending by id.

    Attributes:
        patch_id: uint64 (m,), unique.
        source_id: uint64 (m,), published id of the chosen copy.
        places: lattice, row, column and centroid.
        vectors: float32 (m, dims), of the chosen copy.
        n_copies: int16 (m,), rows that carry the id.
        copies_max_cosine_distance: float32 (m,), largest ``1 - cos`` of a copy to the chosen one; 0 for one
            copy.
        epsg: int32 (m,), zone of the chosen copy's tile.
        tile: str (m,), tile of the chosen copy.
        path: str (m,), file of the chosen copy.
    """

    patch_id: Ids
    source_id: Ids
    places: LatticePlaces
    vectors: FloatMatrix
    n_copies: npt.NDArray[np.int16]
    copies_max_cosine_distance: npt.NDArray[np.float32]
    epsg: npt.NDArray[np.int32]
    tile: npt.NDArray[np.str_]
    path: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.patch_id)


def resolve_duplicates(files: Sequence[EgFile]) -> EgPatches:
    """Keep one copy per id: that of the tile whose MGRS square holds the centroid, else of the first path.

    Args:
        files: all files, or parts of files, that hold copies of the patches wanted.

    Returns:
        The unique patches; the choice for one id does not depend on the other ids.

    Raises:
        SourceContentError: two files give the same patches vectors that cannot be of one model.
    """
    ordered = sorted(files, key=lambda file: str(file.path))
    ids = np.concatenate([np.empty(0, np.uint64), *(file.patch_id for file in ordered)])
    rank = np.repeat(np.arange(len(ordered)), [len(file) for file in ordered])
    tiles = np.array([file.tile for file in ordered], np.str_).reshape(-1)
    lon, lat = decode(ids)
    is_own = mgrs_squares(lon, lat) == tiles[rank] if len(ids) else np.empty(0, bool)
    choice = choose_copies(ids, is_own, rank)
    owner = rank[choice.chosen]
    vectors, distance = _gather(ordered, rank, choice.chosen, choice.group)
    lon, lat = decode(choice.ids)
    published = np.concatenate([np.empty(0, np.uint64), *(file.source_id for file in ordered)])
    return EgPatches(
        choice.ids,
        published[choice.chosen],
        recover(lon, lat),
        vectors,
        choice.n_copies,
        distance,
        np.array([file.epsg for file in ordered], np.int32)[owner],
        tiles[owner],
        np.array([str(file.path) for file in ordered], np.str_).reshape(-1)[owner],
    )


def _gather(
    files: Sequence[EgFile],
    rank: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
    group: npt.NDArray[np.int64],
) -> tuple[FloatMatrix, npt.NDArray[np.float32]]:
    """Collect the chosen vectors and compare the other copies with them, one file at a time.

    Files are never stacked: only the chosen vectors are held a second time.
    """
    dims = files[0].vectors.shape[1] if files else 0
    vectors = np.empty((len(chosen), dims), np.float32)
    distance = np.zeros(len(chosen), np.float32)
    starts = np.searchsorted(rank, np.arange(len(files)))
    for number, file in enumerate(files):
        mine = np.flatnonzero(rank[chosen] == number)
        for few in np.array_split(mine, len(mine) // _GATHER_ROWS + 1):
            vectors[few] = file.vectors[chosen[few] - starts[number]]
    is_chosen = np.zeros(len(rank), bool)
    is_chosen[chosen] = True
    for number, file in enumerate(files):
        others = np.flatnonzero(~is_chosen[starts[number] : starts[number] + len(file)])
        target = group[others + starts[number]]
        apart = cosine_distance(file.vectors[others], vectors[target]).astype(np.float32)
        _check_copies(files, number, rank[chosen[target]], apart)
        np.maximum.at(distance, target, apart)
    return vectors, distance


def _check_copies(
    files: Sequence[EgFile], number: int, owners: npt.NDArray[np.int64], apart: npt.NDArray[np.float32]
) -> None:
    """Refuse a file whose copies of other files' patches are as far from them as vectors of another model.

    Args:
        files: all files.
        number: of the file with the copies.
        owners: int64 (k,), number of the file of the chosen copy.
        apart: float32 (k,), cosine distance between the two.
    """
    for owner in np.unique(owners):
        distances = apart[(owners == owner) & np.isfinite(apart)]
        if len(distances) >= _COPIES_NEEDED and np.median(distances) > _COPIES_APART:
            raise SourceContentError(
                f"{files[number].path} and {files[owner].path.name}",
                [
                    f"vectors: found {len(distances)} patches that both hold, with a median cosine distance of "
                    f"{np.median(distances):.2f}, expected at most {_COPIES_APART:g} between copies of one model"
                ],
                "Are these files of two models or releases? Give each a root and a product of its own.",
            )
