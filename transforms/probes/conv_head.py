"""Small convolutional head on a patch and its eight neighbours: does context help to classify a patch?

Belongs here: this probe's layers. Does not: its training (`network_probe.py`), finding neighbours, the upsampling
operator of that name (`transforms/upsampling/conv_head.py`), which reads patches around a pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.probes.base import Target
from transforms.probes.network_probe import FloatArray, Layers, NetworkProbe, TrainingRules, draw_layer


class ConvHeadProbe(NetworkProbe):
    """A 1x1 projection of each vector to 32, a 3x3 convolution to 64, ReLU, dropout of 0.2, linear to the outputs.

    Rows are neighbourhoods (3, 3, d) with the patch itself in the middle. A neighbour with NaN is missing: it is
    masked, that is, it adds nothing to the convolution, neither vector nor offset. Features are standardised by all
    vectors of the training neighbourhoods.

    Args:
        n_outputs: k classes, k labels or m values.
        target: what is predicted.
        projected: width after the projection.
        hidden: width after the convolution.
        dropout: share of hidden values that a step of training leaves out.
        rules: how it is trained.
        seed: of everything that is drawn.
    """

    name = "conv_head"
    reads = "neighbourhood"

    def __init__(
        self,
        n_outputs: int,
        target: Target = "class",
        *,
        projected: int = 32,
        hidden: int = 64,
        dropout: float = 0.2,
        rules: TrainingRules | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(n_outputs, target, hidden=hidden, dropout=dropout, rules=rules, seed=seed)
        self.projected = projected

    def _prepare(self, X: FloatArray) -> FloatArray:
        """Give float32 (n, 9, d + 1): standardised vectors and a 1 for the offset; zeros where one is missing."""
        vectors = X.reshape(len(X), 9, X.shape[-1])
        is_missing = np.isnan(vectors).any(axis=2)
        prepared = np.ones((*vectors.shape[:2], vectors.shape[2] + 1), np.float32)
        prepared[..., :-1] = self._scaling.apply(vectors)
        prepared[is_missing] = 0
        return prepared

    def _start(self, row_shape: tuple[int, ...], n_outputs: int, rng: np.random.Generator) -> Layers:
        n_places, width = row_shape
        projection, offset = draw_layer((width - 1, self.projected), rng)
        return [
            np.vstack([projection, offset]),
            *draw_layer((n_places * self.projected, self.hidden), rng),
            *draw_layer((self.hidden, n_outputs), rng),
        ]

    def _forward(self, layers: Any, X: Any, keep: Any = None) -> Any:
        projection, kernel, kernel_offset, second, second_offset = layers
        projected = (X @ projection).reshape(len(X), -1)
        hidden = projected @ kernel + kernel_offset
        hidden = hidden * (hidden > 0)
        if keep is not None:
            hidden = hidden * keep
        return hidden @ second + second_offset
