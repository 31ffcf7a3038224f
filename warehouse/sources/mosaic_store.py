"""A Zarr v3 mosaic of pixel codes in degrees: opening it, what it must be, reading boxes of pixels.

Source: the AlphaEarth mosaic of TGE Labs on Source Cooperative; layout in `design/formats.md`, 1. Belongs here: the
group with the array `embeddings` and the coordinate `time`. Does not: windows in metres (`aef_zarr.py`).

`zarr` is an extra and is imported when a mosaic is opened, and only here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.degree_grid import DegreeGrid
from warehouse.errors import BandCountError, MissingPackageError, SourceFormatError, SourceMissingError
from warehouse.file_access import is_there
from warehouse.file_paths import FileFacts, FilePath, RemotePath
from warehouse.products import Product

#: Array, metadata and coordinate of the published group.
ARRAY = "embeddings"
METADATA = "zarr.json"
TIME = "time"
_AXES = ("time", "band", "y", "x")
#: Names of attributes with the CRS and with the affine (pixel size, 0, west, 0, -pixel size, north), by preference; on
#: the array, else on its group.
_CRS_NAMES = ("proj:code", "crs")
_AFFINE_NAMES = ("spatial:transform", "transform")
_CRS = "EPSG:4326"
#: A pixel size that differs by less, relatively, is a rounding of the attribute.
_PITCH_TOLERANCE = 1e-9
_YEARS = range(1900, 2200)
#: What zarr and its codecs raise on bytes that are not what was written.
_DAMAGE = (ValueError, RuntimeError, OSError)
_SINCE = re.compile(r"^(days|hours|minutes|seconds|milliseconds|microseconds|nanoseconds) since (\d{4}-\d{2}-\d{2})")
_UNITS = {"days": "D", "hours": "h", "minutes": "m", "seconds": "s", "milliseconds": "ms", "microseconds": "us",
          "nanoseconds": "ns"}  # fmt: skip
_FIX = "Is this another mosaic or release? Correct the root, or register the store as a product of its own."


@dataclass(frozen=True)
class Mosaic:
    """An open mosaic whose layout was checked.

    Attributes:
        path: of the store, for messages.
        grid: its pixels.
        years: calendar years in the order of its first axis.
        shard_px: (rows, columns) of a stored file; of a chunk where the store has no shards.
        array: the `zarr` array (time, band, y, x).
    """

    path: FilePath
    grid: DegreeGrid
    years: tuple[int, ...]
    shard_px: tuple[int, int]
    array: Any

    def find_year(self, year: int) -> int:
        """Give the position of a year.

        Raises:
            SourceMissingError: the store does not have it.
        """
        if year not in self.years:
            raise missing_year_error(self, [year])
        return self.years.index(year)

    def shard_key(self, time: int, row: int, column: int) -> str:
        """Give the path, below the root, of one stored file."""
        return f"{ARRAY}/{self.array.metadata.encode_chunk_key((time, 0, row, column))}"

    def read(self, year: int, rows: slice, cols: slice) -> npt.NDArray[np.int8]:
        """Read all bands of a box of pixels.

        Args:
            year: calendar year.
            rows: of the grid.
            cols: of the grid.

        Returns:
            int8 (band, height, width); nodata where the store has no chunk.

        Raises:
            SourceMissingError: the store does not have the year.
            SourceFormatError: a chunk does not decode, or its checksum is wrong.
        """
        time = self.find_year(year)
        try:
            return self._decode(time, rows, cols)
        except _DAMAGE as error:
            shards = ", ".join(self._find_damaged(time, rows, cols))
            raise SourceFormatError(
                str(self.path), f"chunks of rows {rows.start}..{rows.stop}, columns {cols.start}..{cols.stop}, {year}",
                f"one that does not decode ({error})", "chunks that decode",
                f"The store is damaged: download {shards} again.",
            ) from error  # fmt: skip

    def _decode(self, time: int, rows: slice, cols: slice) -> npt.NDArray[np.int8]:
        codes: npt.NDArray[np.int8] = self.array[time, :, rows, cols]
        return codes

    def _find_damaged(self, time: int, rows: slice, cols: slice) -> list[str]:
        """Give the paths of the stored files of which a part of a box does not decode; all where each does now."""
        height, width = self.shard_px
        touched, damaged = [], []
        for row in range(rows.start // height, (rows.stop - 1) // height + 1):
            for column in range(cols.start // width, (cols.stop - 1) // width + 1):
                part_rows = slice(max(rows.start, row * height), min(rows.stop, (row + 1) * height))
                part_cols = slice(max(cols.start, column * width), min(cols.stop, (column + 1) * width))
                touched.append(self.shard_key(time, row, column))
                try:
                    self._decode(time, part_rows, part_cols)
                except _DAMAGE:
                    damaged.append(touched[-1])
        return damaged or touched


def missing_year_error(mosaic: Mosaic, years: Sequence[int]) -> SourceMissingError:
    """Say that a store has none of some years."""
    return SourceMissingError(
        f"mosaic {mosaic.path}", f"no year {', '.join(map(str, years))} in its coordinate '{TIME}'",
        f"one of {list(mosaic.years)}", "Correct years in the settings, or take a newer copy of the mosaic.",
    )  # fmt: skip


def open_mosaic(root: FilePath, product: Product, versions: Mapping[str, FileFacts] = MappingProxyType({})) -> Mosaic:
    """Open a mosaic and check that it is what its product declares; reads metadata only.

    Args:
        root: folder of the Zarr group, or its URL, with `zarr.json` in it.
        product: registry entry; its `pixel_deg` says how large a pixel is.
        versions: of remote files that must be read as the index saw them, by path below the root.

    Returns:
        The mosaic.

    Raises:
        MissingPackageError: `zarr` is not installed.
        SourceMissingError: there is no group, or no array or coordinate in it.
        SourceFormatError: type, fill value, axes, CRS, pixel size or years are not as declared; all are listed.
        BandCountError: the store does not have one band per dimension.
    """
    group = _open_group(root, versions)
    array, time = _member(group, ARRAY, root), _member(group, TIME, root)
    if array.ndim != len(_AXES):
        raise SourceFormatError(str(root), f"axes of '{ARRAY}'", array.shape, "(time, band, y, x)", _FIX)
    if array.shape[1] != product.dims:
        raise BandCountError(str(root / ARRAY), array.shape[1], product.dims)
    attributes = {**dict(group.attrs), **dict(array.attrs)}
    problems = [*_check_values(array, product), *_check_axes(array), *_check_place(attributes, product)]
    years = _decode_years(time)
    if len(years) != array.shape[0] or len(set(years)) != len(years):
        problems.append((f"coordinate '{TIME}'", list(years), f"{array.shape[0]} different years"))
    if problems:
        what, found, expected = ([str(item) for item in part] for part in zip(*problems, strict=True))
        raise SourceFormatError(str(root), ", ".join(what), ", ".join(found), ", ".join(expected), _FIX)
    affine = _attribute(attributes, _AFFINE_NAMES)
    grid = DegreeGrid(float(affine[2]), float(affine[5]), float(affine[0]), array.shape[2], array.shape[3])
    shard = array.shards or array.chunks
    return Mosaic(root, grid, years, (int(shard[2]), int(shard[3])), array)


def import_zarr(what: str) -> Any:
    """Give the module `zarr`.

    Args:
        what: needs it, for the message.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingPackageError("zarr", what, "zarr") from error
    return zarr


