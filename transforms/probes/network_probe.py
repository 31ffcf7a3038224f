"""What probes that are small networks share: targets, training, the number of epochs.

Belongs here: `NetworkProbe`, what the outputs of a network mean (`Head`). Does not: layers (`mlp.py`, `conv_head.py`),
use of torch (`transforms/upsampling/torch_training.py`).

A network is trained with torch and read with numpy: its forward pass is written with operators that both have.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from transforms.probes.base import (
    BaseProbe,
    FloatArray,
    IntArray,
    Reads,
    Target,
    TargetArray,
    list_seen_classes,
)
from transforms.probes.inner_cv import deal_groups
from transforms.probes.scaling import Standardisation
from transforms.upsampling.torch_training import pick_device, torch_on_one_thread

Layers = list[FloatArray]

#: Inner folds, of which one is held out to find the number of epochs.
_N_HOLD_OUT = 5
#: Steps of a pass and rows of a step that small training sets are given.
_LEAST_STEPS, _LEAST_ROWS = 16, 16
#: Rows predicted at once; bounds memory.
_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class TrainingRules:
    """How networks are trained.

    Attributes:
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        batch: rows a step, at most; fewer where that would give fewer than 16 steps, but no fewer than 16.
        max_epochs: passes over the rows, at most.
        patience: passes without a better held-out loss before the search for the number of epochs ends.
        default_epochs: passes where nothing can be held out.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch: int = 256
    max_epochs: int = 200
    patience: int = 10
    default_epochs: int = 50


@dataclass(frozen=True)
class Head:
    """What the outputs of a network mean.

    Attributes:
        target: class: logits of a softmax; multilabel: logits; continuous: standardised values.
        fitted: int64 (s,), which outputs the network has: classes in training, labels that vary, all values.
        answer: float32 (k,), the answer for the outputs that it has not; for values, their mean.
        spread: float32 (k,), standard deviation of values.
    """

    target: Target
    fitted: IntArray
    answer: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, y: TargetArray, target: Target, n_outputs: int) -> Head:
        """Look at training targets."""
        zero = np.zeros(n_outputs, np.float32)
        if target == "class":
            return cls(target, list_seen_classes(y), zero, zero)
        share = y.mean(axis=0, dtype=np.float64).astype(np.float32)
        if target == "multilabel":
            varies = y.any(axis=0) & ~y.all(axis=0)
            return cls(target, np.flatnonzero(varies), np.where(varies, 0, share).astype(np.float32), zero)
        scale = Standardisation.fit(y).scale
        varies = scale > 0
        spread = np.divide(1, scale, out=np.zeros_like(scale), where=varies)
        return cls(target, np.flatnonzero(varies), share, spread)

    def encode(self, y: TargetArray) -> npt.NDArray[Any]:
        """Give what the loss takes: int64 (n,) positions in `fitted`, or float32 (n, s)."""
        if self.target == "class":
            return np.searchsorted(self.fitted, y)
        wanted = y[:, self.fitted].astype(np.float32)
        if self.target == "multilabel":
            return wanted
        return (wanted - self.answer[self.fitted]) / self.spread[self.fitted]

    def loss(self, torch: Any, outputs: Any, wanted: Any) -> Any:
        """Give the mean loss: cross-entropy, binary cross-entropy or squared error."""
        if self.target == "class":
            return torch.nn.functional.cross_entropy(outputs, wanted)
        if self.target == "multilabel":
            return torch.nn.functional.binary_cross_entropy_with_logits(outputs, wanted)
        return torch.nn.functional.mse_loss(outputs, wanted)

    def decode(self, outputs: FloatArray) -> FloatArray:
        """Give probabilities or values, float32 (n, k)."""
        found = np.tile(self.answer, (len(outputs), 1))
        if self.target == "class":
            found[:, self.fitted] = softmax(outputs, axis=1)
        elif self.target == "multilabel":
            found[:, self.fitted] = expit(outputs)
        else:
            found[:, self.fitted] += outputs * self.spread[self.fitted]
        return found


