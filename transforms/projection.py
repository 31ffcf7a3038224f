"""Vectors on a plane, for pictures: UMAP, or the first two principal components.

Belongs here: projections to two dimensions and the draw of units that are shown. Does not: drawing
(`transforms/report/scatter.py`), bases that vectors are stored in (`transforms/upsampling/basis.py`), scores: a
projection is fitted on all units at once, so it is a picture and no evidence.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError, ShapeError

Method = Literal["umap", "pca"]
FloatArray = npt.NDArray[np.float32]

#: Units that a picture shows at most: more dots hide each other.
MAX_SHOWN = 2000
#: Neighbours that UMAP keeps together, its authors' default; fewer units than that have no neighbourhoods.
_N_NEIGHBOURS = 15


class MissingUmapError(IsthmusError):
    """UMAP was asked for by name, but is not installed. Permanent until it is."""

    def __init__(self) -> None:
        super().__init__(
            "projection: found no package umap-learn, expected one for method 'umap'. "
            "Install the extra: pip install 'isthmus[umap]'; or ask for method 'pca'."
        )


@dataclass(frozen=True)
class Projection:
    """Vectors on a plane.

    Attributes:
        xy: float32 (n, 2); the axes have no unit.
        method: how it was made.
    """

    xy: FloatArray
    method: Method


def project_2d(vectors: npt.ArrayLike, seed: int, method: Literal["auto", "umap", "pca"] = "auto") -> Projection:
    """Project vectors to two dimensions.

    UMAP (McInnes, Healy & Melville, arXiv 1802.03426) with its defaults of 15 neighbours and least distance 0.1, by
    cosine, on one thread, so that a seed gives one picture. Principal components are those of the covariance; each
    axis points where its largest loading is positive.

    Args:
        vectors: float (n, d), finite, n >= 3, d >= 2.
        seed: of UMAP; components draw nothing.
        method: `auto` is UMAP where umap-learn is installed and there are more than 15 vectors, else components.

    Returns:
        The projection, and which method made it.

    Raises:
        ShapeError: not such vectors, or too few of them for UMAP.
        MissingUmapError: `umap` was asked for and is not installed.
    """
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2 or rows.shape[0] < 3 or rows.shape[1] < 2 or not np.isfinite(rows).all():
        raise ShapeError("vectors to project", rows.shape, "finite (n >= 3, d >= 2)", "Leave out units without one.")
    if method == "auto":
        method = "umap" if _has_umap() and len(rows) > _N_NEIGHBOURS else "pca"
    if method == "pca":
        return Projection(_principal_plane(rows), "pca")
    if len(rows) <= _N_NEIGHBOURS:
        raise ShapeError("vectors for UMAP", len(rows), f"more than {_N_NEIGHBOURS}", "Ask for method 'pca'.")
    model = _load_umap().UMAP(
        n_components=2, n_neighbors=_N_NEIGHBOURS, min_dist=0.1, metric="cosine", random_state=seed, n_jobs=1
    )
    return Projection(np.asarray(model.fit_transform(rows), np.float32), "umap")


def draw_shown(n_units: int, seed: int, most: int = MAX_SHOWN) -> npt.NDArray[np.int64]:
    """Draw the units that a picture shows, uniformly: int64 positions, ascending, at most `most`."""
    if n_units <= most:
        return np.arange(n_units)
    return np.sort(np.random.default_rng(seed).choice(n_units, most, replace=False))


def _principal_plane(rows: FloatArray) -> FloatArray:
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, [-1, -2]]
    largest = np.abs(axes).argmax(axis=0)
    # the sign of an eigenvector is the solver's choice
    axes *= np.where(axes[largest, [0, 1]] < 0, -1.0, 1.0)
    return (centred @ axes).astype(np.float32)


def _has_umap() -> bool:
    return importlib.util.find_spec("umap") is not None


def _load_umap() -> Any:
    """Load umap-learn when it is used: it compiles for a while.

    Raises:
        MissingUmapError: it is not installed.
    """
    if not _has_umap():
        raise MissingUmapError
    return importlib.import_module("umap")
