"""Bands of one BigEarthNet patch folder, stacked at 10 m.

Belongs here: finding the twelve GeoTIFFs of a folder, bringing 20 m and 60 m bands to 10 m, a folder as one patch. Does
not: labels and splits (`bigearthnet.py`), other images (`image_patches.py`).

A folder holds ``{patch}_B01.tif`` .. ``{patch}_B12.tif`` of Level 2A, without B10: 120 x 120 pixels of 10 m, 60 x 60 of
20 m, 20 x 20 of 60 m over the same 1200 m.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from transforms.dofa.presets import Preset
from transforms.utm import UtmBox
from warehouse.errors import SourceFormatError, SourceMissingError
from warehouse.sources.files import is_simulated_root
from warehouse.sources.image_bands import choose_bands, mask_nodata
from warehouse.sources.image_patches import PatchImages
from warehouse.sources.rasters import GDAL_OPTIONS, damaged_error, open_raster, read_header

Float32Array = npt.NDArray[np.float32]

#: The bands of a folder, in ascending order of wavelength but for B8A, which stands beside B08.
BAND_NAMES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
#: Side of a patch, pixels of 10 m and metres.
PATCH_PX = 120
PATCH_M = 1200.0
_SIZES_PX = (120, 60, 20)


@dataclass(frozen=True)
class BandStack:
    """The bands of one patch.

    Attributes:
        name: of the patch, which is the folder's.
        bands: names, in the order of `values`.
        values: float32 (bands, 120, 120), digital numbers, north-up.
        box: outer edges, metres.
    """

    name: str
    bands: tuple[str, ...]
    values: Float32Array
    box: UtmBox


@dataclass(frozen=True)
class FolderPlan:
    """A patch folder as an image of one patch, named as the folder. Attributes as those of `ImagePlan`."""

    path: Path
    epsg: int
    bands: tuple[int, ...]
    preset: Preset
    is_simulated: bool
    patch_m: float = PATCH_M
    n_patches: int = 1

    def read_sample(self) -> Float32Array:
        """Read the patch, float32 (bands, 120, 120); NaN = nodata."""
        return mask_nodata(self._read().values, None, self.preset.nodata)

    def iter_patches(self) -> Iterator[PatchImages]:
        """Read the patch."""
        stack = self._read()
        values = mask_nodata(stack.values, None, self.preset.nodata)
        box = np.array([[stack.box.west, stack.box.south, stack.box.east, stack.box.north]])
        yield PatchImages((stack.name,), values[None], box, np.isnan(values[:1]).mean(axis=(1, 2)).astype(np.float32))

    def _read(self) -> BandStack:
        return read_patch_bands(self.path, [BAND_NAMES[number - 1] for number in self.bands])


def plan_folder(folder: Path, preset: Preset, chosen: Sequence[str], patch_m: float | None) -> FolderPlan:
    """Look at a patch folder and say which of its bands are read.

    Args:
        folder: one patch.
        preset: the sensor.
        chosen: see `choose_bands`; the descriptions are `BAND_NAMES`.
        patch_m: None or 1200: the folder is one patch.

    Raises:
        SourceMissingError, SourceFormatError: see `read_patch_bands` and `choose_bands`, or another `patch_m`.
    """
    if patch_m not in (None, PATCH_M):
        raise SourceFormatError(
            str(folder), "side of a patch", f"{patch_m:g} m", f"{PATCH_M:g} m: a folder is one patch",
            "Leave --patch-m out.",
        )  # fmt: skip
    numbers = choose_bands(folder, BAND_NAMES, preset, chosen)
    used = [i for i, number in enumerate(numbers) if number]
    first = read_patch_bands(folder, [BAND_NAMES[numbers[used[0]] - 1]])
    return FolderPlan(
        folder, first.box.epsg, tuple(numbers[i] for i in used), preset.reorder(used), is_simulated_root(folder)
    )


def is_patch_folder(path: Path) -> bool:
    """Tell whether a folder holds bands of a BigEarthNet patch."""
    return path.is_dir() and any(path.glob("*_B0[1-9].tif"))


def read_patch_bands(folder: Path, bands: Sequence[str] = BAND_NAMES) -> BandStack:
    """Read bands of a patch folder and resample them bilinearly to 10 m, in whole digital numbers.

    Args:
        folder: one patch.
        bands: names, any of `BAND_NAMES` in any order.

    Raises:
        SourceMissingError: files of bands are missing; all are listed.
        SourceFormatError: a band of another size or ground, or damaged.
    """
    paths = {band: folder / f"{folder.name}_{band}.tif" for band in bands}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing:
        raise SourceMissingError(
            str(folder), f"no {', '.join(missing)}", f"one GeoTIFF for each of {', '.join(bands)}",
            "Is this the folder of one BigEarthNet patch, with its published name?",
        )  # fmt: skip
    values = np.empty((len(bands), PATCH_PX, PATCH_PX), np.float32)
    boxes = []
    for number, path in enumerate(paths.values()):
        values[number], box = _read_band(path)
        boxes.append(box)
        if box != boxes[0]:
            raise SourceFormatError(
                str(path), "ground", box, f"that of {paths[bands[0]].name}: {boxes[0]}", "Download the patch again."
            )
    return BandStack(folder.name, tuple(bands), values, boxes[0])


def _read_band(path: Path) -> tuple[Float32Array, UtmBox]:
    with open_raster(path) as dataset:
        header = read_header(dataset, path)
        if dataset.count != 1 or dataset.height != dataset.width or dataset.height not in _SIZES_PX:
            raise SourceFormatError(
                str(path), "size", f"{dataset.count} bands of {dataset.width} x {dataset.height} pixels",
                "one band of 120, 60 or 20 pixels a side", "Is this a BigEarthNet patch?",
            )  # fmt: skip
        try:
            with rasterio.Env(**GDAL_OPTIONS):
                values = dataset.read(
                    1, out_shape=(PATCH_PX, PATCH_PX), out_dtype="float32", resampling=Resampling.bilinear
                )
        except (RasterioError, OSError) as error:
            raise damaged_error(dataset, path, error) from error
        return values[::-1] if header.is_bottom_up else values, header.box
