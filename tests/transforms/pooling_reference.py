"""Pooling of boxes by plain numpy, pixel by pixel: slow, and written from the rules only."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from transforms.quantization import dequantize
from transforms.windows import PixelWindow

ONE = 2**16


def axis_shares(start_m: float, stop_m: float, pixel_m: float, size: int) -> tuple[np.ndarray, int, int]:
    """Shares of the pixels of one axis in 2^-16, and the edges of the box in the same unit, cut to the axis."""
    low, high = (min(max(int(np.rint(edge / pixel_m * ONE)), 0), size * ONE) for edge in (start_m, stop_m))
    left = np.arange(size, dtype=np.int64) * ONE
    return np.clip(np.minimum(left + ONE, high) - np.maximum(left, low), 0, ONE), low, high


def pool_exactly(box: np.ndarray, window: PixelWindow) -> dict[str, np.ndarray]:
    """Mean, variance and extremes of one box over one int8 window in whole numbers."""
    affine, (height, width) = window.affine, window.valid.shape
    # edges are rounded to 2^-12 m first
    west, south, east, north = (round(edge * 2**12) / 2**12 for edge in box.tolist())
    rows, top, bottom = axis_shares(affine.f - north, affine.f - south, -affine.e, height)
    cols, left, right = axis_shares(west - affine.c, east - affine.c, affine.a, width)
    weight = np.where(window.valid, (rows[:, None] * cols + ONE // 2) // ONE, 0)
    y, x = (np.arange(size, dtype=np.int64) * ONE + ONE // 2 for size in (height, width))
    inside = ((top < y) & (y <= bottom))[:, None] & ((left <= x) & (x < right)) & window.valid
    v = window.values.astype(np.int64)
    signal = v * np.abs(v)
    total, first = int(weight.sum()), (weight * signal).sum(axis=(1, 2)).tolist()
    if total == 0:
        return {"weight": np.int64(0), "n_pixels": np.int64(inside.sum())}
    second = (weight * signal**2).sum(axis=(1, 2)).tolist()
    variance = [Fraction(b, total) - Fraction(a, total) ** 2 for a, b in zip(first, second, strict=True)]
    mean = np.array([a / total / 127.5**2 for a in first])
    result = {
        "weight": np.int64(total),
        "n_pixels": np.int64(inside.sum()),
        "mean": mean.astype(np.float32),
        "std": np.array([float(value) ** 0.5 / 127.5**2 for value in variance], np.float32),
    }
    if inside.any():
        codes = window.values[:, inside]
        result |= {"min": dequantize(codes.min(axis=1)), "max": dequantize(codes.max(axis=1))}
    return result