def _open_group(root: FilePath, versions: Mapping[str, FileFacts]) -> Any:
    zarr = import_zarr(f"the mosaic {root}")
    if not is_there(root / METADATA):
        raise SourceMissingError(
            f"mosaic {root}", "no zarr.json", "the folder of a Zarr v3 group",
            "Correct the root of the source: the folder that holds zarr.json and embeddings/.",
        )  # fmt: skip
    with _metadata_errors(root):
        return zarr.open_group(_open_store(zarr, root, versions), mode="r", zarr_format=3)


def _open_store(zarr: Any, root: FilePath, versions: Mapping[str, FileFacts]) -> Any:
    if not isinstance(root, RemotePath):
        return zarr.storage.LocalStore(root, read_only=True)
    from warehouse.sources.remote_zarr import RemoteZarrStore

    return RemoteZarrStore(root, versions)


def _member(group: Any, name: str, root: FilePath) -> Any:
    """Give an array of the group."""
    with _metadata_errors(root):
        found = group.get(name)
    if found is None or not hasattr(found, "shape"):
        raise SourceMissingError(f"mosaic {root}", f"no array '{name}'", f"arrays '{ARRAY}' and '{TIME}'", _FIX)
    return found


@contextmanager
def _metadata_errors(root: FilePath) -> Iterator[None]:
    """Turn what zarr raises on metadata that it cannot read into a source error."""
    try:
        yield
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise SourceFormatError(
            str(root), "zarr.json", f"metadata that zarr refuses ({error})", "a Zarr v3 group", "Download it again."
        ) from error


