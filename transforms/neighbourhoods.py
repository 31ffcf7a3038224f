"""The 3 x 3 neighbourhoods of patches, by place: lattices, tiles and zones do not matter.

Belongs here: finding neighbours and gathering their vectors. Does not: probes that read them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from transforms.places import PatchPlaces, project_each

FloatArray = npt.NDArray[np.float32]
#: A patch counts as the neighbour at an offset if it lies nearer to it than this share of a side.
_TOLERANCE = 0.3


def gather_neighbourhoods(places: PatchPlaces, vectors: FloatArray, chosen: npt.NDArray[np.int64]) -> FloatArray:
    """Gather the vectors of the eight patches around chosen ones.

    Neighbours are looked for one side to the north, east, ... of the centre, in the zone of the chosen patch. With
    two lattices, as Earth Genome has, that is the patch's own lattice.

    Args:
        places: n patches.
        vectors: float32 (n, d), NaN rows where there are none.
        chosen: int64 (m,) positions.

    Returns:
        float32 (m, 3, 3, d), rows from north to south, columns from west to east; NaN where no patch lies.
    """
    around = np.full((len(chosen), 3, 3, vectors.shape[1]), np.nan, np.float32)
    for epsg in np.unique(places.epsg[chosen]):
        mine = np.flatnonzero(places.epsg[chosen] == epsg)
        here = chosen[mine]
        x, y = project_each(places.lon, places.lat, np.full(len(places), epsg, np.int32))
        tree = cKDTree(np.stack([x, y], axis=1))
        side = places.side_m[here]
        for row, north in enumerate((1, 0, -1)):
            for col, east in enumerate((-1, 0, 1)):
                wanted = np.stack([x[here] + east * side, y[here] + north * side], axis=1)
                distance, found = tree.query(wanted)
                near = distance < _TOLERANCE * side
                around[mine[near], row, col] = vectors[found[near]]
    return around
