"""The encoder that users hold: images of a preset's bands in, vectors out.

Belongs here: scaling, resizing, batches, the device. Does not: layers (`vit.py`), files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.dofa.checkpoint import CheckpointError, MatchedWeights
from transforms.dofa.presets import Preset
from transforms.dofa.scaling import check_value_range, scale_values
from transforms.dofa.sizes import IMAGE_PX, DofaSize
from transforms.dofa.vit import encode_images
from transforms.dofa.wavelengths import embed_wavelengths
from transforms.upsampling.torch_training import import_torch, pick_device

Float32Array = npt.NDArray[np.float32]


class DofaEncoder:
    """Frozen DOFA: the mean of the tokens of an image, normalised.

    Without dropout and without gradients; the same images, batch and device give the same bits.

    Args:
        matched: weights that fit `size`.
        size: of the model.
        preset: bands of the images and their scaling.
        batch: images at once.
        device: torch's name of it; None = the GPU where there is one.

    Raises:
        MissingTorchError: torch is not installed.
    """

    def __init__(
        self, matched: MatchedWeights, size: DofaSize, preset: Preset, *, batch: int = 16, device: str | None = None
    ) -> None:
        self._torch: Any = import_torch("DOFA")
        self.size, self.preset, self.batch = size, preset, batch
        self.device = device or pick_device(self._torch)
        self._features = self._put(embed_wavelengths(preset.wavelengths_um))
        initial = {name: self._torch.from_numpy(array) for name, array in matched.initial.items()}
        self._weights = {
            name: tensor.detach().to(self.device, self._torch.float32)
            for name, tensor in {**matched.weights, **initial}.items()
        }

    def encode(self, images: Float32Array, *, is_checked: bool = False) -> Float32Array:
        """Encode images.

        Args:
            images: float32 (n, bands, height, width) in the values of the preset, bands in its order. NaN = nodata: it
                becomes the mean of the training data. Any size: they are resized to 224 pixels, bilinearly, and
                averaged where that shrinks them.
            is_checked: the caller has checked the range of values, over more than these images.

        Returns:
            float32 (n, width).

        Raises:
            ShapeError: not four axes, or another number of bands.
            ValueRangeError: values in other units than the preset's.
            CheckpointError: the weights give values that are not finite.
        """
        scaled = scale_values(images, self.preset)
        if not is_checked:
            check_value_range(np.moveaxis(images, 1, 0), self.preset, "images")
        out = np.empty((len(images), self.size.width), np.float32)
        with self._torch.inference_mode():
            for start in range(0, len(images), self.batch):
                part = slice(start, start + self.batch)
                out[part] = self._encode(self._resize(self._put(scaled[part]))).cpu().numpy()
        if not np.isfinite(out).all():
            raise CheckpointError(
                "DOFA", ["found vectors that are not finite, expected finite ones"], "Is the checkpoint damaged?"
            )
        return out

    def _encode(self, images: Any) -> Any:
        return encode_images(self._torch, self._weights, self.size, images, self._features)

    def _resize(self, images: Any) -> Any:
        if images.shape[-2:] == (IMAGE_PX, IMAGE_PX):
            return images
        return self._torch.nn.functional.interpolate(
            images, size=(IMAGE_PX, IMAGE_PX), mode="bilinear", align_corners=False, antialias=True
        )

    def _put(self, array: Float32Array) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
