"""How torch is used: by operators and probes only while they are trained, on one thread, from one seed.

Belongs here: import of the optional dependency, the session in which a network is trained, how its layers leave it.
Does not: networks and losses (the modules of operators and probes). What was fitted holds numpy arrays, so that
reading it needs no torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import IsthmusError

Float32Array = npt.NDArray[np.float32]


class MissingTorchError(IsthmusError):
    """Something needs torch, which is an optional dependency. Permanent."""

    def __init__(self, what: str, other_fix: str = "") -> None:
        super().__init__(
            f"{what}: found no torch, expected it to be installed. Run: pip install 'isthmus[torch]'{other_fix}."
        )


def import_torch(what: str, other_fix: str = "") -> Any:
    """Give the module `torch`.

    Args:
        what: needs it; named if torch is missing.
        other_fix: ends the message, after the command that installs torch.

    Raises:
        MissingTorchError: torch is not installed.
    """
    try:
        # Any: torch need not be there when types are checked
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise MissingTorchError(what, other_fix) from error


@contextmanager
def torch_on_one_thread(what: str) -> Iterator[Any]:
    """Give torch on one thread; the number of threads is put back afterwards.

    These networks are so small that threads cost more than they give, and sums by one thread are the same bits on any
    number of cores.

    Args:
        what: named if torch is missing.

    Yields:
        The module `torch`.

    Raises:
        MissingTorchError: torch is not installed.
    """
    torch = import_torch(what, ", or leave it out of the settings")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield torch
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def torch_session(operator: str, seed: int) -> Iterator[Any]:
    """Give torch, seeded and on one thread; generators and threads are put back afterwards.

    Torch has one generator for all threads of a process: two sessions at once would draw from each other.

    Args:
        operator: an upsampling operator, named if torch is missing.
        seed: of initial weights.

    Yields:
        The module `torch`.

    Raises:
        MissingTorchError: torch is not installed.
    """
    with torch_on_one_thread(f"upsampling operator {operator}") as torch, torch.random.fork_rng():
        torch.manual_seed(seed)
        yield torch


def pick_device(torch: Any) -> str:
    """Give the GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def export_layers(network: Any) -> list[Float32Array]:
    """Copy the linear layers of a network in order: matrices as (in, out), each followed by its offsets."""
    layers = [parameter.detach().cpu().numpy() for parameter in network.parameters()]
    return [np.array(layer.T, np.float32, order="C") for layer in layers]
