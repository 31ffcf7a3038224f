"""The linear head: one affine map to classes, whose penalised optimum does not depend on where it starts.

Belongs here: the convex problem. Does not: networks (`head.py`).

A linear adapter with a linear classifier is one affine map. Its factors are multiplied before labels are seen, so
that what is minimised is strictly convex: pre-training decides where the search starts, never where it ends. A gain
of a pre-trained linear head is therefore an error of the study: other labels, other pixels, other ground.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logsumexp

from transforms.pretraining.chips import Float32Array, Float64Array, Int64Array
from transforms.pretraining.head import Weights

#: Largest gradient that still counts as the optimum, in units of the mean loss.
_TOLERANCE = 1e-6
_MAX_ITERATIONS = 1_000


def fit_affine(x: Float32Array, labels: Int64Array, n_classes: int, c: float, factors: Weights) -> Weights:
    """Minimise ``mean cross-entropy + ||W||^2 / (2 c n)`` over one affine map, by L-BFGS.

    This is the problem of scikit-learn's multinomial `LogisticRegression(C=c)`; offsets are not penalised.

    Args:
        x: float32 (n, d), standardised pixels.
        labels: int64 (n,), class ids; classes without a pixel get weights that score low.
        n_classes: k.
        c: inverse regularisation.
        factors: matrices and offsets of adapter and classifier, (w, d, 1, 1), (w,), (k, w, 1, 1), (k,): their product
            is the start.

    Returns:
        (float32 (k, d), float32 (k,)).
    """
    first, first_offset, second, second_offset = (np.asarray(part, np.float64) for part in factors)
    matrix = second[:, :, 0, 0] @ first[:, :, 0, 0]
    offset = second[:, :, 0, 0] @ first_offset + second_offset
    pixels = x.astype(np.float64)
    truth = np.eye(n_classes)[labels]
    penalty = 1.0 / (c * len(x))

    def evaluate(flat: Float64Array) -> tuple[float, Float64Array]:
        weights, offsets = flat[: matrix.size].reshape(matrix.shape), flat[matrix.size :]
        scores = pixels @ weights.T + offsets
        log_sum = logsumexp(scores, axis=1, keepdims=True)
        loss = float((log_sum[:, 0] - (scores * truth).sum(axis=1)).mean() + penalty / 2 * (weights**2).sum())
        error = (np.exp(scores - log_sum) - truth) / len(pixels)
        slope = error.T @ pixels + penalty * weights
        return loss, np.concatenate([slope.ravel(), error.sum(axis=0)])

    start = np.concatenate([matrix.ravel(), offset])
    options = {"maxiter": _MAX_ITERATIONS, "gtol": _TOLERANCE, "ftol": 0.0}
    found: npt.NDArray[np.float64] = minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options).x
    return (
        found[: matrix.size].reshape(matrix.shape).astype(np.float32),
        found[matrix.size :].astype(np.float32),
    )
