"""DOFA from torch's own modules, and random weights under the published names.

Belongs here: what the tests of DOFA compare with. Does not: assertions.
"""

from __future__ import annotations

import numpy as np

from transforms.dofa.checkpoint import MatchedWeights, match_checkpoint
from transforms.dofa.sizes import DofaSize
from transforms.dofa.vit import position_embedding, weight_shapes

#: As deep and wide as tests can afford.
SMALL = DofaSize("small", 48, 2, 3)


def random_weights(size: DofaSize, seed: int = 0):
    """Tensors of a checkpoint without `fc_norm`, as published: small random values, the fixed position embedding."""
    import torch

    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(size).items():
        if name.startswith("fc_norm"):
            continue
        values = rng.standard_normal(shape, np.float32) * np.float32(0.05)
        if "norm" in name and name.endswith("weight"):
            values += 1
        weights[name] = torch.from_numpy(values)
    weights["pos_embed"] = torch.from_numpy(position_embedding(size.width)[None])
    return weights


def random_matched(size: DofaSize, seed: int = 0) -> MatchedWeights:
    return match_checkpoint(random_weights(size, seed), size, "random weights")


def reference_vectors(weights, size: DofaSize, images, wavelengths_um):
    """Vectors by torch's `TransformerEncoderLayer` and `MultiheadAttention`, kernels band by band."""
    import torch
    from torch import nn

    def load(module, prefix, names=None):
        own = {name: weights[f"{prefix}{(names or {}).get(name, name)}"] for name in module.state_dict()}
        module.load_state_dict(own)
        return module.eval()

    root = "patch_embed."
    waves = torch.tensor(wavelengths_um, dtype=torch.float32)
    omega = torch.tensor([1e4 ** (-i / 64) for i in range(64)])
    angles = torch.outer(waves * 1000, omega)
    features = torch.cat([angles.sin(), angles.cos()], 1)
    w1, w2 = (load(nn.Linear(128, 128), f"{root}fclayer.{name}.") for name in ("w1", "w2"))
    features = features + w2(w1(features).relu()).relu()

    layer = nn.TransformerEncoderLayer(128, 4, activation="gelu", dropout=0.0)
    load(layer, f"{root}weight_generator.transformer_encoder.layers.0.")
    tokens = [weights[f"{root}weight_generator.weight_tokens"], features, weights[f"{root}weight_generator.bias_token"]]
    found = layer(torch.cat(tokens)[:, None])[:, 0]
    fc_weight = load(nn.Linear(128, 256 * size.width), f"{root}weight_generator.fc_weight.")
    fc_bias = load(nn.Linear(128, size.width), f"{root}weight_generator.fc_bias.")
    kernels = torch.empty(size.width, len(waves), 16, 16)
    for band in range(len(waves)):
        flat = fc_weight(found[128 + band] + features[band])
        for place in range(256):
            kernels[:, band, place // 16, place % 16] = flat[place * size.width : (place + 1) * size.width]
    convolved = nn.functional.conv2d(images, kernels * 0.01, fc_bias(found[-1]) * 0.01, stride=16, padding=1)

    tokens = convolved.flatten(2).transpose(1, 2) + weights["pos_embed"][:, 1:]
    first = (weights["cls_token"] + weights["pos_embed"][:, :1]).expand(len(images), -1, -1)
    tokens = torch.cat([first, tokens], 1)
    for number in range(size.depth):
        block = f"blocks.{number}."
        attention = load(
            nn.MultiheadAttention(size.width, size.n_heads, batch_first=True), f"{block}attn.",
            {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias",
             "out_proj.weight": "proj.weight", "out_proj.bias": "proj.bias"},
        )  # fmt: skip
        norms = [load(nn.LayerNorm(size.width, eps=1e-6), f"{block}{name}.") for name in ("norm1", "norm2")]
        fc1 = load(nn.Linear(size.width, 4 * size.width), f"{block}mlp.fc1.")
        fc2 = load(nn.Linear(4 * size.width, size.width), f"{block}mlp.fc2.")
        normed = norms[0](tokens)
        tokens = tokens + attention(normed, normed, normed)[0]
        tokens = tokens + fc2(nn.functional.gelu(fc1(norms[1](tokens))))
    return nn.functional.layer_norm(tokens[:, 1:].mean(1), (size.width,), eps=1e-6)