def _check_values(array: Any, product: Product) -> list[tuple[str, object, object]]:
    problems: list[tuple[str, object, object]] = []
    if array.dtype != np.int8:
        problems.append(("data type", array.dtype, "int8"))
    elif int(array.fill_value) != product.nodata:
        problems.append(("fill value", int(array.fill_value), product.nodata))
    return problems


def _check_axes(array: Any) -> list[tuple[str, object, object]]:
    """Check the names of the axes where the store has them; the second is `band` or `embedding` in the wild."""
    names = array.metadata.dimension_names
    if names is None or (names[0], *names[2:]) == (_AXES[0], *_AXES[2:]):
        return []
    return [("axes", tuple(names), _AXES)]


def _check_place(attributes: dict[str, Any], product: Product) -> list[tuple[str, object, object]]:
    problems: list[tuple[str, object, object]] = []
    crs = _attribute(attributes, _CRS_NAMES)
    if crs != _CRS:
        problems.append(("CRS (attribute 'proj:code')", crs, _CRS))
    affine = _attribute(attributes, _AFFINE_NAMES)
    what = "affine (attribute 'spatial:transform')"
    if not (isinstance(affine, list) and len(affine) >= 6 and all(isinstance(v, int | float) for v in affine[:6])):
        return [*problems, (what, affine, "six numbers")]
    step, skew_x, _, skew_y, down, _ = (float(value) for value in affine[:6])
    if skew_x or skew_y or not step > 0 or down != -step:
        problems.append((what, affine[:6], "square pixels, no rotation, row 0 the northernmost"))
    elif product.pixel_deg is not None and abs(step / product.pixel_deg - 1) > _PITCH_TOLERANCE:
        problems.append(("pixel size", f"{step!r} degrees", f"{product.pixel_deg!r} degrees"))
    return problems


def _attribute(attributes: dict[str, Any], names: Sequence[str]) -> Any:
    return next((attributes[name] for name in names if name in attributes), None)


def _decode_years(time: Any) -> tuple[int, ...]:
    """Give the calendar years of the coordinate: years themselves, dates, or a count since a date (CF `units`)."""
    values = np.asarray(time[:])
    match = _SINCE.match(str(dict(time.attrs).get("units", "")))
    if match is not None:
        values = np.datetime64(match[2]) + values.astype(np.int64).astype(f"timedelta64[{_UNITS[match[1]]}]")
    if values.dtype.kind == "M":
        values = values.astype("datetime64[Y]").astype(np.int64) + 1970
    return tuple(int(value) for value in values.ravel() if int(value) in _YEARS)
