"""Contrastive pre-training of the adapter: the same ground in two views is pulled together, far ground pushed apart.

Belongs here: InfoNCE and the loop that minimises it. Does not: views (`views.py`), labels: none is seen here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from transforms.errors import TooFewUnitsError
from transforms.pretraining.chips import BoolArray, Float64Array, Int64Array, TrainingGround
from transforms.pretraining.head import MARGIN, HeadName, Weights, adapter_session, build_adapter, export_weights
from transforms.pretraining.views import ViewOptions, Views, draw_views
from transforms.upsampling.torch_training import pick_device


@dataclass(frozen=True)
class ContrastiveOptions:
    """How an adapter is pre-trained.

    Attributes:
        steps: steps of AdamW.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        temperature: tau of InfoNCE.
        min_negative_m: nearer places are neither positive nor negative; a patch is 320 m.
        views: how views are drawn.
    """

    steps: int = 200
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    temperature: float = 0.1
    min_negative_m: float = 320.0
    views: ViewOptions = field(default_factory=ViewOptions)


def info_nce(torch: Any, first: Any, second: Any, positive: Any, is_ignored: Any, temperature: float) -> Any:
    """InfoNCE over two views, in both directions (van den Oord et al. 2018, arXiv 1807.03748, eq. 4; cosine).

    ``mean over i of -log(exp(s(i, q(i)) / tau) / sum over j of exp(s(i, j) / tau))`` with cosine s; j runs over q(i)
    and the places that are not ignored. The other direction is the same with views exchanged; the mean of both.

    Args:
        torch: the module.
        first: float tensor (p, width), the places in view 1.
        second: float tensor (p, width), the places in view 2.
        positive: int64 tensor (p,), a permutation q: the row of `second` that is row i's positive.
        is_ignored: bool tensor (p, p), pairs that are no negatives; symmetric. A positive always counts.
        temperature: tau.

    Returns:
        Scalar tensor.
    """
    nn = torch.nn.functional
    rows = torch.arange(len(positive), device=positive.device)
    is_masked = is_ignored.clone()
    is_masked[rows, positive] = False
    scores = nn.normalize(first, dim=1) @ nn.normalize(second, dim=1).T / temperature
    scores = scores.masked_fill(is_masked, float("-inf"))
    back = torch.empty_like(positive)
    back[positive] = rows
    return (nn.cross_entropy(scores, positive) + nn.cross_entropy(scores.T, back)) / 2


def near_pairs(ground_m: Float64Array, min_negative_m: float) -> BoolArray:
    """Tell which pairs of places are too near to be negatives, bool (p, p): at most `min_negative_m` apart."""
    return np.asarray(cdist(ground_m, ground_m) <= min_negative_m)


def pretrain(
    ground: TrainingGround,
    ground_m: Float64Array,
    head: HeadName,
    width: int,
    options: ContrastiveOptions,
    seed: int,
    *,
    is_shuffled: bool = False,
) -> Weights:
    """Pre-train an adapter without labels.

    Args:
        ground: what may be seen.
        ground_m: float64 (t, h, w, 3), pixel centres of the chips of `ground`.
        head: which network.
        width: of the adapter.
        options: of the loss and its minimisation.
        seed: of initial weights and views.
        is_shuffled: pair each place with another one of the step: the negative control, at the same compute.

    Returns:
        The adapter's weights.

    Raises:
        MissingTorchError: torch is not installed.
        TooFewUnitsError: no two places of a step are far enough apart.
    """
    rng = np.random.default_rng([seed, 1])
    with adapter_session(seed) as torch:
        device = pick_device(torch)
        adapter = build_adapter(torch, head, ground.seen.shape[1], width).to(device)
        adam = torch.optim.AdamW(adapter.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
        for _ in range(options.steps):
            views = draw_views(ground, ground_m, options.views, MARGIN[head], rng)
            is_near = near_pairs(views.ground_m, options.min_negative_m)
            _check_negatives(is_near, options.min_negative_m)
            pairing = rng.permutation(len(is_near)) if is_shuffled else np.arange(len(is_near))
            adam.zero_grad()
            _loss(torch, adapter, views, pairing, is_near, options.temperature, device).backward()
            adam.step()
        return export_weights(adapter)


def _loss(
    torch: Any,
    adapter: Any,
    views: Views,
    pairing: Int64Array,
    is_near: npt.NDArray[np.bool_],
    temperature: float,
    device: str,
) -> Any:
    def embed(crops: npt.NDArray[np.float32], at: Int64Array) -> Any:
        crop, row, col = torch.from_numpy(at.T.copy()).to(device)
        return adapter(torch.from_numpy(crops).to(device))[crop, :, row, col]

    return info_nce(
        torch,
        embed(views.first, views.at_first),
        embed(views.second, views.at_second),
        torch.from_numpy(pairing).to(device),
        torch.from_numpy(is_near).to(device),
        temperature,
    )


def _check_negatives(is_near: BoolArray, min_negative_m: float) -> None:
    if is_near.all():
        raise TooFewUnitsError(
            "places of a step that are far apart",
            f"none beyond {min_negative_m:g} m",
            "at least one pair",
            "Join shards to larger regions (adapter.regions), or enlarge the area.",
        )
