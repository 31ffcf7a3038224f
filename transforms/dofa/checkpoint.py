"""Published weights, matched by name and shape.

Belongs here: which names are read, which may be missing, which are dropped. Does not: opening files
(`warehouse/dofa_checkpoint.py`).

The checkpoints of the authors (`DOFA_ViT_base_e100.pth`) carry what pre-training needed and inference does not:
`mask_token`, `norm.*`, `projector.*`; those of torchgeo do not. Neither has `fc_norm.*` or `head.*`: they belong to a
task. Frozen features have no task, so `fc_norm` is the identity scale (weight 1, offset 0) and there is no head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.dofa.sizes import SIZES, DofaSize
from transforms.dofa.vit import weight_shapes
from transforms.dofa.weight_generator import Shapes
from transforms.errors import IsthmusError

#: Weights that are initialised where a checkpoint lacks them.
MAY_BE_MISSING = ("fc_norm.weight", "fc_norm.bias")
#: Weights that are not read: by name, or by the beginning of it.
DROPPED = ("mask_token", "norm.", "projector.", "head.")
_SHOWN = 8


class CheckpointError(IsthmusError):
    """Weights do not fit the model. Permanent; all that is wrong is listed."""

    def __init__(self, what: str, problems: Sequence[str], fix: str) -> None:
        super().__init__(f"{what}: " + "; ".join(problems) + f". {fix}")


@dataclass(frozen=True)
class MatchedWeights:
    """Weights of a checkpoint that fit the model.

    Attributes:
        weights: by published name: what the checkpoint has.
        initialised: names that it lacks; their values are in `initial`.
        dropped: names that it has and nothing reads.
        initial: float32 arrays by name: 1 for weights, 0 for offsets.
    """

    weights: Mapping[str, Any]
    initialised: tuple[str, ...]
    dropped: tuple[str, ...]
    initial: Mapping[str, np.ndarray]


def match_checkpoint(found: Mapping[str, Any], size: DofaSize, what: str) -> MatchedWeights:
    """Match the tensors of a checkpoint to the model by their names.

    Args:
        found: tensors or arrays by name; only their `shape` is looked at.
        size: of the model.
        what: names the checkpoint in errors.

    Returns:
        What the encoder reads, and what was initialised or dropped.

    Raises:
        CheckpointError: names are missing or unknown, shapes differ, or a value is no tensor; all at once.
    """
    expected = weight_shapes(size)
    dropped = tuple(name for name in found if _is_dropped(name))
    missing = [name for name in expected if name not in found and name not in MAY_BE_MISSING]
    unknown = [name for name in found if name not in expected and name not in dropped]
    shapes = {name: _shape_of(value) for name, value in found.items()}
    wrong = [
        f"'{name}': found {shapes[name] or 'no tensor'}, expected {expected[name]}"
        for name in expected
        if name in found and shapes[name] != expected[name]
    ]
    problems = [
        *([f"found no {_shorten(missing)}, expected all {len(expected) - len(MAY_BE_MISSING)}"] if missing else []),
        *([f"found {_shorten(unknown)}, which the model does not have"] if unknown else []),
        *([f"{len(wrong)} weights of another shape: {_shorten(wrong)}"] if wrong else []),
    ]
    if problems:
        raise CheckpointError(what, problems, _suggest(found, shapes, size))
    initialised = tuple(name for name in MAY_BE_MISSING if name not in found)
    weights = {name: found[name] for name in expected if name in found}
    initial = {name: np.full(expected[name], name.endswith("weight"), np.float32) for name in initialised}
    return MatchedWeights(weights, initialised, dropped, initial)


def _is_dropped(name: str) -> bool:
    return any(name == part or (part.endswith(".") and name.startswith(part)) for part in DROPPED)


def _shape_of(value: Any) -> tuple[int, ...] | None:
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(int(edge) for edge in shape)


def _shorten(names: Sequence[str]) -> str:
    """List the first names and count the rest."""
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _suggest(found: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...] | None], size: DofaSize) -> str:
    """Say what the checkpoint may be instead."""
    for other in SIZES.values():
        expected: Shapes = weight_shapes(other)
        needed = [name for name in expected if name not in MAY_BE_MISSING]
        if other != size and all(shapes.get(name) == expected[name] for name in needed):
            return f"This is DOFA {other.name}: choose --model {other.name}."
    inner = [name for name in ("model", "state_dict", "teacher") if isinstance(found.get(name), Mapping)]
    if inner:
        return f"The weights are inside '{inner[0]}': save that entry alone, or take the published file."
    return "Is this a DOFA v1 checkpoint of this size? DOFA v2, DINOv2 and weight generators alone are other models."
