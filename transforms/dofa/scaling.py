"""Values of an image, checked and scaled as DOFA's training data were.

Belongs here: the scaling, the check that values are what a preset expects. Does not: the constants (`presets.py`).

Wrong scaling gives vectors that look like any others. So values are compared with what the preset expects before
anything is encoded, and refused with the likely cause.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.dofa.presets import Preset
from transforms.errors import IsthmusError, ShapeError

Float32Array = npt.NDArray[np.float32]

#: Standard deviations that the median of a band may lie from its mean.
_FAR_STDS = 20.0
#: Share of negative values above which they are no noise.
_NEGATIVE_SHARE = 0.01
#: 1st percentile of all bands from which Sentinel-2's offset of 1000 is likely.
_OFFSET = 1000.0


class ValueRangeError(IsthmusError):
    """Values of an image are not in the units that its preset expects. Permanent."""

    def __init__(self, what: str, found: str, expected: str, fix: str) -> None:
        super().__init__(
            f"{what}: found {found}, expected {expected}. {fix} If the values are right after all: --accept-values."
        )


def scale_values(values: Float32Array, preset: Preset) -> Float32Array:
    """Scale values as the training data were: ``(clip(factor v) - mean) / std`` of each band.

    Args:
        values: float32 (n, bands, height, width), bands in the order of the preset; NaN = nodata.
        preset: bands and bounds.

    Returns:
        float32, same shape; nodata becomes 0, the mean of the training data.

    Raises:
        ShapeError: not four axes, or another number of bands.
    """
    if values.ndim != 4 or values.shape[1] != len(preset.bands):
        raise ShapeError(
            f"images for preset {preset.name}", f"shape {values.shape}",
            f"(n, {len(preset.bands)}, height, width), bands {list(preset.band_names)}",
            "Choose the bands with --bands.",
        )  # fmt: skip
    factor, mean, std = (
        np.array([getattr(band, name) for band in preset.bands], np.float32)[:, None, None]
        for name in ("factor", "mean", "std")
    )
    scaled = values * factor
    if preset.clip is not None:
        np.clip(scaled, *preset.clip, out=scaled)
    return np.nan_to_num((scaled - mean) / std, copy=False, nan=0.0)


def check_value_range(values: Float32Array, preset: Preset, what: str) -> None:
    """Refuse values in other units than the preset's.

    Args:
        values: float32 (bands, ...), a sample over the whole image; NaN = nodata. Without any value nothing is checked.
        preset: says what is expected.
        what: names the image in errors.

    Raises:
        ValueRangeError: values are in other units; the message says which they may be.
    """
    by_band = [band[np.isfinite(band)] for band in values.reshape(len(values), -1)]
    known = np.concatenate(by_band)
    if not len(known):
        return
    if preset.kind == "sentinel2":
        _check_sentinel2(known, what)
    elif preset.kind == "sentinel1":
        _check_sentinel1(known, what)
    else:
        _check_distance(by_band, preset, what)


def doubt_values(values: Float32Array, preset: Preset) -> str:
    """Say what is odd about values that are not refused; empty where nothing is.

    Args:
        values: float32 (bands, ...), as for `check_value_range`.
        preset: says what is expected.
    """
    if preset.kind != "sentinel2":
        return ""
    lowest = [np.percentile(band[np.isfinite(band)], 1) for band in values if np.isfinite(band).any()]
    if lowest and min(lowest) >= _OFFSET:
        return (
            f"99 % of the values of every band are at least {min(lowest):g}. Sentinel-2 products since January 2022 "
            "(processing baseline 04.00) have 1000 added: if this is one, give --add -1000"
        )
    return ""


def _check_sentinel2(known: Float32Array, what: str) -> None:
    expected = "Sentinel-2 digital numbers, reflectance times 10,000"
    found = _describe(known)
    if (known < 0).mean() > _NEGATIVE_SHARE:
        raise ValueRangeError(what, found, expected, "Is this radar in dB, or was an offset subtracted twice?")
    if np.percentile(known, 99) <= 2.0:
        raise ValueRangeError(what, found, expected, "This is reflectance in 0..1: give --multiply 10000.")
    if known.max() <= 255:
        raise ValueRangeError(
            what, found, expected, "This is an 8-bit image, whose stretch is unknown: take the bands it was made from."
        )
    if np.median(known) > 16_000:
        raise ValueRangeError(
            what, found, expected, "Was it stretched to 16 bits? Take the product as ESA delivers it."
        )


def _check_sentinel1(known: Float32Array, what: str) -> None:
    expected = "Sentinel-1 amplitudes as ESA delivers ground-range detected products, mostly 50..500 over land"
    found = _describe(known)
    other = "No published scaling exists for it: give --wavelengths 3.75,3.75 with --means and --stds of your data."
    if (known < 0).mean() > _NEGATIVE_SHARE:
        raise ValueRangeError(what, found, expected, f"This is backscatter in dB. {other}")
    if np.percentile(known, 99) <= 5.0:
        raise ValueRangeError(what, found, expected, f"This is calibrated linear backscatter. {other}")
    if np.median(known) > 2_000:
        raise ValueRangeError(what, found, expected, f"These are intensities, or were stretched. {other}")


def _check_distance(by_band: Sequence[Float32Array], preset: Preset, what: str) -> None:
    """Refuse bands whose median lies too far from the mean that they are standardised by."""
    for values, band in zip(by_band, preset.bands, strict=True):
        median = float(np.median(values)) if len(values) else band.mean
        if abs(median - band.mean) > _FAR_STDS * band.std:
            raise ValueRangeError(
                f"{what}, band {band.name}", f"median {median:g}",
                f"values around mean {band.mean:g} with deviation {band.std:g}",
                "Give means and deviations in the units of the image.",
            )  # fmt: skip


def _describe(known: Float32Array) -> str:
    low, middle, high = np.percentile(known, (1, 50, 99))
    return f"values of 1st, 50th and 99th percentile {low:.4g}, {middle:.4g}, {high:.4g} and maximum {known.max():.4g}"
