"""The network that makes convolution kernels from wavelengths.

Belongs here: the residual layer on wavelength features, the transformer layer, kernels and offsets. Does not: the
convolution (`patch_embedding.py`).

As published: tokens are 128 learned weight tokens, one per band, and a bias token; one post-norm transformer layer
(width 128, 4 heads, hidden width 2048, GELU). The output at a band, plus its input, gives that band's kernel; the
output at the bias token gives the offsets; both are multiplied by 0.01. There is no position embedding, so that bands
are a set: kernels go with their wavelengths, whatever the order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.dofa.sizes import PATCH_PX, DofaSize
from transforms.dofa.wavelengths import WAVE_WIDTH

#: Learned tokens beside those of the bands.
N_WEIGHT_TOKENS = 128
#: Attention heads and hidden width of the transformer layer.
N_HEADS = 4
HIDDEN_WIDTH = 2048
#: Kernels and offsets are multiplied by this.
KERNEL_SCALE = 0.01
#: Names of the weights begin with this.
PREFIX = "patch_embed."

_GENERATOR = f"{PREFIX}weight_generator."
_LAYER = f"{_GENERATOR}transformer_encoder.layers.0."
_LAYER_NORM_EPS = 1e-5
Weights = Mapping[str, Any]
Shapes = dict[str, tuple[int, ...]]


def generator_shapes(size: DofaSize) -> Shapes:
    """Give the shape of every weight of the generator, by published name."""
    width, kernel = WAVE_WIDTH, PATCH_PX * PATCH_PX * size.width
    return {
        f"{_GENERATOR}weight_tokens": (N_WEIGHT_TOKENS, width),
        f"{_GENERATOR}bias_token": (1, width),
        f"{_LAYER}self_attn.in_proj_weight": (3 * width, width),
        f"{_LAYER}self_attn.in_proj_bias": (3 * width,),
        **linear_shapes(f"{_LAYER}self_attn.out_proj", width, width),
        **linear_shapes(f"{_LAYER}linear1", width, HIDDEN_WIDTH),
        **linear_shapes(f"{_LAYER}linear2", HIDDEN_WIDTH, width),
        **norm_shapes(f"{_LAYER}norm1", width),
        **norm_shapes(f"{_LAYER}norm2", width),
        **linear_shapes(f"{_GENERATOR}fc_weight", width, kernel),
        **linear_shapes(f"{_GENERATOR}fc_bias", width, size.width),
        **linear_shapes(f"{PREFIX}fclayer.w1", width, width),
        **linear_shapes(f"{PREFIX}fclayer.w2", width, width),
    }


def linear_shapes(name: str, n_in: int, n_out: int) -> Shapes:
    """Give the shapes of a linear layer: weight (out, in) and bias (out,)."""
    return {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}


def norm_shapes(name: str, width: int) -> Shapes:
    """Give the shapes of a layer normalisation."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def generate_kernels(torch: Any, weights: Weights, features: Any) -> tuple[Any, Any]:
    """Make the kernel of each band, and the offsets.

    Args:
        torch: the module.
        weights: by published name.
        features: float32 tensor (bands, 128), of `embed_wavelengths`.

    Returns:
        (kernels (width, bands, 16, 16), offsets (width,)), float32 tensors.
    """
    waves = _residual_layer(torch, weights, features)
    tokens = torch.cat([weights[f"{_GENERATOR}weight_tokens"], waves, weights[f"{_GENERATOR}bias_token"]])
    found = _transformer_layer(torch, weights, tokens)
    kernels = linear(torch, weights, f"{_GENERATOR}fc_weight", found[N_WEIGHT_TOKENS:-1] + waves)
    offsets = linear(torch, weights, f"{_GENERATOR}fc_bias", found[-1])
    # a band's row is a kernel of (row, column, output): read in another order, kernels of bands would be mixed
    shaped = kernels.reshape(len(waves), PATCH_PX, PATCH_PX, -1).permute(3, 0, 1, 2)
    return shaped * KERNEL_SCALE, offsets * KERNEL_SCALE


def linear(torch: Any, weights: Weights, name: str, values: Any) -> Any:
    """Apply the linear layer of this name."""
    return torch.nn.functional.linear(values, weights[f"{name}.weight"], weights[f"{name}.bias"])


def layer_norm(torch: Any, weights: Weights, name: str, values: Any, eps: float) -> Any:
    """Apply the layer normalisation of this name over the last axis."""
    return torch.nn.functional.layer_norm(
        values, values.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps
    )


def attend(torch: Any, joined: Any, n_heads: int) -> Any:
    """Attend over tokens: softmax(q k' / sqrt(d)) v in each head.

    Args:
        torch: the module.
        joined: tensor (..., tokens, 3 width): queries, keys and values, each head after head.
        n_heads: heads.

    Returns:
        Tensor (..., tokens, width).
    """
    *rest, n_tokens, three = joined.shape
    heads = joined.reshape(*rest, n_tokens, 3, n_heads, three // 3 // n_heads)
    queries, keys, values = (part.transpose(-3, -2) for part in heads.unbind(dim=-3))
    found = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    return found.transpose(-3, -2).reshape(*rest, n_tokens, three // 3)


def _residual_layer(torch: Any, weights: Weights, features: Any) -> Any:
    hidden = torch.relu(linear(torch, weights, f"{PREFIX}fclayer.w1", features))
    return features + torch.relu(linear(torch, weights, f"{PREFIX}fclayer.w2", hidden))


def _transformer_layer(torch: Any, weights: Weights, tokens: Any) -> Any:
    """Apply the post-norm layer: attention, then a hidden layer, each added to its input and normalised."""
    joined = torch.nn.functional.linear(
        tokens, weights[f"{_LAYER}self_attn.in_proj_weight"], weights[f"{_LAYER}self_attn.in_proj_bias"]
    )
    attended = linear(torch, weights, f"{_LAYER}self_attn.out_proj", attend(torch, joined, N_HEADS))
    first = layer_norm(torch, weights, f"{_LAYER}norm1", tokens + attended, _LAYER_NORM_EPS)
    hidden = torch.nn.functional.gelu(linear(torch, weights, f"{_LAYER}linear1", first))
    second = first + linear(torch, weights, f"{_LAYER}linear2", hidden)
    return layer_norm(torch, weights, f"{_LAYER}norm2", second, _LAYER_NORM_EPS)
