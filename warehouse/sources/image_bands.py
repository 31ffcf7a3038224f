"""Images of the user's own: which band of a raster is which band of a sensor, and which pixels have data.

Belongs here: band names, nodata, scaling of stored numbers. Does not: cutting images into patches (`image_patches.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.dofa.presets import Preset
from warehouse.errors import SourceFormatError

Float32Array = npt.NDArray[np.float32]
#: B2 and B02 are one band.
_NAME = re.compile(r"^([A-Z]+)0*([1-9]\d*)([A-Z]?)$")


def choose_bands(path: Path, descriptions: Sequence[str | None], preset: Preset, chosen: Sequence[str]) -> list[int]:
    """Say which raster band holds each band of a preset, or of the part of it that is chosen.

    Args:
        path: names the raster in errors.
        descriptions: of its bands, as the file has them.
        preset: the sensor.
        chosen: ``name=band`` with a name of the preset and a number (from 1) or description of the raster. Empty: all
            bands of the preset by their descriptions; for own bands, those of the raster in order.

    Returns:
        For each band of the preset the number of the raster's band, 0 where it is left out.

    Raises:
        SourceFormatError: a band cannot be found, or is named twice; all at once.
    """
    names = [_normalise(name) for name in preset.band_names]
    present = {_normalise(text): number for number, text in enumerate(descriptions, start=1) if text}
    if not chosen and preset.kind == "own":
        if len(descriptions) != len(names):
            raise _band_error(path, f"{len(descriptions)} bands", f"{len(names)}, one per wavelength", preset)
        return list(range(1, len(names) + 1))
    if not chosen:
        missing = [name for name in preset.band_names if _normalise(name) not in present]
        if missing:
            found = f"bands {[text or f'{number} (no name)' for number, text in enumerate(descriptions, start=1)]}"
            raise _band_error(path, found, f"the names {list(preset.band_names)}", preset)
        return [present[name] for name in names]
    pairs = [item.partition("=") for item in chosen]
    numbers = {_normalise(name): _find_band(band, present, len(descriptions)) for name, _, band in pairs}
    wrong = [
        item
        for item, (name, _, _) in zip(chosen, pairs, strict=True)
        if _normalise(name) not in names or not numbers[_normalise(name)]
    ]
    if wrong or len(numbers) < len(pairs):
        expected = (
            f"name=band, each name once: a name of {list(preset.band_names)}, "
            f"a band of 1..{len(descriptions)} or its description"
        )
        raise _band_error(path, f"--bands {','.join(wrong or chosen)}", expected, preset)
    return [numbers.get(name, 0) for name in names]


def mask_nodata(values: Float32Array, declared: float | None, shared: float | None) -> Float32Array:
    """Set pixels without data to NaN in all bands, in place.

    Args:
        values: float32 (bands, ...), as stored.
        declared: the file's nodata value: one band that has it is enough.
        shared: value that means nodata where all bands have it.

    Returns:
        `values`.
    """
    missing = np.isnan(values).any(axis=0)
    if declared is not None and not np.isnan(declared):
        missing |= (values == np.float32(declared)).any(axis=0)
    if shared is not None:
        missing |= (values == np.float32(shared)).all(axis=0)
    values[:, missing] = np.nan
    return values


def _find_band(text: str, present: dict[str, int], count: int) -> int:
    """Give the number of a band by number or description; 0 where there is none."""
    if text.strip().isdecimal():
        return int(text) if 1 <= int(text) <= count else 0
    return present.get(_normalise(text), 0)


def _normalise(name: str) -> str:
    text = name.strip().upper()
    match = _NAME.match(text)
    return "".join(match.groups()) if match else text


def _band_error(path: Path, found: str, expected: str, preset: Preset) -> SourceFormatError:
    first = ",".join(f"{name}={number}" for number, name in enumerate(preset.band_names[:3], start=1))
    return SourceFormatError(
        str(path), "bands", found, expected,
        f"Say which band of the file is which, e.g. --bands {first}; a part of the preset's bands is enough.",
    )  # fmt: skip
