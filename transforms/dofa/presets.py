"""Sensors that DOFA was trained on: bands, wavelengths, and how their values were scaled.

Belongs here: the published constants, and bands of the user's own. Does not: the arithmetic and the checks
(`scaling.py`).

DOFA was trained on 8-bit images of SatlasPretrain, so that its means and deviations are of 0..255
(github.com/zhu-xlab/DOFA, `pretraining/datasets/ofall_dataset.py`; wavelengths: `waves.json` beside it). How the 8 bits
came about is Satlas's (github.com/allenai/satlas, `Normalization.md`): Sentinel-2 red, green and blue are ESA's true
colour image of Level 1C, in which 255 is a reflectance of 0.3558; its other bands are digital numbers divided by 32;
Sentinel-1 is the amplitude of ground-range detected products, cut at 255.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from transforms.dofa.wavelengths import check_wavelengths
from transforms.errors import IsthmusError, ShapeError

#: What the numbers of an image are, before they are scaled.
ValueKind = Literal["sentinel2", "sentinel1", "own"]

#: 8-bit value of a digital number: 255 at reflectance 0.3558 (true colour), and 1 for every 32.
_TRUE_COLOUR = 255 / 3558
_OTHER_BANDS = 1 / 32


@dataclass(frozen=True)
class Band:
    """One band of a sensor.

    Attributes:
        name: as the sensor's producer writes it.
        wavelength_um: central wavelength, micrometres; a placeholder for radar.
        factor: from the image's values to those of `mean` and `std`.
        mean: of the training data, after `factor`.
        std: their standard deviation.
        statistics_of: the band that `mean` and `std` were published for.
    """

    name: str
    wavelength_um: float
    factor: float
    mean: float
    std: float
    statistics_of: str


@dataclass(frozen=True)
class Preset:
    """The bands of an image and what their values are.

    Attributes:
        name: as users say it.
        bands: in any order: kernels go with wavelengths.
        kind: of the values.
        clip: bounds after `factor`; None = none.
        nodata: value that means nodata where all bands have it; None = none but what the file declares.
    """

    name: str
    bands: tuple[Band, ...]
    kind: ValueKind
    clip: tuple[float, float] | None
    nodata: float | None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)

    @property
    def wavelengths_um(self) -> tuple[float, ...]:
        """Wavelengths of the bands, in order."""
        return tuple(band.wavelength_um for band in self.bands)

    def reorder(self, order: Sequence[int]) -> Preset:
        """Give the preset with its bands in another order."""
        return Preset(self.name, tuple(self.bands[i] for i in order), self.kind, self.clip, self.nodata)


class UnknownPresetError(IsthmusError):
    """There is no preset of this name. Permanent."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"preset: found '{name}', expected one of {sorted(PRESETS)}. For other sensors give --wavelengths, --means "
            "and --stds, one per band."
        )


def find_preset(name: str) -> Preset:
    """Look a preset up.

    Raises:
        UnknownPresetError: no such preset.
    """
    if name not in PRESETS:
        raise UnknownPresetError(name)
    return PRESETS[name]


def own_bands(wavelengths_um: Sequence[float], means: Sequence[float], stds: Sequence[float]) -> Preset:
    """Describe bands of the user's own sensor; values are standardised and neither scaled nor cut before.

    Args:
        wavelengths_um: one per band, micrometres.
        means: of each band, in the values of the image.
        stds: standard deviations, above 0.

    Returns:
        A preset named ``own`` with bands ``1``, ``2``, ...

    Raises:
        ShapeError: lengths differ, a wavelength is no micrometre, or a deviation is not positive.
    """
    check_wavelengths(wavelengths_um)
    counts = (len(wavelengths_um), len(means), len(stds))
    if len(set(counts)) != 1:
        raise ShapeError(
            "own bands", "{} wavelengths, {} means and {} deviations".format(*counts), "one of each per band",
            "Give --wavelengths, --means and --stds in the order of the bands.",
        )  # fmt: skip
    if not (np.isfinite(means).all() and np.isfinite(stds).all() and (np.asarray(stds) > 0).all()):
        raise ShapeError("own bands", f"means {list(means)}, deviations {list(stds)}", "finite numbers, stds above 0",
                         "Take them from the data that the images come from.")  # fmt: skip
    bands = tuple(
        Band(str(number), wave, 1.0, mean, std, str(number))
        for number, (wave, mean, std) in enumerate(zip(wavelengths_um, means, stds, strict=True), start=1)
    )
    return Preset("own", bands, "own", None, None)


_SENTINEL2 = {
    name: Band(name, wave, factor, mean, std, name)
    for name, wave, factor, mean, std in (
        ("B02", 0.49, _TRUE_COLOUR, 126.63977424, 67.42465279),
        ("B03", 0.56, _TRUE_COLOUR, 114.81779093, 69.96844919),
        ("B04", 0.665, _TRUE_COLOUR, 114.1099739, 77.84352553),
        ("B05", 0.705, _OTHER_BANDS, 84.33539309, 64.57022983),
        ("B06", 0.74, _OTHER_BANDS, 97.84789168, 61.72545487),
        ("B07", 0.783, _OTHER_BANDS, 103.94461911, 61.34187099),
        ("B08", 0.842, _OTHER_BANDS, 101.435633, 60.29744676),
        ("B11", 1.61, _OTHER_BANDS, 72.32804172, 47.88519516),
        ("B12", 2.19, _OTHER_BANDS, 56.66528851, 42.55886798),
    )
}


def _like(name: str, wavelength_um: float, published: str) -> Band:
    """Describe a band that DOFA was not trained on by the statistics of the one that is nearest in wavelength."""
    near = _SENTINEL2[published]
    return Band(name, wavelength_um, near.factor, near.mean, near.std, published)


_B8A = _like("B8A", 0.865, "B08")
_ALL_12 = (
    _like("B01", 0.443, "B02"), *(_SENTINEL2[name] for name in ("B02", "B03", "B04", "B05", "B06", "B07", "B08")), _B8A,
    _like("B09", 0.945, "B08"), _SENTINEL2["B11"], _SENTINEL2["B12"],
)  # fmt: skip
#: The published list calls its first value VH. Its own demo hands over VV first, and VV is the brighter one over land.
_SENTINEL1 = (
    Band("VV", 3.75, 1.0, 166.36275909, 64.83126309, "VV"),
    Band("VH", 3.75, 1.0, 88.45542715, 43.07350145, "VH"),
)
_BYTE = (0.0, 255.0)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset("sentinel2", tuple(_SENTINEL2.values()), "sentinel2", _BYTE, 0.0),
            Preset("sentinel2_10", tuple(b for b in _ALL_12 if b.name not in ("B01", "B09")), "sentinel2", _BYTE, 0.0),
            Preset("sentinel2_12", _ALL_12, "sentinel2", _BYTE, 0.0),
            Preset("sentinel1", _SENTINEL1, "sentinel1", _BYTE, 0.0),
        )
    }
)