class NetworkProbe(BaseProbe):
    """A network on standardised features, AdamW.

    The number of epochs is picked on whole groups: a fifth of the rows is held out, and the epoch with the lowest loss
    there is taken; then the network is trained anew on all rows for as many epochs. So no row is lost, and a class
    with one example is trained on. Where too few rows are there to hold any out, `rules.default_epochs` is taken, and
    `hp_` says so. Initial weights, order of rows and dropout come from the seed and touch no global generator: the
    same result on one device, in any thread.

    Subclasses give `_prepare`, `_start` and `_forward`.

    Args:
        n_outputs: k classes, k labels or m values.
        target: what is predicted.
        hidden: width of the hidden layer.
        dropout: share of hidden values that a step of training leaves out.
        rules: how it is trained.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        n_outputs: int,
        target: Target = "class",
        *,
        hidden: int = 256,
        dropout: float = 0.2,
        rules: TrainingRules | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(n_outputs, target, seed=seed)
        self.hidden = hidden
        self.dropout = dropout
        self.rules = rules or TrainingRules()

    @abstractmethod
    def _prepare(self, X: FloatArray) -> FloatArray:
        """Standardise rows with `self._scaling`, and bring them into the form that the network takes."""

    @abstractmethod
    def _start(self, row_shape: tuple[int, ...], n_outputs: int, rng: np.random.Generator) -> Layers:
        """Draw initial weights for prepared rows of a shape."""

    @abstractmethod
    def _forward(self, layers: Any, X: Any, keep: Any = None) -> Any:
        """Give outputs (n, s) at prepared rows, numpy or torch; `keep` (n, hidden) multiplies hidden values."""

    def _fit(self, X: FloatArray, y: TargetArray, groups: IntArray | None) -> None:
        self._scaling = Standardisation.fit(_list_vectors(X, self.reads))
        self._head = Head.of(y, self.target, self.n_outputs)
        self._layers: Layers = []
        self.hp_ = {"hidden": self.hidden, "epochs": 0, "picked": "fixed"}
        if not len(self._head.fitted):
            return
        with torch_on_one_thread(f"probe {self.name}") as torch:
            session = _Session(torch, self, self._prepare(X), self._head.encode(y))
            held_out = self._hold_out(y, groups)
            n_epochs, self.converged_ = self.rules.default_epochs, True
            if held_out is not None:
                n_epochs, self.converged_ = session.find_epochs(*held_out)
            self._layers = session.train(n_epochs)
        self.hp_ |= {"epochs": n_epochs, "picked": "default" if held_out is None else "inner_validation"}
        self.n_parameters_ = sum(layer.size for layer in self._layers)

    def _outputs(self, X: FloatArray) -> FloatArray:
        if not self._layers:
            return np.tile(self._head.answer, (len(X), 1))
        parts = [X[start : start + _ROWS_AT_ONCE] for start in range(0, len(X), _ROWS_AT_ONCE)]
        return np.concatenate([self._head.decode(self._forward(self._layers, self._prepare(part))) for part in parts])

    def _hold_out(self, y: TargetArray, groups: IntArray | None) -> tuple[IntArray, IntArray] | None:
        """Give the rows that train and that judge the number of epochs; None where none can be spared."""
        fold = None if groups is None else deal_groups(y, groups, self.target, _N_HOLD_OUT, self.seed)
        if fold is None:
            return None
        used, judged = np.flatnonzero(fold != 0), np.flatnonzero(fold == 0)
        if self.target == "class":
            # the loss of a class that is held out as a whole only rises
            judged = judged[np.isin(y[judged], y[used])]
        return (used, judged) if len(judged) else None


class _Session:
    """One training set on its device."""

    def __init__(self, torch: Any, probe: NetworkProbe, X: FloatArray, wanted: npt.NDArray[Any]) -> None:
        self._torch = torch
        self._probe = probe
        self._device = pick_device(torch)
        self._row_shape = X.shape[1:]
        self._X = self._put(X)
        self._wanted = self._put(wanted)

    def find_epochs(self, used: IntArray, judged: IntArray) -> tuple[int, bool]:
        """Train on rows; give the epoch with the lowest loss on others, and whether the search ended by itself."""
        rules = self._probe.rules
        lowest, best = np.inf, 1
        rows = self._put(judged)
        for epoch, layers in enumerate(islice(self._epochs(used), rules.max_epochs), start=1):
            with self._torch.no_grad():
                loss = float(self._loss(layers, rows, None))
            if loss < lowest:
                lowest, best = loss, epoch
            if epoch - best >= rules.patience:
                return best, True
        return best, False

    def train(self, n_epochs: int) -> Layers:
        """Train on all rows; give the layers."""
        layers = next(islice(self._epochs(np.arange(len(self._X))), n_epochs - 1, None))
        return [np.array(layer.detach().cpu().numpy(), np.float32) for layer in layers]

    def _epochs(self, used: IntArray) -> Iterator[list[Any]]:
        """Train from the start; yield the layers after each pass over the rows, without end."""
        probe, rules = self._probe, self._probe.rules
        rng = np.random.default_rng(probe.seed)
        start = probe._start(self._row_shape, len(probe._head.fitted), rng)
        layers = [self._put(layer).requires_grad_() for layer in start]
        adam = self._torch.optim.AdamW(layers, lr=rules.learning_rate, weight_decay=rules.weight_decay)
        batch = int(np.clip(len(used) // _LEAST_STEPS, _LEAST_ROWS, rules.batch))
        while True:
            shuffled = rng.permutation(used)
            for first in range(0, len(shuffled), batch):
                part = shuffled[first : first + batch]
                is_kept = rng.random((len(part), probe.hidden), np.float32) >= probe.dropout
                keep = self._put(is_kept / np.float32(1 - probe.dropout))
                adam.zero_grad()
                self._loss(layers, self._put(part), keep).backward()
                adam.step()
            yield layers

    def _loss(self, layers: list[Any], rows: Any, keep: Any) -> Any:
        outputs = self._probe._forward(layers, self._X[rows], keep)
        return self._probe._head.loss(self._torch, outputs, self._wanted[rows])

    def _put(self, array: npt.NDArray[Any]) -> Any:
        return self._torch.from_numpy(array).to(self._device)


def draw_layer(shape: tuple[int, int], rng: np.random.Generator) -> Layers:
    """Draw the matrix (in, out) and the offsets (out,) of a layer, uniform within ``1 / sqrt(in)`` as torch has it."""
    bound = 1 / np.sqrt(shape[0])
    return [rng.uniform(-bound, bound, size).astype(np.float32) for size in (shape, shape[1:])]


def _list_vectors(X: FloatArray, reads: Reads) -> FloatArray:
    """Give the vectors of rows that are not missing, float32 (m, d)."""
    if reads == "vector":
        return X
    vectors = X.reshape(-1, X.shape[-1])
    return vectors[~np.isnan(vectors).any(axis=1)]
