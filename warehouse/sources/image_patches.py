"""Images of the user's own, cut into square patches and read row by row of them.

Belongs here: GeoTIFFs in UTM, the grid of patches, nodata shares. Does not: bands (`image_bands.py`), patch folders of
BigEarthNet (`bigearthnet_bands.py`), what is made of the patches.

Patches begin at the upper left corner of the image, side by side; what is left at the right and lower edge, less than a
patch wide, is not read. Rasters of one grid (all dates of a Sentinel-2 tile) so give the same places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from transforms.dofa.presets import Preset
from transforms.utm import utm_epsg
from warehouse.errors import SourceFormatError
from warehouse.sources.files import is_simulated_root
from warehouse.sources.image_bands import choose_bands, mask_nodata
from warehouse.sources.rasters import GDAL_OPTIONS, RasterHeader, damaged_error, open_raster, read_header

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

#: Patches that are held at once.
_PATCHES_AT_ONCE = 32
#: Edge of the sample that values are checked on, pixels.
_SAMPLE_PX = 512
#: A side is a whole number of pixels up to this share of a pixel.
_WHOLE_PX = 1e-6


@dataclass(frozen=True)
class PatchImages:
    """Some patches of one image.

    Attributes:
        ids: names, unique within the image.
        values: float32 (n, bands, side, side), north-up, in stored numbers; NaN = nodata.
        boxes: float64 (n, 4), west, south, east, north in metres.
        nodata_share: float32 (n,), share of the pixels without data.
    """

    ids: tuple[str, ...]
    values: Float32Array
    boxes: FloatArray
    nodata_share: Float32Array


class PatchSource(Protocol):
    """What can be read patch by patch: a GeoTIFF, a folder of bands. See `ImagePlan` for the attributes."""

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def epsg(self) -> int: ...  # noqa: D102
    @property
    def bands(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def preset(self) -> Preset: ...  # noqa: D102
    @property
    def patch_m(self) -> float: ...  # noqa: D102
    @property
    def n_patches(self) -> int: ...  # noqa: D102
    @property
    def is_simulated(self) -> bool: ...  # noqa: D102

    def read_sample(self) -> Float32Array:
        """Read a thinned image, float32 (bands, height, width); NaN = nodata."""

    def iter_patches(self) -> Iterator[PatchImages]:
        """Read all patches, some at a time."""


@dataclass(frozen=True)
class ImagePlan:
    """How an image is cut.

    Attributes:
        path: the file.
        name: of the image, part of ids.
        epsg: UTM zone.
        bands: numbers of the raster's bands, in the order of `preset`.
        preset: the bands that are read.
        patch_m: side of a patch, metres.
        n_patches: patches of the grid, before any is skipped.
        is_simulated: marked by its folder or its tags.
    """

    path: Path
    name: str
    epsg: int
    bands: tuple[int, ...]
    preset: Preset
    patch_m: float
    n_patches: int
    is_simulated: bool

    def read_sample(self) -> Float32Array:
        """Read a thinned image, float32 (bands, height, width), at most 512 pixels a side; NaN = nodata."""
        with open_raster(self.path) as dataset:
            shape = (len(self.bands), min(dataset.height, _SAMPLE_PX), min(dataset.width, _SAMPLE_PX))
            return self._read(dataset, Window(0, 0, dataset.width, dataset.height), shape)

    def iter_patches(self) -> Iterator[PatchImages]:
        """Read all patches, row by row from the north, some of a row at a time."""
        with open_raster(self.path) as dataset:
            header = read_header(dataset, self.path)
            side = round(self.patch_m / header.affine.a)
            for row in range(header.height // side):
                for start in range(0, header.width // side, _PATCHES_AT_ONCE):
                    count = min(_PATCHES_AT_ONCE, header.width // side - start)
                    yield self._read_patches(dataset, header, side, row, start, count)

    def _read_patches(
        self, dataset: Any, header: RasterHeader, side: int, row: int, start: int, count: int
    ) -> PatchImages:
        # rows of a bottom-up file are counted from its last one
        top = header.height - (row + 1) * side if header.is_bottom_up else row * side
        window = Window(start * side, top, count * side, side)
        values = self._read(dataset, window, (len(self.bands), side, count * side))
        if header.is_bottom_up:
            values = values[:, ::-1]
        patches = np.ascontiguousarray(values.reshape(len(self.bands), side, count, side).transpose(2, 0, 1, 3))
        west = header.box.west + (start + np.arange(count)) * self.patch_m
        north = np.full(count, header.box.north - row * self.patch_m)
        boxes = np.stack([west, north - self.patch_m, west + self.patch_m, north], axis=1)
        share = np.isnan(patches[:, 0]).mean(axis=(1, 2)).astype(np.float32)
        ids = tuple(f"{self.name}_{row}_{start + column}" for column in range(count))
        return PatchImages(ids, patches, boxes, share)

    def _read(self, dataset: Any, window: Window, shape: tuple[int, int, int]) -> Float32Array:
        try:
            with rasterio.Env(**GDAL_OPTIONS):
                values = dataset.read(list(self.bands), window=window, out_shape=shape)
        except (RasterioError, OSError) as error:
            raise damaged_error(dataset, self.path, error) from error
        return mask_nodata(values.astype(np.float32), dataset.nodata, self.preset.nodata)


def plan_image(path: Path, preset: Preset, chosen: Sequence[str], patch_m: float | None, default_px: int) -> ImagePlan:
    """Look at a GeoTIFF and say how it is cut.

    Args:
        path: the raster, in UTM, with square pixels.
        preset: the sensor.
        chosen: see `choose_bands`.
        patch_m: side of a patch; None = `default_px` pixels.
        default_px: see there.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: not in UTM, rotated, pixels that are not square, a side that is no whole number of pixels, an
            image smaller than a patch, or bands that cannot be found.
    """
    with open_raster(path) as dataset:
        _check_utm(dataset, path)
        header = read_header(dataset, path)
        pixel_m = header.affine.a
        if abs(pixel_m + header.affine.e) > _WHOLE_PX and abs(pixel_m - header.affine.e) > _WHOLE_PX:
            raise SourceFormatError(
                str(path), "pixels", f"{pixel_m:g} x {abs(header.affine.e):g} m", "squares",
                f"Resample it: gdalwarp -tr {pixel_m:g} {pixel_m:g}.",
            )  # fmt: skip
        side_m = default_px * pixel_m if patch_m is None else patch_m
        side = _side_px(path, header, side_m)
        numbers = choose_bands(path, dataset.descriptions, preset, chosen)
        is_marked = str(dataset.tags().get("IS_SIMULATED", "")).lower() == "true"
    used = [i for i, number in enumerate(numbers) if number]
    return ImagePlan(
        path, path.stem, header.epsg, tuple(numbers[i] for i in used), preset.reorder(used), side_m,
        (header.height // side) * (header.width // side), is_marked or is_simulated_root(path.parent),
    )  # fmt: skip


def _side_px(path: Path, header: RasterHeader, side_m: float) -> int:
    """Give the side of a patch in pixels."""
    exact = side_m / header.affine.a
    side = round(exact)
    if side < 1 or abs(exact - side) > _WHOLE_PX * max(side, 1):
        raise SourceFormatError(
            str(path), "side of a patch", f"{side_m:g} m, {exact:.6g} pixels of {header.affine.a:g} m",
            "a whole number of pixels", "Choose --patch-m.",
        )  # fmt: skip
    if side > min(header.height, header.width):
        raise SourceFormatError(
            str(path), "size", f"{header.width} x {header.height} pixels", f"at least one patch of {side} x {side}",
            f"Choose a smaller --patch-m, at most {min(header.height, header.width) * header.affine.a:g}.",
        )  # fmt: skip
    return side


def _check_utm(dataset: Any, path: Path) -> None:
    """Refuse other CRS with the zone that the image lies in."""
    epsg = dataset.crs.to_epsg() if dataset.crs else None
    if epsg is not None and (32601 <= epsg <= 32660 or 32701 <= epsg <= 32760):
        return
    fix = "Write its CRS with gdal_edit.py -a_srs, then reproject it to UTM."
    if dataset.crs:
        west, south, east, north = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
        zone = int(utm_epsg((west + east) / 2, (south + north) / 2))
        fix = f"Reproject it: gdalwarp -t_srs EPSG:{zone} -r bilinear."
    raise SourceFormatError(str(path), "CRS", dataset.crs, "a UTM zone, EPSG 326zz or 327zz", fix)
