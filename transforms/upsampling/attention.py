"""Attention upsampling in a learned guide space: values are the patch vectors themselves.

Belongs here: the operator, its encoder and its training. Does not: neighbourhoods and weights (`neighbours.py`,
`guided.py`), a guide space that is given (`joint_bilateral.py`).

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

from transforms.errors import ShapeError
from transforms.upsampling.bilinear import MIN_SUPPORT
from transforms.upsampling.guided import GuidedUpsampler
from transforms.upsampling.hidden_patches import (
    HiddenPatches,
    hide_patches,
    hold_out,
    says_something,
)
from transforms.upsampling.inputs import as_vectors, is_complete
from transforms.upsampling.requirements import require_patch_guide, training_patches
from transforms.upsampling.rows import RowLattice
from transforms.upsampling.standardisation import find_scaling
from transforms.upsampling.torch_training import export_layers, pick_device, torch_session
from transforms.upsampling.training import TrainingData

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]

#: Bounds of the learned spatial width, pitches: below, only the nearest patch counts; above, all alike.
SPATIAL_SIGMAS = (0.25, 1.0)
#: Patches that are judged by, at most.
N_JUDGED = 2_000
#: Steps between looks at the patches that are held out.
_CHECK_STEPS = 20


class AttentionUpsampler(GuidedUpsampler):
    """Feature-agnostic attention upsampling, trained on our own patches without labels.

    Loss: 1 - cosine plus the mean squared error, on standardised vectors; Adam. Squares of patches are held out and
    the weights with the lowest loss there are kept. If the guide says nothing of the vectors (`hidden_patches.py`),
    nothing is trained, `temperature_` is 0 and the operator is bilinear.

    Rules for holes, borders and missing guides: see `neighbours.py`. A NaN guide gives NaN. Deterministic for a
    seed on one CPU; a GPU adds in an order of its own.

    Args:
        width: of queries and keys, and of the encoder's hidden layer.
        max_steps: steps of training, at most.
        patience: looks (every 20 steps) without a better held-out loss before training stops.
        batch: hidden patches a step.
        learning_rate: of Adam.
        min_support: see `bilinear_weights`.
    """

    operator = "attention"

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
            training: `patch_guide`, `is_training_patch` and `seed` are used.

        Returns:
            The upsampler, with `temperature_` and `spatial_sigma_`.

        Raises:
            MissingTorchError: torch is not installed.
            ShapeError: `vectors` do not match the lattice, there is no patch guide, or under 2 patches with a
                guide have a neighbour with one.
        """
        self.vectors_ = as_vectors(rows, vectors)
        self.rows_ = rows.keep(is_complete(self.vectors_))
        patch_guide = require_patch_guide(self.operator, rows, training)
        self.guide_width_ = patch_guide.shape[1]
        seed = training.seed if training else 0
        self._train(training_patches(self.operator, self.rows_, training), patch_guide, seed)
        self.keys_ = self._embed(patch_guide) if self.temperature_ > 0 else None
        return self

    def _embed(self, guide: Float32Array) -> Float32Array:
        """Give ``sqrt(t) f(guide)``, float32 (m, width); NaN rows stay NaN."""
        first, first_offset, second, second_offset = self.layers_
        standard = ((guide - self.guide_mean_) * self.guide_scale_).astype(np.float32)
        found = np.maximum(standard @ first + first_offset, 0) @ second + second_offset
        # a maximum of NaN and 0 is NaN, but a width of 0 in the first layer must not hide it
        found[~is_complete(guide)] = np.nan
        length = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return np.asarray(found / length * np.float32(np.sqrt(self.temperature_)), np.float32)

    def _train(self, rows: RowLattice, patch_guide: Float32Array, seed: int) -> None:
        """Set scaling, layers, temperature and spatial width."""
        hidden = hide_patches(rows, patch_guide)
        if len(hidden) < 2:
            raise ShapeError(
                "upsampling operator attention, patches with a guide and a neighbour that has one",
                len(hidden),
                "at least 2 to learn from",
                "Use bilinear for so small an area.",
            )
        self.guide_mean_, self.guide_scale_ = find_scaling(patch_guide[hidden.patch])
        mean, scale = find_scaling(self.vectors_[rows.patch])
        values = ((self.vectors_ - mean) * scale).astype(np.float32)
        guide = ((patch_guide - self.guide_mean_) * self.guide_scale_).astype(np.float32)
        rng = np.random.default_rng(seed)
        self.temperature_, self.spatial_sigma_ = 0.0, np.inf
        if not says_something(hidden.take(rng.permutation(len(hidden))[:N_JUDGED]), values, guide):
            return
        is_held = hold_out(hidden.square, 0.15, rng)
        held = hidden.take(rng.permutation(np.flatnonzero(is_held))[:N_JUDGED])
        used = hidden.take(np.flatnonzero(~is_held))
        with torch_session(self.operator, seed) as torch:
            model = _Model(torch, np.nan_to_num(guide), np.nan_to_num(values), self.width)
            self._descend(model, used, held, rng)
            self.layers_, self.temperature_, self.spatial_sigma_ = model.export()

    def _descend(self, model: _Model, used: HiddenPatches, held: HiddenPatches, rng: np.random.Generator) -> None:
        """Train until the loss of held-out patches no longer falls; leave the model at its lowest."""
        adam = model.torch.optim.Adam(model.parameters, lr=self.learning_rate)
        best, lowest, waited = model.copy(), model.mean_loss(held), 0
        for step in range(1, self.max_steps + 1):
            batch = used.take(rng.choice(len(used), min(self.batch, len(used)), replace=False))
            adam.zero_grad()
            model.loss(batch, rng.random(batch.index.shape) < 0.5).backward()
            adam.step()
            if step % _CHECK_STEPS:
                continue
            loss, waited = model.mean_loss(held), waited + 1
            if loss < lowest:
                best, lowest, waited = model.copy(), loss, 0
            if waited >= self.patience:
                break
        model.restore(best)


