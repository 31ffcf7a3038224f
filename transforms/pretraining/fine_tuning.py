"""Supervised training of adapter and classifier on a label budget, and what they predict.

Belongs here: label draws, fine-tuning of the convolutional head, prediction of chips. Does not: pre-training
(`contrastive.py`), the linear head's convex problem (`linear_head.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from transforms.errors import TooFewUnitsError
from transforms.pretraining.chips import BoolArray, Float32Array, Int64Array, TrainingGround
from transforms.pretraining.head import (
    MARGIN,
    HeadName,
    Weights,
    adapter_session,
    build_adapter,
    export_weights,
    load_weights,
    pad_chips,
)
from transforms.pretraining.linear_head import fit_affine
from transforms.upsampling.torch_training import pick_device

#: Chips predicted at once; bounds memory.
_CHIPS_AT_ONCE = 8


@dataclass(frozen=True)
class FineTuningOptions:
    """How a head is trained on labels.

    Attributes:
        steps: steps of AdamW at most.
        batch: labelled pixels a step.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        check_every: steps between looks at the held-out loss.
        patience: looks without a better held-out loss before training stops.
        held_share: share of the blocks with labels that is held out for this, at least one.
        channel_dropout: chance that a labelled pixel and what is around it lose a channel, in each step.
        c: inverse regularisation of the linear head, as in scikit-learn's `LogisticRegression`.
    """

    steps: int = 300
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    check_every: int = 10
    patience: int = 20
    held_share: float = 0.2
    channel_dropout: float = 0.2
    c: float = 0.1


@dataclass(frozen=True)
class LabelDraw:
    """Labelled training pixels, in the order in which budgets take them.

    Attributes:
        chip: int64 (n,), position among the chips of the ground.
        row: int64 (n,).
        col: int64 (n,).
        label: int64 (n,), class ids.
    """

    chip: Int64Array
    row: Int64Array
    col: Int64Array
    label: Int64Array

    def __len__(self) -> int:
        return len(self.label)

    def take(self, budget_pct: float) -> LabelDraw:
        """Give the first per cent of the draw, rounded up and at least two: budgets are nested."""
        count = max(2, math.ceil(len(self) * budget_pct / 100))
        return LabelDraw(self.chip[:count], self.row[:count], self.col[:count], self.label[:count])


@dataclass(frozen=True)
class FittedHead:
    """A trained adapter with its classifier.

    Attributes:
        head: which network.
        width: of the adapter; without meaning for `linear`.
        weights: of adapter and classifier; for `linear` one affine map, (k, d) and (k,).
    """

    head: HeadName
    width: int
    weights: Weights

    def adapter(self) -> Weights:
        """Give the weights of the adapter alone, to start another training from; a `linear` head has none."""
        return self.weights[:-2]


def draw_labels(
    ground: TrainingGround, labels: npt.NDArray[np.int16], max_labels: int, rng: np.random.Generator
) -> LabelDraw:
    """Draw labelled training pixels uniformly: the pool of which budgets are shares.

    Args:
        ground: what may be seen.
        labels: int16 (t, h, w), of the chips of `ground`; -1 = none.
        max_labels: size of the pool, or all there are.
        rng: draws.

    Returns:
        The draw.

    Raises:
        TooFewUnitsError: fewer than two labelled pixels, or one class only.
    """
    found = np.argwhere(ground.may_train & (labels >= 0))
    found = found[rng.permutation(len(found))[:max_labels]]
    drawn = labels[tuple(found.T)].astype(np.int64)
    if len(np.unique(drawn)) < 2:
        raise TooFewUnitsError(
            "labels of the training ground",
            f"{len(drawn)} pixels of {len(np.unique(drawn))} classes",
            "two classes",
            "Join shards to larger regions (adapter.regions).",
        )
    chip, row, col = found.T
    return LabelDraw(chip, row, col, drawn)


def fine_tune(
    ground: TrainingGround,
    draw: LabelDraw,
    head: HeadName,
    width: int,
    n_classes: int,
    options: FineTuningOptions,
    seed: int,
    start: Weights | None = None,
) -> FittedHead:
    """Train adapter and classifier together on labelled pixels.

    `conv`: AdamW on the cross-entropy. A share of the blocks with labels is held out; the weights with the lowest
    loss there are kept. With all labels in one block nothing is held out, and all steps are taken. `linear`: the
    penalised optimum of one affine map (`fit_affine`), whatever the start.

    Args:
        ground: what may be seen.
        draw: the labels.
        head: which network.
        width: of the adapter.
        n_classes: k.
        options: of training.
        seed: of the classifier, of an adapter without `start`, of held-out blocks and the order of pixels.
        start: weights of the adapter, or None for random ones.

    Returns:
        The head.

    Raises:
        MissingTorchError: torch is not installed.
        TooFewUnitsError: the draw is of one class.
    """
    if len(np.unique(draw.label)) < 2:
        raise TooFewUnitsError(
            "labels of a budget", f"{len(draw)} of one class", "two classes", "Raise adapter.budgets or max_labels."
        )
    fields = _cut_fields(ground, draw, MARGIN[head])
    rng = np.random.default_rng([seed, 2])
    with adapter_session(seed) as torch:
        network = _build_network(torch, head, ground.seen.shape[1], width, n_classes)
        if start is not None:
            load_weights(torch, network, start)
        if head == "linear":
            factors = export_weights(network)
            return FittedHead(head, width, fit_affine(fields[:, :, 0, 0], draw.label, n_classes, options.c, factors))
        is_held = _hold_out(draw.chip, options.held_share, rng)
        return FittedHead(head, width, _train(torch, network, fields, draw.label, is_held, options, rng))


def predict_chips(fitted: FittedHead, chips: Float32Array) -> npt.NDArray[np.int16]:
    """Predict every pixel of standardised chips.

    Args:
        fitted: a trained head.
        chips: float32 (n, d, h, w), standardised as the training ground was.

    Returns:
        int16 (n, h, w), class ids.
    """
    if fitted.head == "linear":
        matrix, offset = fitted.weights
        scores = np.einsum("kd,ndhw->nkhw", matrix, chips, optimize=True) + offset[:, None, None]
        return np.asarray(scores.argmax(axis=1), np.int16)
    padded = pad_chips(chips, MARGIN[fitted.head])
    parts = [np.empty((0, *chips.shape[2:]), np.int16)]
    with adapter_session(0) as torch, torch.no_grad():
        device = pick_device(torch)
        network = _build_network(torch, fitted.head, chips.shape[1], fitted.width, len(fitted.weights[-1]))
        load_weights(torch, network, fitted.weights)
        network = network.to(device)
        for begin in range(0, len(chips), _CHIPS_AT_ONCE):
            scores = network(torch.from_numpy(padded[begin : begin + _CHIPS_AT_ONCE]).to(device))
            parts.append(scores.argmax(dim=1).cpu().numpy().astype(np.int16))
    return np.concatenate(parts)


def _build_network(torch: Any, head: HeadName, dims: int, width: int, n_classes: int) -> Any:
    """Put a classifier behind an adapter."""
    adapter = build_adapter(torch, head, dims, width)
    return torch.nn.Sequential(*adapter, torch.nn.Conv2d(width, n_classes, 1))


def _cut_fields(ground: TrainingGround, draw: LabelDraw, margin: int) -> Float32Array:
    """Cut out what the head looks at around each labelled pixel: float32 (n, d, 2 m + 1, 2 m + 1)."""
    size = 2 * margin + 1
    around = sliding_window_view(pad_chips(ground.seen, margin), (size, size), axis=(2, 3))
    return np.ascontiguousarray(around[draw.chip, :, draw.row, draw.col], np.float32)


def _hold_out(block: Int64Array, share: float, rng: np.random.Generator) -> BoolArray:
    """Hold out whole blocks: about a share of them, at least one and never all; none where there is one block."""
    blocks = np.unique(block)
    count = min(max(1, round(share * len(blocks))), len(blocks) - 1)
    return np.isin(block, rng.permutation(blocks)[:count])


def _train(
    torch: Any,
    network: Any,
    fields: Float32Array,
    labels: Int64Array,
    is_held: BoolArray,
    options: FineTuningOptions,
    rng: np.random.Generator,
) -> Weights:
    """Minimise the cross-entropy; give the weights that were best on held-out pixels, or the last without any."""
    device = pick_device(torch)
    network = network.to(device)
    adam = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    pixels, truth = torch.from_numpy(fields).to(device), torch.from_numpy(labels).to(device)
    held, used = np.flatnonzero(is_held), np.flatnonzero(~is_held)

    nn = torch.nn.functional

    def loss_of(part: Int64Array, dropout: float = 0.0) -> Any:
        chosen = torch.from_numpy(part).to(device)
        seen = nn.dropout2d(pixels[chosen], dropout)
        return nn.cross_entropy(network(seen)[:, :, 0, 0], truth[chosen])

    lowest, waited, best = np.inf, 0, export_weights(network)
    queue = np.empty(0, np.int64)
    for step in range(1, options.steps + 1):
        if not len(queue):
            queue = rng.permutation(used)
        part, queue = queue[: options.batch], queue[options.batch :]
        adam.zero_grad()
        loss_of(part, options.channel_dropout).backward()
        adam.step()
        if not len(held) or step % options.check_every:
            continue
        with torch.no_grad():
            loss = float(loss_of(held))
        waited += 1
        if loss < lowest:
            lowest, waited, best = loss, 0, export_weights(network)
        if waited >= options.patience:
            break
    return best if len(held) else export_weights(network)
