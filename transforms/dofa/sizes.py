"""Sizes of DOFA that have published weights.

Belongs here: widths, depths and the geometry of the input. Does not: layers (`vit.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from transforms.errors import IsthmusError

#: Side of the input image and of a token's ground, pixels.
IMAGE_PX = 224
PATCH_PX = 16
#: Tokens of an image: 14 x 14. The convolution has stride 16 and padding 1, and still gives 14 a side.
TOKENS_A_SIDE = IMAGE_PX // PATCH_PX


@dataclass(frozen=True)
class DofaSize:
    """One size of the model.

    Attributes:
        name: as users say it.
        width: of tokens and of the result.
        depth: transformer blocks.
        n_heads: attention heads of a block.
    """

    name: str
    width: int
    depth: int
    n_heads: int


SIZES: Mapping[str, DofaSize] = MappingProxyType(
    {size.name: size for size in (DofaSize("base", 768, 12, 12), DofaSize("large", 1024, 24, 16))}
)


class UnknownSizeError(IsthmusError):
    """There is no published DOFA of this size. Permanent."""

    def __init__(self, name: str) -> None:
        super().__init__(f"DOFA model: found '{name}', expected one of {sorted(SIZES)}. Choose --model.")


def find_size(name: str) -> DofaSize:
    """Look a size up.

    Raises:
        UnknownSizeError: no such size.
    """
    if name not in SIZES:
        raise UnknownSizeError(name)
    return SIZES[name]