class _Model:
    """Encoder, temperature and spatial width as torch parameters, and the reconstruction that they give."""

    def __init__(self, torch: Any, guide: Float32Array, values: Float32Array, width: int) -> None:
        self.torch = torch
        self._device = pick_device(torch)
        self._encoder = torch.nn.Sequential(
            torch.nn.Linear(guide.shape[1], width), torch.nn.ReLU(), torch.nn.Linear(width, width)
        ).to(self._device)
        # t = 1 and a width half way between the bounds
        self._log_temperature = torch.zeros((), device=self._device, requires_grad=True)
        self._spatial = torch.zeros((), device=self._device, requires_grad=True)
        self.parameters = [*self._encoder.parameters(), self._log_temperature, self._spatial]
        self._guide = torch.from_numpy(guide).to(self._device)
        self._values = torch.from_numpy(values).to(self._device)

    def loss(self, hidden: HiddenPatches, is_open: BoolArray) -> Any:
        """Give the mean of 1 - cosine plus the mean squared error of hidden patches.

        Args:
            hidden: the patches.
            is_open: bool (b, s), neighbours that may be seen; where none is known, all known ones are.
        """
        torch = self.torch
        seen = hidden.is_known & is_open
        seen = np.where(seen.any(axis=1, keepdims=True), seen, hidden.is_known)
        index = self._put(hidden.index.astype(np.int64))
        patch = self._put(hidden.patch.astype(np.int64))
        # neighbours are shared: each guide is encoded once
        needed, place = torch.unique(torch.cat([patch[:, None], index], dim=1), return_inverse=True)
        codes = torch.nn.functional.normalize(self._encoder(self._guide[needed]), dim=1)[place]
        exponent = self._log_temperature.exp() * torch.einsum("be,bse->bs", codes[:, 0], codes[:, 1:])
        exponent = exponent - 0.5 * self._put((hidden.offset**2).sum(axis=2)) / self._spatial_sigma() ** 2
        weight = torch.softmax(exponent.masked_fill(~self._put(seen), -torch.inf), dim=1)
        found, truth = torch.einsum("bs,bsd->bd", weight, self._values[index]), self._values[patch]
        cosine = torch.nn.functional.cosine_similarity(found, truth, dim=1)
        return ((1.0 - cosine) + ((found - truth) ** 2).mean(dim=1)).mean()

    def mean_loss(self, hidden: HiddenPatches) -> float:
        """Give the mean loss with all neighbours, in batches that fit any memory."""
        total = 0.0
        with self.torch.no_grad():
            for units in np.array_split(np.arange(len(hidden)), max(1, len(hidden) // 256)):
                part = hidden.take(units)
                total += len(part) * float(self.loss(part, part.is_known))
        return total / len(hidden)

    def copy(self) -> list[Any]:
        """Copy the parameters."""
        return [parameter.detach().clone() for parameter in self.parameters]

    def restore(self, copied: list[Any]) -> None:
        """Set the parameters to a copy."""
        with self.torch.no_grad():
            for parameter, value in zip(self.parameters, copied, strict=True):
                parameter.copy_(value)

    def export(self) -> tuple[list[Float32Array], float, float]:
        """Give matrices (in, out) and offsets of the encoder, temperature and spatial width in pitches."""
        sigma = float(self._spatial_sigma().detach())
        return export_layers(self._encoder), float(self._log_temperature.exp().detach()), sigma

    def _put(self, array: npt.NDArray[Any]) -> Any:
        return self.torch.from_numpy(array).to(self._device)

    def _spatial_sigma(self) -> Any:
        low, high = SPATIAL_SIGMAS
        return low + (high - low) * self.torch.sigmoid(self._spatial)
