"""What fitted and guided upsamplers demand of their training data, one precise error each.

Belongs here: checks of `TrainingData` and of guides. Does not: points and patch vectors (`inputs.py`), the operators.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]


def training_patches(operator: str, rows: RowLattice, training: TrainingData | None) -> RowLattice:
    """Give the lattice of the patches on training ground, on which alone operators are fitted to patch vectors.

    Raises:
        ShapeError: the marks do not match the lattice, or leave no patch with a vector.
    """
    if training is None or training.is_training_patch is None:
        return rows
    what, marks = f"upsampling operator {operator}, is_training_patch", training.is_training_patch
    if marks.shape != (rows.n_patches,):
        raise ShapeError(what, marks.shape, f"({rows.n_patches},)", "One mark per patch of the table.")
    kept = rows.keep(marks)
    if len(rows.patch) and not len(kept.patch):
        raise ShapeError(what, "no patch with a vector", "at least one", "Train on more blocks.")
    return kept


def require_labels(operator: str, training: TrainingData | None) -> TrainingData:
    """Check that there are labelled points of at least two classes.

    Raises:
        ShapeError: there is no training data, no labelled point, one class alone, or ids are out of range.
    """
    what = f"upsampling operator {operator}, labels"
    if training is None or not len(training.labels):
        found = "no training data" if training is None else "no labelled point"
        raise ShapeError(what, found, "labelled points of the training fold", "Pass TrainingData with points.")
    labels = np.asarray(training.labels)
    if not len(training.points_u) == len(training.points_v) == len(labels):
        lengths = (len(training.points_u), len(training.points_v), len(labels))
        raise ShapeError(what, f"u, v, labels of lengths {lengths}", "one length", "Give one label per point.")
    if labels.min() < 0 or labels.max() >= training.n_classes:
        raise ShapeError(
            what,
            f"class ids {labels.min()}..{labels.max()}",
            f"0..{training.n_classes - 1}",
            "Leave out points without a label.",
        )
    if labels.min() == labels.max():
        raise ShapeError(what, f"class {labels.min()} alone", "at least 2 classes", "Train on more blocks.")
    return training


def require_fractions(operator: str, rows: RowLattice, training: TrainingData | None) -> Float32Array:
    """Give the class fractions of patches, float32 (n, k), NaN rows where they are unknown.

    Raises:
        ShapeError: there are none, their shape or sums are wrong, or no patch has them.
    """
    what = f"upsampling operator {operator}, class fractions"
    if training is None or training.patch_fractions is None:
        found = "no training data" if training is None else "patch_fractions None"
        raise ShapeError(what, found, "fractions of training patches", "Pass TrainingData(patch_fractions=...).")
    fractions = np.asarray(training.patch_fractions, np.float32)
    if fractions.shape != (rows.n_patches, training.n_classes):
        expected = f"({rows.n_patches}, {training.n_classes})"
        raise ShapeError(what, fractions.shape, expected, "One row per patch, NaN where unknown.")
    known = fractions[np.isfinite(fractions).all(axis=1)]
    if not len(known):
        raise ShapeError(what, "NaN in every row", "some training patch with fractions", "Train on more blocks.")
    worst = float(np.abs(known.sum(axis=1) - 1.0).max())
    if known.min() < 0 or worst > 1e-3:
        found = f"least {known.min():.3g}, sums up to {worst:.3g} off 1"
        raise ShapeError(what, found, "shares that sum to 1", "Divide counts by the labelled pixels of the patch.")
    return fractions


def require_patch_guide(operator: str, rows: RowLattice, training: TrainingData | None) -> Float32Array:
    """Give the guiding vectors of patches, float32 (n, g), NaN rows where there is none.

    Raises:
        ShapeError: there are none, their shape is wrong, or no patch has one.
    """
    what = f"upsampling operator {operator}, patch guide"
    if training is None or training.patch_guide is None:
        found = "no training data" if training is None else "patch_guide None"
        raise ShapeError(what, found, "guiding vectors of patches", "Pass TrainingData(patch_guide=...).")
    patch_guide = np.ascontiguousarray(training.patch_guide, np.float32)
    if patch_guide.ndim != 2 or len(patch_guide) != rows.n_patches:
        raise ShapeError(what, patch_guide.shape, f"({rows.n_patches}, g)", "One row per patch, NaN where unknown.")
    if not np.isfinite(patch_guide).all(axis=1).any():
        raise ShapeError(what, "NaN in every row", "some patch with a guide", "Is the guide of the same area?")
    return patch_guide


def require_guide(operator: str, guide: Float32Array | None, n_points: int, width: int) -> Float32Array:
    """Give the guiding vectors of points, float32 (m, g); NaN rows are allowed.

    Raises:
        ShapeError: there is none, or its shape is not that of the points and the patch guide.
    """
    what = f"upsampling operator {operator}, guide"
    if guide is None:
        raise ShapeError(what, None, f"({n_points}, {width})", "Pass the guiding product's vectors at the points.")
    array = np.ascontiguousarray(guide, np.float32)
    if array.shape != (n_points, width):
        raise ShapeError(what, array.shape, f"({n_points}, {width})", "Use the product that patch_guide was pooled of.")
    return array
