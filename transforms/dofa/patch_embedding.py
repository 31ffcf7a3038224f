"""From an image to tokens, by a convolution whose kernels depend on the wavelengths of its bands.

Belongs here: the convolution. Does not: the kernels (`weight_generator.py`), what happens to tokens (`vit.py`).
"""

from __future__ import annotations

from typing import Any

from transforms.dofa.sizes import PATCH_PX

#: Zeros around the image, as published. The first tokens start one pixel outside it.
PADDING_PX = 1


def embed_patches(torch: Any, images: Any, kernels: Any, offsets: Any) -> Any:
    """Convolve images with stride 16 and padding 1.

    Args:
        torch: the module.
        images: float32 tensor (n, bands, 224, 224), scaled.
        kernels: (width, bands, 16, 16).
        offsets: (width,).

    Returns:
        Tensor (n, 196, width), tokens row by row from the upper left.
    """
    found = torch.nn.functional.conv2d(images, kernels, offsets, stride=PATCH_PX, padding=PADDING_PX)
    return found.flatten(2).transpose(1, 2)
