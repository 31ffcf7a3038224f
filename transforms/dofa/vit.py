"""The vision transformer on tokens, and the vector of an image.

Belongs here: names and shapes of all weights, position embedding, blocks, pooling. Does not: kernels
(`weight_generator.py`), loading weights (`checkpoint.py`).

As published: pre-norm blocks (Dosovitskiy et al. 2021, arXiv 2010.11929), a class token, a fixed sin-cos position
embedding; the vector of an image is the mean of its tokens without the class token, then a layer normalisation
`fc_norm`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.dofa.patch_embedding import embed_patches
from transforms.dofa.sizes import TOKENS_A_SIDE, DofaSize
from transforms.dofa.wavelengths import sin_cos_embedding
from transforms.dofa.weight_generator import (
    Shapes,
    Weights,
    attend,
    generate_kernels,
    generator_shapes,
    layer_norm,
    linear,
    linear_shapes,
    norm_shapes,
)

_LAYER_NORM_EPS = 1e-6
#: Hidden width of a block, in widths.
_MLP_RATIO = 4


def weight_shapes(size: DofaSize) -> Shapes:
    """Give the shape of every weight that the encoder reads, by published name."""
    width = size.width
    shapes: Shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, TOKENS_A_SIDE**2 + 1, width),
        **generator_shapes(size),
    }
    for number in range(size.depth):
        block = f"blocks.{number}"
        shapes |= {
            **norm_shapes(f"{block}.norm1", width),
            **linear_shapes(f"{block}.attn.qkv", width, 3 * width),
            **linear_shapes(f"{block}.attn.proj", width, width),
            **norm_shapes(f"{block}.norm2", width),
            **linear_shapes(f"{block}.mlp.fc1", width, _MLP_RATIO * width),
            **linear_shapes(f"{block}.mlp.fc2", _MLP_RATIO * width, width),
        }
    return shapes | norm_shapes("fc_norm", width)


def position_embedding(width: int, side: int = TOKENS_A_SIDE) -> npt.NDArray[np.float32]:
    """Give the fixed position embedding of a square of tokens, class token first.

    The first half of a token's values embeds its column, the second its row; the class token has zeros. (As in masked
    autoencoders: He et al. 2022, arXiv 2111.06377.)

    Args:
        width: of a token, a multiple of 4.
        side: tokens a side.

    Returns:
        float32 (side^2 + 1, width), tokens row by row.
    """
    row, column = (part.ravel().astype(np.float64) for part in np.indices((side, side)))
    halves = [sin_cos_embedding(positions, width // 2) for positions in (column, row)]
    tokens = np.concatenate(halves, axis=1)
    return np.concatenate([np.zeros((1, width)), tokens]).astype(np.float32)


def encode_images(torch: Any, weights: Weights, size: DofaSize, images: Any, features: Any) -> Any:
    """Encode images to vectors.

    Args:
        torch: the module.
        weights: by published name, as `weight_shapes` declares them.
        size: of the model.
        images: float32 tensor (n, bands, 224, 224), scaled.
        features: float32 tensor (bands, 128), of `embed_wavelengths`, in the order of the bands.

    Returns:
        float32 tensor (n, width).
    """
    tokens = embed_patches(torch, images, *generate_kernels(torch, weights, features))
    tokens = tokens + weights["pos_embed"][:, 1:]
    first = (weights["cls_token"] + weights["pos_embed"][:, :1]).expand(len(tokens), -1, -1)
    tokens = torch.cat([first, tokens], dim=1)
    for number in range(size.depth):
        tokens = _apply_block(torch, weights, f"blocks.{number}", tokens, size.n_heads)
    return layer_norm(torch, weights, "fc_norm", tokens[:, 1:].mean(dim=1), _LAYER_NORM_EPS)


def _apply_block(torch: Any, weights: Weights, block: str, tokens: Any, n_heads: int) -> Any:
    normed = layer_norm(torch, weights, f"{block}.norm1", tokens, _LAYER_NORM_EPS)
    attended = attend(torch, linear(torch, weights, f"{block}.attn.qkv", normed), n_heads)
    tokens = tokens + linear(torch, weights, f"{block}.attn.proj", attended)
    normed = layer_norm(torch, weights, f"{block}.norm2", tokens, _LAYER_NORM_EPS)
    hidden = torch.nn.functional.gelu(linear(torch, weights, f"{block}.mlp.fc1", normed))
    return tokens + linear(torch, weights, f"{block}.mlp.fc2", hidden)
