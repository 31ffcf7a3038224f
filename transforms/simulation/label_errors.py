"""Wrong labels at a known rate: what a land-cover product would say about the simulated landscape.

Belongs here: which pixels are labelled wrong, and as what. Does not: writing label rasters.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.simulation.noise import derive_rng, smooth_field
from transforms.simulation.spec import N_CLASSES, NO_CLASS

ByteArray = npt.NDArray[np.uint8]

#: Share of the errors that stand in clumps at the edges of parcels; the rest is anywhere.
EDGE_SHARE = 0.7
#: Size of the clumps, pixels.
_CLUMP_SIGMA_PX = 4.0


def mislabel(classes: ByteArray, error_rate: float, seed: int) -> ByteArray:
    """Make a share of the labels wrong: most at parcel edges, in clumps, as the class across the edge.

    Args:
        classes: uint8 (height, width), true class index; `NO_CLASS` where there is none.
        error_rate: share of the pixels with a class that become wrong, in [0, 1].
        seed: the world's seed.

    Returns:
        uint8 (height, width): labels; `NO_CLASS` where `classes` has it. Fewer errors than asked for where the
        landscape has too few edges.
    """
    rng = derive_rng(seed, "mislabel")
    labels = classes.copy()
    land = classes != NO_CLASS
    wanted = round(error_rate * int(land.sum()))
    across = _class_across_edge(classes)
    edges = np.flatnonzero(across.ravel() != NO_CLASS)
    clumps = smooth_field(rng, classes.shape, _CLUMP_SIGMA_PX).ravel()[edges]
    at_edges = edges[np.argsort(-clumps, kind="stable")[: round(wanted * EDGE_SHARE)]]
    labels.ravel()[at_edges] = across.ravel()[at_edges]
    untouched = np.flatnonzero((land & (labels == classes)).ravel())
    anywhere = rng.choice(untouched, size=min(wanted - len(at_edges), len(untouched)), replace=False)
    shift = rng.integers(1, N_CLASSES, len(anywhere), dtype=np.uint8)
    labels.ravel()[anywhere] = (labels.ravel()[anywhere] + shift) % N_CLASSES
    return labels


def _class_across_edge(classes: ByteArray) -> ByteArray:
    """Give a class that differs among the four neighbours of each pixel; `NO_CLASS` where none does."""
    across = np.full_like(classes, NO_CLASS)
    height, width = classes.shape
    for rows, cols in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        here = (slice(max(-rows, 0), height - max(rows, 0)), slice(max(-cols, 0), width - max(cols, 0)))
        there = (slice(max(rows, 0), height + min(rows, 0)), slice(max(cols, 0), width + min(cols, 0)))
        neighbour = classes[there]
        differs = (neighbour != classes[here]) & (neighbour != NO_CLASS) & (classes[here] != NO_CLASS)
        across[here] = np.where(differs, neighbour, across[here])
    return across
