"""`isthmus upsample`: patch vectors upsampled to a dense raster of a user's window, strip by strip.

Belongs here: the grid of a window, the GeoTIFF that comes out. Does not: dense upsampling
(`transforms/upsampling/dense.py`), the windows that a run keeps (`assets/upsampled.py`).

Without `full`, a pixel is int8 in the stored basis of the year, as native AlphaEarth pixels are int8: 64 bands, nodata
-128. Its tags hold the version of the basis and the scale of each component: a code v of a band means
scale x sign(v) (v / 127.5)^2, and `out_patch__{product}_basis` turns such values into vectors. The file is written
beside its target and renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from transforms.area import Bbox
from transforms.errors import IsthmusError, ShapeError
from transforms.quantization import NODATA
from transforms.upsampled_rows import PatchField
from transforms.upsampling.basis import Basis, project
from transforms.upsampling.dense import meets_patches, upsample_window, upsample_window_codes
from transforms.upsampling.operators import UPSAMPLERS, Upsampler, find_upsampler
from transforms.upsampling.rows import RowLattice
from transforms.utm import project_bbox, utm_epsg
from transforms.windows import PixelGrid
from warehouse.errors import PartitionMissingError, SourceMissingError
from warehouse.fields import read_basis, read_patch_field
from warehouse.products import Product
from warehouse.store import Warehouse
from warehouse.unfinished import replace_file

Progress = Callable[[float, str], None]

#: Edge of the file's tiles, and image rows written at once where they fit.
_TILE_PX = 256
#: Bytes of the strip that is held at once; a strip of a wide float window has fewer rows.
_STRIP_BYTES = 256 * 2**20
#: Largest window edge: an error in the box would else fill the disk.
_MAX_SIDE_PX = 65_536


class LearningOperatorError(IsthmusError):
    """An operator learns from data, and a map without an evaluation has no training fold. Permanent."""

    def __init__(self, name: str, needs: str) -> None:
        usable = [entry.name for entry in UPSAMPLERS.values() if not entry.is_fitted]
        super().__init__(
            f"upsampling operator: found '{name}', which learns from {needs} inside a training fold, expected one of "
            f"{', '.join(usable)}. Its maps are in the report of an evaluation."
        )


@dataclass(frozen=True)
class WindowRequest:
    """What is asked for.

    Attributes:
        year: of the patch vectors.
        bbox: west, south, east, north in degrees.
        operator: name in `UPSAMPLERS`.
        pixel_m: pixel pitch, metres.
        full: float32 at full width instead of int8 in the basis.
        output: file to write; None = `upsampled_{operator}_{year}.tif` in the working folder.
    """

    year: int
    bbox: Bbox
    operator: str = "bilinear"
    pixel_m: float = 10.0
    full: bool = False
    output: Path | None = None


@dataclass(frozen=True)
class WindowSummary:
    """What was written.

    Attributes:
        path: the file.
        width: columns.
        height: rows.
        bands: dimensions of a pixel.
        epsg: CRS of the grid.
        missing_share: share of the pixels without a vector.
        basis_version: of the codes; empty for full vectors.
        is_simulated: True if the patches are.
        bytes: size of the file.
    """

    path: Path
    width: int
    height: int
    bands: int
    epsg: int
    missing_share: float
    basis_version: str
    is_simulated: bool
    bytes: int


def upsample_to_raster(warehouse: Warehouse, request: WindowRequest, progress: Progress) -> WindowSummary:
    """Upsample the stored patches of a year to every pixel of a window and write a GeoTIFF.

    Args:
        warehouse: holds the patches and the basis.
        request: what is asked for.
        progress: told (share done, what).

    Raises:
        SourceMissingError: no patch product, or no patches of that year near the window.
        LearningOperatorError: the operator learns from labels, fractions, a guide or the patches of a fold.
        UnknownUpsamplerError: no operator has this name.
        ShapeError: the box or the pitch makes no window, or one that is too large.
    """
    entry = find_upsampler(request.operator)
    if entry.is_fitted:
        raise LearningOperatorError(entry.name, entry.needs)
    product = _patch_product(warehouse)
    grid = window_grid(request.bbox, request.pixel_m)
    field = _read_field(warehouse, product, request)
    progress(0.0, f"fitting {entry.name}")
    source = _open_strips(warehouse, product, field, request)
    path = request.output or Path(f"upsampled_{request.operator}_{request.year}.tif")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path, "raster") as temporary:
        missing = _write(temporary, grid, source, _tags(warehouse, product, field, request, source), progress)
    return WindowSummary(
        path, grid.width, grid.height, source.bands, grid.epsg, missing / (grid.width * grid.height),
        source.version, field.is_simulated, path.stat().st_size,
    )  # fmt: skip


def window_grid(bbox: Bbox, pixel_m: float) -> PixelGrid:
    """Give the north-up grid, in the UTM zone of the box's centre, whose pixel edges are multiples of the pitch.

    Raises:
        ShapeError: the box is empty or out of range, the pitch is not positive, or the window is too large.
    """
    west, south, east, north = bbox
    if not (-180 <= west < east <= 180 and -80 <= south < north <= 84):
        expected = "west < east within 180 degrees, south < north from 80 S to 84 N"
        raise ShapeError("window", list(bbox), expected, "Give west, south, east, north in degrees.")
    if not 0 < pixel_m < np.inf:
        raise ShapeError("pixel pitch", pixel_m, "metres above 0", "10 is that of AlphaEarth.")
    centre = np.array([(west + east) / 2]), np.array([(south + north) / 2])
    box = project_bbox(bbox, int(utm_epsg(*centre)[0]))
    left, bottom = np.floor(box.west / pixel_m) * pixel_m, np.floor(box.south / pixel_m) * pixel_m
    width = int(np.ceil((box.east - left) / pixel_m))
    height = int(np.ceil((box.north - bottom) / pixel_m))
    if max(width, height) > _MAX_SIDE_PX:
        found = f"{width} x {height} pixels"
        raise ShapeError("window", found, f"at most {_MAX_SIDE_PX} a side", "Cut it, or raise the pixel pitch.")
    return PixelGrid(box.epsg, Affine(pixel_m, 0, left, 0, -pixel_m, bottom + height * pixel_m), height, width)


class _Strips:
    """Gives the bands of a strip of the window, from full vectors or through the basis."""

    def __init__(self, upsampler: Upsampler, rows: RowLattice, rows_epsg: int, basis: Basis | None, bands: int) -> None:
        self._upsampler = upsampler
        self._rows = rows
        self._rows_epsg = rows_epsg
        self._basis = basis
        self.bands = bands
        self.dtype = "float32" if basis is None else "int8"
        self.nodata = float("nan") if basis is None else NODATA
        self.version = "" if basis is None else basis.version
        self.scale: list[float] = [] if basis is None else basis.scale.tolist()

    def read(self, grid: PixelGrid) -> np.ndarray:
        """Give (bands, height, width); nodata all over where no patch is near."""
        if not meets_patches(self._rows, grid, self._rows_epsg):
            return np.full((self.bands, grid.height, grid.width), self.nodata, self.dtype)
        if self._basis is None:
            return np.moveaxis(upsample_window(self._upsampler, self._rows, grid, rows_epsg=self._rows_epsg), -1, 0)
        codes = upsample_window_codes(self._upsampler, self._rows, self._basis, grid, rows_epsg=self._rows_epsg)
        return np.moveaxis(codes, -1, 0)

    def missing(self, values: np.ndarray) -> int:
        """Count the pixels without a vector."""
        return int((values[0] == NODATA).sum() if self._basis is not None else np.isnan(values[0]).sum())


def _open_strips(warehouse: Warehouse, product: Product, field: PatchField, request: WindowRequest) -> _Strips:
    rows = field.rows()
    build = find_upsampler(request.operator).build
    epsg = int(field.places.epsg[0])
    if request.full:
        return _Strips(build().fit(rows, field.vectors), rows, epsg, None, product.dims)
    basis = read_basis(warehouse, product, request.year)
    return _Strips(build().fit(rows, project(field.vectors, basis)), rows, epsg, basis, basis.k)


def _write(path: Path, grid: PixelGrid, source: _Strips, tags: dict[str, str], progress: Progress) -> int:
    """Write the raster and give how many pixels have no vector."""
    missing = 0
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": grid.width, "height": grid.height, "count": source.bands, "dtype": source.dtype,
        "crs": f"EPSG:{grid.epsg}", "transform": grid.affine, "nodata": source.nodata, "compress": "zstd",
        "tiled": True, "blockxsize": _TILE_PX, "blockysize": _strip_rows(grid, source), "interleave": "band",
        "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.update_tags(**tags)
        for strip, window in _cut_strips(grid, _strip_rows(grid, source)):
            values = source.read(strip)
            missing += source.missing(values)
            dataset.write(values, window=window)
            progress((window.row_off + window.height) / grid.height, "writing")
    return missing


def _strip_rows(grid: PixelGrid, source: _Strips) -> int:
    """Give the image rows of a strip: a multiple of 16, as tiles of a TIFF must have."""
    row_bytes = grid.width * source.bands * np.dtype(source.dtype).itemsize
    return int(np.clip(_STRIP_BYTES // row_bytes // 16 * 16, 16, _TILE_PX))


def _cut_strips(grid: PixelGrid, rows: int) -> Iterator[tuple[PixelGrid, Window]]:
    for start in range(0, grid.height, rows):
        height = min(rows, grid.height - start)
        moved = grid.affine @ Affine.translation(0, start)
        yield PixelGrid(grid.epsg, moved, height, grid.width), Window(0, start, grid.width, height)


def _tags(
    warehouse: Warehouse, product: Product, field: PatchField, request: WindowRequest, source: _Strips
) -> dict[str, str]:
    inputs = [f"core_{product.name}__patches"]
    provenance = warehouse.product_provenance(product, (), is_simulated=field.is_simulated, inputs=inputs)
    coded = "x = scale * sign(v) * (v / 127.5)^2" if source.version else "none"
    return {
        "PRODUCT": provenance.product,
        "RELEASE": provenance.release,
        "ATTRIBUTION": " ".join(provenance.attribution),
        "LICENCE": provenance.licence,
        "IS_SIMULATED": str(field.is_simulated).lower(),
        "YEAR": str(request.year),
        "OPERATOR": request.operator,
        "BASIS_TABLE": f"out_patch__{product.name}_basis" if source.version else "",
        "BASIS_VERSION": source.version,
        "BASIS_SCALE": " ".join(f"{scale:.9g}" for scale in source.scale),
        "QUANTISATION": coded,
    }


def _patch_product(warehouse: Warehouse) -> Product:
    product = warehouse.patch_product
    if product is None:
        raise SourceMissingError(
            f"settings '{warehouse.settings.name}'",
            "no patch product in compare.patches",
            "one",
            "Name one to upsample.",
        )
    return product


def _read_field(warehouse: Warehouse, product: Product, request: WindowRequest) -> PatchField:
    table = f"core_{product.name}__patches"
    stored = sorted({key.year for key in warehouse.partitions(table) if key.year is not None})
    if request.year not in stored:
        raise PartitionMissingError(table, f"{request.year} (stored years: {stored or 'none'})")
    field = read_patch_field(warehouse, product, request.year, request.bbox, (request.operator,))
    if not len(field.places):
        raise SourceMissingError(
            f"window {list(request.bbox)}", f"no patch of {product.title} in or near it", "some",
            "Choose a window inside the area of the settings, or enlarge the area and run again.",
        )  # fmt: skip
    return field
