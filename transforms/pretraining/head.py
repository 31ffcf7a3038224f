"""The adapter: a small trainable network on frozen embeddings, convolutional or linear.

Belongs here: the networks, their weights as arrays, running them over chips. Does not: losses and training
(`contrastive.py`, `fine_tuning.py`).

`conv` is a 1x1 convolution, ReLU, a 3x3 convolution, ReLU, a 3x3 convolution. `linear` is one 1x1 convolution: with
the classifier behind it still one affine map, a sanity arm that pre-training cannot help.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from transforms.upsampling.torch_training import torch_on_one_thread

Float32Array = npt.NDArray[np.float32]
HeadName = Literal["conv", "linear"]
#: Parameters of a network in its own order.
Weights = tuple[Float32Array, ...]

#: How far an output looks beyond its own pixel, pixels: two 3x3 convolutions without padding.
MARGIN: dict[HeadName, int] = {"conv": 2, "linear": 0}


@contextmanager
def adapter_session(seed: int) -> Iterator[Any]:
    """Give torch, seeded and on one thread, with those cuDNN kernels only that give the same bits each time.

    Args:
        seed: of initial weights and dropped channels.

    Yields:
        The module `torch`; its generator and settings are put back afterwards.

    Raises:
        MissingTorchError: torch is not installed.
    """
    with (
        torch_on_one_thread("adapter") as torch,
        torch.random.fork_rng(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        yield torch


def build_adapter(torch: Any, head: HeadName, dims: int, width: int) -> Any:
    """Make an adapter with weights drawn from torch's generator.

    Args:
        torch: the module.
        head: which network.
        dims: width of the embeddings.
        width: width of the result, and of every layer between.

    Returns:
        A torch module: float32 (n, dims, h, w) to (n, width, h - 2 m, w - 2 m), m = `MARGIN[head]`.
    """
    nn = torch.nn
    if head == "linear":
        return nn.Sequential(nn.Conv2d(dims, width, 1))
    return nn.Sequential(
        nn.Conv2d(dims, width, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3),
        nn.ReLU(),
        nn.Conv2d(width, width, 3),
    )


def export_weights(network: Any) -> Weights:
    """Copy the parameters of a network."""
    return tuple(np.array(parameter.detach().cpu().numpy(), np.float32) for parameter in network.parameters())


def load_weights(torch: Any, network: Any, weights: Weights) -> None:
    """Set the first parameters of a network; those that `weights` does not reach keep theirs."""
    with torch.no_grad():
        for parameter, values in zip(network.parameters(), weights, strict=False):
            parameter.copy_(torch.from_numpy(values))


def count_weights(head: HeadName, dims: int, width: int, n_classes: int) -> int:
    """Count the trained numbers of a head with its classifier.

    The factors of `linear` are multiplied before they are trained, so it has those of one affine map.
    """
    if head == "linear":
        return (dims + 1) * n_classes
    return (dims + 1) * width + 2 * (9 * width + 1) * width + (width + 1) * n_classes


def pad_chips(values: Float32Array, margin: int) -> Float32Array:
    """Put a border of zeros (the mean, in standard units) around chips, (n, d, h, w) to (n, d, h + 2 m, w + 2 m)."""
    return np.pad(values, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
