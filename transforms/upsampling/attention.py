"""Attention upsampling in a learned guide space: values are the patch vectors themselves.

Belongs here: the operator, its encoder and its training. Does not: neighbourhoods and weights (`neighbours.py`),
a guide space that is given (`joint_bilateral.py`).

In the manner of AnyUp (Wimmer et al. 2025, arXiv 2510.12764) and JAFAR (Couairon et al. 2025, arXiv 2506.11136):
queries come from the guide at the point, keys from the guide pooled per patch, and the values are not touched, so
that the result is a convex combination of patch vectors of any product and width. Query and key share one small
encoder `f` with results of length 1; the attention to a patch is

    softmax_p( t f(guide) . f(patch guide_p)  -  |offset_p|^2 / (2 s^2) ).

The relative position enters as a Gaussian of learned width `s` and not through the encoder, because a hidden patch
never shows what stands at its own centre: a network would have to extrapolate there. As ``t a.b`` is
``t - t |a - b|^2 / 2``, these are the weights of a joint bilateral filter in the space of ``sqrt(t) f``.

Training needs no labels: patches are hidden with a random half of their neighbours and reconstructed at their
centre from the rest, with their own pooled guide as query.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transforms.errors import ShapeError
from transforms.upsampling.bilinear import MIN_SUPPORT, interpolate
from transforms.upsampling.inputs import as_points, as_vectors, is_complete
from transforms.upsampling.joint_bilateral import widest_within_one_error
from transforms.upsampling.neighbours import find_neighbours, guided_weights, iterate_chunks
from transforms.upsampling.requirements import import_torch, require_guide, require_patch_guide
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.standardisation import find_scaling, hold_out
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]

#: Bounds of the learned spatial width, pitches: below, only the nearest patch counts; above, all alike.
SPATIAL_SIGMAS = (0.25, 1.0)
#: Steps between looks at the patches that are held out.
_CHECK_STEPS = 20


class AttentionUpsampler(BaseEstimator):
    """Feature-agnostic attention upsampling, trained on our own patches without labels.

    Loss: 1 - cosine plus the mean squared error, on standardised vectors; Adam. Squares of patches are held out and
    the weights with the lowest loss there are kept. If these patches are not reconstructed better with the guide than
    without it (by more than one paired standard error), the guide is not used: `temperature_` is 0.

    Rules for holes, borders and missing guides: see `neighbours.py`. A NaN guide gives NaN. Deterministic for a
    seed on one machine.

    Args:
        width: of queries and keys, and of the encoder's hidden layer.
        max_steps: steps of training, at most.
        patience: looks (every 20 steps) without a better held-out loss before training stops.
        batch: hidden patches a step.
        learning_rate: of Adam.
        min_support: see `bilinear_weights`.
    """

    def __init__(
        self,
        width: int = 32,
        max_steps: int = 400,
        patience: int = 5,
        batch: int = 256,
        learning_rate: float = 5e-3,
        min_support: float = MIN_SUPPORT,
    ) -> None:
        self.width = width
        self.max_steps = max_steps
        self.patience = patience
        self.batch = batch
        self.learning_rate = learning_rate
        self.min_support = min_support

    def fit(self, rows: RowLattice, vectors: Float32Array, training: TrainingData | None = None) -> Self:
        """Train queries and keys on patches that have a vector and a guide.

        Args:
            rows: the lattice of the patches.
            vectors: float32 (n, d), in the order that the lattice was built from.
            training: `patch_guide` and `seed` are used.

        Returns:
            The upsampler, with `temperature_` and `spatial_sigma_`.

        Raises:
            MissingTorchError: torch is not installed.
            ShapeError: `vectors` do not match the lattice, there is no patch guide, or under 2 patches with a
                guide have a neighbour with one.
        """
        self.vectors_ = as_vectors(rows, vectors)
        self.rows_ = rows.keep(is_complete(self.vectors_))
        patch_guide = require_patch_guide("attention", rows, training)
        self.guide_width_ = patch_guide.shape[1]
        seed = training.seed if training else 0
        self._train(patch_guide, seed)
        self.keys_ = self._encode(patch_guide)
        return self

    def weigh(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None
    ) -> tuple[Int32Array, Float32Array]:
        """Give the patches around points and their weights, with which any vectors of these patches go up.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: float32 (m, g), guiding vectors at the points.

        Returns:
            (index int32 (m, s), weight float32 (m, s)) for `interpolate`; all weights 0 where there is no vector.

        Raises:
            ShapeError: there is no guide, or its shape does not agree.
        """
        check_is_fitted(self)
        u, v = as_points(points_u, points_v)
        query = self._encode(require_guide("attention", guide, len(u), self.guide_width_))
        return guided_weights(
            self.rows_, u, v, query, self.keys_, spatial_sigma=self.spatial_sigma_, min_support=self.min_support
        )

    def transform(
        self, points_u: npt.ArrayLike, points_v: npt.ArrayLike, guide: Float32Array | None = None
    ) -> Float32Array:
        """Give vectors at points, convex combinations of patch vectors.

        Args:
            points_u: (m,), longitude or x as in the lattice.
            points_v: (m,), latitude or y.
            guide: float32 (m, g), guiding vectors at the points.

        Returns:
            float32 (m, d); NaN where support is too small or the guide is NaN.

        Raises:
            ShapeError: there is no guide, or its shape does not agree.
        """
        check_is_fitted(self)
        u, v = as_points(points_u, points_v)
        query = require_guide("attention", guide, len(u), self.guide_width_)
        out = np.empty((len(u), self.vectors_.shape[1]), np.float32)
        for part in iterate_chunks(len(u)):
            out[part] = interpolate(self.vectors_, *self.weigh(u[part], v[part], query[part]))
        return out

    def _encode(self, guide: Float32Array) -> Float32Array:
        """Give ``sqrt(t) f(guide)``, float32 (m, width); NaN rows stay NaN."""
        first, first_offset, second, second_offset = self.layers_
        standard = ((guide - self.guide_mean_) * self.guide_scale_).astype(np.float32)
        found = np.maximum(standard @ first + first_offset, 0) @ second + second_offset
        # a maximum of NaN and 0 is NaN, but a width of 0 in the first layer must not hide it
        found[~is_complete(guide)] = np.nan
        length = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return np.asarray(found / length * np.float32(np.sqrt(self.temperature_)), np.float32)

    def _train(self, patch_guide: Float32Array, seed: int) -> None:
        """Set scaling, layers, temperature and spatial width."""
        torch = import_torch("attention")
        task = _HiddenPatches(self.rows_, self.vectors_, patch_guide)
        self.guide_mean_, self.guide_scale_ = task.guide_mean, task.guide_scale
        rng = np.random.default_rng(seed)
        held = hold_out(self.rows_, task.u, task.v, 0.15, rng)
        held_units = rng.permutation(np.flatnonzero(held))[:2_000]
        used = np.flatnonzero(~held)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = _Model(torch, task, self.width)
            adam = torch.optim.Adam(model.parameters, lr=self.learning_rate)
            best, lowest, waited = model.copy(), model.held_loss(held_units), 0
            for step in range(1, self.max_steps + 1):
                units = rng.choice(used, min(self.batch, len(used)), replace=False)
                is_open = rng.random(task.index[units].shape) < 0.5
                adam.zero_grad()
                model.loss(units, is_open).mean().backward()
                adam.step()
                if step % _CHECK_STEPS:
                    continue
                loss, waited = model.held_loss(held_units), waited + 1
                if loss < lowest:
                    best, lowest, waited = model.copy(), loss, 0
                if waited >= self.patience:
                    break
            model.restore(best)
            self.layers_, self.temperature_, self.spatial_sigma_ = model.export()
            if widest_within_one_error(model.errors_with_and_without_guide(held_units)) == 1:
                self.temperature_ = 0.0


class _HiddenPatches:
    """Patches to reconstruct: their guides, standardised vectors and neighbours without themselves."""

    def __init__(self, rows: RowLattice, vectors: Float32Array, patch_guide: Float32Array) -> None:
        has_guide = is_complete(patch_guide)
        places = np.flatnonzero(has_guide[rows.patch])
        index, offset = find_neighbours(rows, rows.u[places], rows.v[places])
        hidden = rows.patch[places]
        is_known = (index >= 0) & (index != hidden[:, None]) & has_guide[index]
        usable = is_known.any(axis=1)
        if usable.sum() < 2:
            raise ShapeError(
                "upsampling operator attention, patches with a guide and a neighbour that has one",
                int(usable.sum()),
                "at least 2 to learn from",
                "Use bilinear for so small an area.",
            )
        self.u, self.v = rows.u[places][usable], rows.v[places][usable]
        self.hidden, self.index = hidden[usable], np.maximum(index[usable], 0)
        self.is_known = is_known[usable]
        self.squared_offset = (offset[usable] ** 2).sum(axis=2)
        self.guide_mean, self.guide_scale = find_scaling(patch_guide[has_guide])
        self.guide = np.where(has_guide[:, None], (patch_guide - self.guide_mean) * self.guide_scale, 0).astype(
            np.float32
        )
        complete = is_complete(vectors)
        mean, scale = find_scaling(vectors[complete])
        self.values = np.where(complete[:, None], (vectors - mean) * scale, 0).astype(np.float32)


class _Model:
    """Encoder, temperature and spatial width as torch parameters, and the reconstruction that they give."""

    def __init__(self, torch: Any, task: _HiddenPatches, width: int) -> None:
        self._torch = torch
        self._task = task
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._encoder = torch.nn.Sequential(
            torch.nn.Linear(task.guide.shape[1], width), torch.nn.ReLU(), torch.nn.Linear(width, width)
        ).to(self._device)
        # t = 1 and a sigmoid half way between the bounds: close to the unguided operator
        self._log_temperature = torch.zeros((), device=self._device, requires_grad=True)
        self._spatial = torch.zeros((), device=self._device, requires_grad=True)
        self.parameters = [*self._encoder.parameters(), self._log_temperature, self._spatial]
        self._guide = torch.from_numpy(task.guide).to(self._device)
        self._values = torch.from_numpy(task.values).to(self._device)

    def reconstruct(self, units: npt.NDArray[np.int64], is_open: BoolArray, has_guide: bool = True) -> tuple[Any, Any]:
        """Give (reconstructed, true) standardised vectors (b, d) of hidden patches."""
        torch, task = self._torch, self._task
        known = task.is_known[units]
        seen = known & is_open
        # a draw that hides every neighbour shows them all
        seen = np.where(seen.any(axis=1, keepdims=True), seen, known)
        index = torch.from_numpy(task.index[units].astype(np.int64)).to(self._device)
        hidden = torch.from_numpy(task.hidden[units].astype(np.int64)).to(self._device)
        apart = torch.from_numpy(task.squared_offset[units]).to(self._device)
        exponent = -0.5 * apart / self._spatial_sigma() ** 2
        if has_guide:
            query = torch.nn.functional.normalize(self._encoder(self._guide[hidden]), dim=1)
            key = torch.nn.functional.normalize(self._encoder(self._guide[index]), dim=2)
            exponent = exponent + self._log_temperature.exp() * torch.einsum("be,bse->bs", query, key)
        exponent = exponent.masked_fill(~torch.from_numpy(seen).to(self._device), -torch.inf)
        weight = torch.softmax(exponent, dim=1)
        return torch.einsum("bs,bsd->bd", weight, self._values[index]), self._values[hidden]

    def loss(self, units: npt.NDArray[np.int64], is_open: BoolArray, has_guide: bool = True) -> Any:
        """Give 1 - cosine plus the mean squared error of each unit, (b,)."""
        found, truth = self.reconstruct(units, is_open, has_guide)
        cosine = self._torch.nn.functional.cosine_similarity(found, truth, dim=1)
        return (1.0 - cosine) + ((found - truth) ** 2).mean(dim=1)

    def held_loss(self, units: npt.NDArray[np.int64]) -> float:
        """Give the mean loss of held-out patches with all their neighbours."""
        return float(self._errors(units, True).mean())

    def errors_with_and_without_guide(self, units: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Give losses of held-out patches with and without the guide, float64 (2, b)."""
        return np.stack([self._errors(units, True), self._errors(units, False)])

    def copy(self) -> list[Any]:
        """Copy the parameters."""
        return [parameter.detach().clone() for parameter in self.parameters]

    def restore(self, copied: list[Any]) -> None:
        """Set the parameters to a copy."""
        with self._torch.no_grad():
            for parameter, value in zip(self.parameters, copied, strict=True):
                parameter.copy_(value)

    def export(self) -> tuple[list[Float32Array], float, float]:
        """Give matrices (in, out) and offsets of the encoder, temperature and spatial width in pitches."""
        layers = [parameter.detach().cpu().numpy() for parameter in self._encoder.parameters()]
        arrays = [np.array(layer.T, np.float32, order="C") for layer in layers]
        return arrays, float(self._log_temperature.exp().detach()), float(self._spatial_sigma().detach())

    def _errors(self, units: npt.NDArray[np.int64], has_guide: bool) -> npt.NDArray[np.float64]:
        with self._torch.no_grad():
            losses = [
                self.loss(part, np.ones((len(part), self._task.index.shape[1]), np.bool_), has_guide).cpu().numpy()
                for part in np.array_split(units, max(1, len(units) // 256))
            ]
        return np.concatenate(losses).astype(np.float64)

    def _spatial_sigma(self) -> Any:
        low, high = SPATIAL_SIGMAS
        return low + (high - low) * self._torch.sigmoid(self._spatial)
