"""C6: one label source against another on the same cells.

Belongs here: matching classes by name, confusions among the shared ones, the share of ground that has no counterpart.
Does not: counting cells (`tally.py`). Where two sources disagree, one of them at least is wrong, so their agreement is
what a score against either can be held to. mIoU, F1, kappa and accuracy are the same whichever is called the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import ShapeError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class UnsharedClass:
    """A class that only one of two sources has.

    Attributes:
        name: of the class.
        is_own: True where the source that is scored has it, False where the other one has.
        share: of the cells that both sources label; NaN without such cells.
    """

    name: str
    is_own: bool
    share: float


@dataclass(frozen=True)
class Agreement:
    """Two label sources on the same cells.

    Attributes:
        confusions: int64 (b, k, k) in the class ids of the scored source, rows its classes, columns those of the other
            source; zero where a class is not shared.
        shared: names that both have, in the order of the scored source.
        unshared: classes that one of them has, those of the scored source first.
    """

    confusions: IntArray
    shared: tuple[str, ...]
    unshared: tuple[UnsharedClass, ...]


def compare_sources(pairs: IntArray, own: Sequence[str], other: Sequence[str]) -> Agreement:
    """Match the classes of two sources by name and keep the cells on which both say a shared one.

    Args:
        pairs: int64 (b, k, m), cells of each block by the class of the scored source and of the other one.
        own: the k class names of the scored source.
        other: the m class names of the other source.

    Returns:
        The agreement.

    Raises:
        ShapeError: names do not match the counts.
    """
    if pairs.ndim != 3 or pairs.shape[1:] != (len(own), len(other)):
        raise ShapeError("pairs of classes", pairs.shape, f"(b, {len(own)}, {len(other)})", "Give a name per class.")
    shared = [name for name in own if name in set(other)]
    mine = np.array([list(own).index(name) for name in shared], np.int64)
    theirs = np.array([list(other).index(name) for name in shared], np.int64)
    confusions = np.zeros((len(pairs), len(own), len(own)), np.int64)
    if len(shared):
        confusions[:, mine[:, None], mine] = pairs[:, mine[:, None], theirs]
    total = pairs.sum(axis=0)
    n = float(total.sum()) or float("nan")
    unshared = [
        UnsharedClass(name, True, float(total[i].sum() / n)) for i, name in enumerate(own) if name not in shared
    ]
    unshared += [
        UnsharedClass(name, False, float(total[:, j].sum() / n)) for j, name in enumerate(other) if name not in shared
    ]
    return Agreement(confusions, tuple(shared), tuple(unshared))
