"""Codebooks of VLAD and bag of words: fitting the centres on training pixels.

Belongs here: `fit_codebook`. Does not: stored rows (`transforms/codebook_rows.py`), pooling with a codebook
(`definitions.py`, `codebook_kernels.py`), which pixels are training pixels (the fold decides).
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from transforms.errors import ShapeError, TooFewUnitsError
from transforms.pooling.pixels import Codebook

Float32Array = npt.NDArray[np.float32]

#: Pixels that k-means sees at most: more do not move the centres, and cost time.
MAX_SAMPLE = 50_000


def fit_codebook(vectors: Float32Array, k: int, seed: int) -> Codebook:
    """Fit k centres by k-means (k-means++, one start) on at most `MAX_SAMPLE` pixels.

    Args:
        vectors: float32 (n, d), pixels of the training fold only; rows with NaN are left out.
        k: number of centres.
        seed: draws the sample and the start; the same seed gives the same centres.

    Returns:
        The codebook, sorted by its first dimension; `version` is the hash of its centres.

    Raises:
        ShapeError: `vectors` is not a matrix or k is below 1.
        TooFewUnitsError: fewer than k different pixels.
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2:
        raise ShapeError("pixels to fit a codebook on", vectors.shape, "(n, d)", "One row a pixel.")
    if k < 1:
        raise ShapeError("centres of a codebook", k, "at least 1", "16 to 64 are usual.")
    rng = np.random.default_rng(seed)
    kept = vectors[~np.isnan(vectors).any(axis=1)]
    if len(kept) > MAX_SAMPLE:
        kept = kept[np.sort(rng.choice(len(kept), MAX_SAMPLE, replace=False))]
    n_different = len(np.unique(kept, axis=0))
    if n_different < k:
        raise TooFewUnitsError(
            "codebook", f"{n_different} different pixels", f"at least k = {k}", "Give more training pixels or lower k."
        )
    with threadpool_limits(limits=1):  # sums in threads differ in the last bits from run to run
        fitted = KMeans(k, n_init=1, random_state=int(rng.integers(2**31))).fit(kept)
    centers = fitted.cluster_centers_.astype(np.float32)
    centers = np.ascontiguousarray(centers[np.lexsort(centers.T[::-1])])
    version = hashlib.sha256(str(centers.shape).encode() + centers.tobytes()).hexdigest()[:16]
    return Codebook(centers, version)
