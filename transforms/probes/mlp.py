"""Multilayer perceptron: one hidden layer.

Belongs here: this probe's layers. Does not: its training (`network_probe.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.probes.network_probe import FloatArray, Layers, NetworkProbe, draw_layer


class MlpProbe(NetworkProbe):
    """Linear to 256, ReLU, dropout of 0.2, linear to the outputs; see `NetworkProbe` for its training."""

    name = "mlp"

    def _prepare(self, X: FloatArray) -> FloatArray:
        return self._scaling.apply(X)

    def _start(self, row_shape: tuple[int, ...], n_outputs: int, rng: np.random.Generator) -> Layers:
        return [*draw_layer((row_shape[0], self.hidden), rng), *draw_layer((self.hidden, n_outputs), rng)]

    def _forward(self, layers: Any, X: Any, keep: Any = None) -> Any:
        first, first_offset, second, second_offset = layers
        hidden = X @ first + first_offset
        hidden = hidden * (hidden > 0)
        if keep is not None:
            hidden = hidden * keep
        return hidden @ second + second_offset
