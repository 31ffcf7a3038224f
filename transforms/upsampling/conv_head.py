"""Small convolutional head on the patch grid: what stands around a patch helps to say what a pixel is.

Belongs here: the operator, its network and training. Does not: bilinear weights (`bilinear.py`).

Around each point the field of patch vectors is read by bilinear interpolation at 3 x 3 places one pitch apart.
The network is a 1x1 projection of each, one 3x3 convolution (linear on the nine), ReLU, linear to classes. What it
returns are the hidden values after the ReLU. It is trained with torch; then it is a few products of matrices, so
that reading it needs no torch, and the projection, which commutes with interpolation, is made once per patch.

Rules: a place around the point without support takes the value at the point; no support at the point: NaN.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling.bilinear import MIN_SUPPORT, bilinear_weights, interpolate
from transforms.upsampling.hidden_patches import hold_out, number_squares
from transforms.upsampling.inputs import as_points, as_vectors, is_complete
from transforms.upsampling.neighbours import iterate_chunks
from transforms.upsampling.requirements import require_labels, training_patches
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.standardisation import find_scaling
from transforms.upsampling.torch_training import export_layers, pick_device, torch_session
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

#: Width of the result.
HIDDEN = 64
#: Places around a point, along rows and across them, pitches; the point itself is number `_CENTRE`.
PLACES = np.array([(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)])
_CENTRE = 4


class ConvHeadUpsampler(BaseEstimator):
    """Hidden values of a small convolutional head, trained on labelled points of the training fold.

    AdamW on the cross-entropy; a tenth of the points is held out in squares of 4 pitches, and the weights with the
    lowest loss there are kept. Deterministic for a seed on one CPU.

    Args:
        hidden: width of the result.
        projected: width after the 1x1 projection.
        max_epochs: passes over the points, at most.
        patience: passes without a better held-out loss before training stops.
        batch: points a step.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        min_support: see `bilinear_weights`.
    """

    def __init__(
        self,
        hidden: int = HIDDEN,
        projected: int = 32,
        max_epochs: int = 40,
        patience: int = 5,
        batch: int = 256,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        min_support: float = MIN_SUPPORT,
    ) -> None:
        self.hidden = hidden
        self.projected = projected
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch = batch
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.min_support = min_support

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Train the head.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: points, labels, `is_training_patch` (for the scaling) and `seed` are used.

        Returns:
            The upsampler.

        Raises:
            MissingTorchError: torch is not installed.
            ShapeError: `vectors` do not match the lattice, there are no labels, or under 2 points have support.
        """
        array = as_vectors(rows, vectors)
        known = require_labels("conv_head", training)
        kept = is_complete(array)
        self.rows_ = rows.keep(kept)
        u, v = as_points(known.points_u, known.points_v)
        index, weight = self._weigh(u, v)
        usable = np.flatnonzero((weight > 0).any(axis=(1, 2)))
        if len(usable) < 2:
            raise ShapeError(
                "conv_head", f"{len(usable)} labelled points with support", "at least 2", "Are both of one area?"
            )
        mean, scale = find_scaling(array[training_patches("conv_head", self.rows_, training).patch])
        standard = np.where(kept[:, None], (array - mean) * scale, 0).astype(np.float32)
        rng = np.random.default_rng(known.seed)
        is_held = hold_out(number_squares(self.rows_, u[usable], v[usable]), 0.1, rng)
        layers = self._train(
            standard, index[usable], weight[usable], known.labels[usable].astype(np.int64), is_held, known, rng
        )
        self.projection_ = standard @ layers[0] + layers[1]
        self.kernel_, self.kernel_offset_ = layers[2], layers[3]
        return self

    def transform(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None = None
    ) -> Float32Array:
        """Give hidden values at points.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: not used.

        Returns:
            float32 (m, hidden), none negative; NaN where support is too small.
        """
        check_is_fitted(self)
        u, v = as_points(points_u, points_v)
        out = np.empty((len(u), self.hidden), np.float32)
        for part in iterate_chunks(len(u)):
            index, weight = self._weigh(u[part], v[part])
            field = _read_field(self.projection_, index, weight)
            out[part] = np.maximum(field.reshape(len(index), -1) @ self.kernel_ + self.kernel_offset_, 0)
        return out

    def _weigh(self, u: Float64Array, v: Float64Array) -> tuple[npt.NDArray[np.int32], Float32Array]:
        """Give patches and bilinear weights at the nine places of points, (m, 9, s) each."""
        places = [
            bilinear_weights(self.rows_, u + dx * self._pitch_u(v), v + dy * self.rows_.pitch_v, self.min_support)
            for dx, dy in PLACES
        ]
        index = np.stack([place[0] for place in places], axis=1)
        weight = np.stack([place[1] for place in places], axis=1)
        is_lost = np.asarray(~(weight > 0).any(axis=2))
        index[is_lost] = np.broadcast_to(index[:, _CENTRE, None], index.shape)[is_lost]
        weight[is_lost] = np.broadcast_to(weight[:, _CENTRE, None], weight.shape)[is_lost]
        # a point without support has none at any of its places
        weight[is_lost[:, _CENTRE]] = 0
        return index, weight

    def _pitch_u(self, v: Float64Array) -> Float64Array:
        """Give the pitch along the row that is nearest to each point."""
        order = np.argsort(self.rows_.row_v, kind="stable")
        ordered = self.rows_.row_v[order]
        middle = (ordered[1:] + ordered[:-1]) / 2
        return np.asarray(self.rows_.row_pitch_u[order][np.searchsorted(middle, v)], np.float64)

    def _train(
        self,
        standard: Float32Array,
        index: npt.NDArray[np.int32],
        weight: Float32Array,
        labels: Int64Array,
        is_held: npt.NDArray[np.bool_],
        known: TrainingData,
        rng: np.random.Generator,
    ) -> list[Float32Array]:
        """Train the network; give its (in, out) matrices and offsets up to the hidden layer."""
        held, used = np.flatnonzero(is_held), np.flatnonzero(~is_held)
        with torch_session("conv_head", known.seed) as torch:
            device = pick_device(torch)
            model = self._build_network(torch, standard.shape[1], known.n_classes).to(device)
            adam = torch.optim.AdamW(model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)

            def loss_of(part: Int64Array) -> Any:
                field = torch.from_numpy(_read_field(standard, index[part], weight[part])).to(device)
                return torch.nn.functional.cross_entropy(model(field), torch.from_numpy(labels[part]).to(device))

            lowest, waited, best = np.inf, 0, export_layers(model)
            for _ in range(self.max_epochs):
                shuffled = rng.permutation(used)
                for start in range(0, len(shuffled), self.batch):
                    adam.zero_grad()
                    loss_of(shuffled[start : start + self.batch]).backward()
                    adam.step()
                with torch.no_grad():
                    loss = float(loss_of(held))
                waited += 1
                if loss < lowest:
                    lowest, waited, best = loss, 0, export_layers(model)
                if waited >= self.patience:
                    break
        return best

    def _build_network(self, torch: Any, width: int, n_classes: int) -> Any:
        return torch.nn.Sequential(
            torch.nn.Linear(width, self.projected),
            torch.nn.Flatten(),
            torch.nn.Linear(len(PLACES) * self.projected, self.hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(self.hidden, n_classes),
        )


def _read_field(vectors: Float32Array, index: npt.NDArray[np.int32], weight: Float32Array) -> Float32Array:
    """Interpolate at the places of points: float32 (m, 9, d)."""
    slots = index.shape[2]
    found = interpolate(vectors, index.reshape(-1, slots), weight.reshape(-1, slots))
    return found.reshape(len(index), len(PLACES), vectors.shape[1])
