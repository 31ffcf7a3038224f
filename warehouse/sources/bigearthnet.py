"""BigEarthNet: patch folders of version 1, the metadata file of version 2, and the published lists.

Belongs here: what these files look like and the checks that they are what they should be. Does not: class maps
(`transforms/bigearthnet.py`), matching patches to places (`warehouse/labels/bigearthnet.py`), which files there are
(`bigearthnet_files.py`).

v1: a folder a patch, `{name}/{name}_labels_metadata.json` (43-class names, corners, projection) and
`{name}_{band}.tif`; lists of names in `train.csv`, `val.csv`, `test.csv`, `patches_with_seasonal_snow.csv` and
`patches_with_cloud_and_shadow.csv`. v2: one row a patch in a Parquet file, 19-class names, no footprints.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyproj

from transforms.bigearthnet import CLASSES_19, CLASSES_43
from transforms.utm import UtmBox
from warehouse.errors import MissingColumnsError, SourceContentError, SourceFormatError, SourceMissingError
from warehouse.sources.bigearthnet_files import CLOUD_FILE, METADATA, SNOW_FILE, SPLIT_FILES, look_at_metadata
from warehouse.sources.files import read_parquet
from warehouse.sources.rasters import open_raster

#: Edge of a patch, metres.
PATCH_M = 1_200.0
#: Bands of a patch by pitch: 10, 20 and 60 m, so 120, 60 and 20 pixels a side.
BAND_PX = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 120),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 60),
    **dict.fromkeys(("B01", "B09"), 20),
}
_V2_COLUMNS = ("patch_id", "labels", "split", "contains_seasonal_snow", "contains_cloud_or_shadow")
_V2_SPLITS = ("train", "validation", "test")
#: Name of the same patch in v1; only newer metadata have it.
_V1_NAME = "s2v1_name"


@dataclass(frozen=True)
class BigEarthNetPatches:
    """Labelled patches, as parallel sequences.

    Attributes:
        names: name of each patch, and its name in v1 where the metadata know it; unique.
        labels: class names of each patch.
        n_classes: size of the nomenclature of `labels`, 19 or 43.
        split: str (n,), train, validation, test, or empty where no list names the patch.
        is_clear: bool (n,), False where the published lists name snow, cloud or shadow.
        boxes: footprints; empty where the files have none (v2).
    """

    names: tuple[tuple[str, ...], ...]
    labels: tuple[tuple[str, ...], ...]
    n_classes: int
    split: npt.NDArray[np.str_]
    is_clear: npt.NDArray[np.bool_]
    boxes: tuple[UtmBox, ...]

    def __len__(self) -> int:
        return len(self.names)


def read_bigearthnet(path: Path, lists: Path | None = None) -> BigEarthNetPatches:
    """Read all patches below a folder (v1) or of a metadata file (v2).

    Args:
        path: the folder of the patch folders, or the Parquet file.
        lists: folder of the published lists (v1); None = the patches' own, where lists may be absent.

    Raises:
        SourceMissingError: there is nothing of the kind, or `lists` holds no list.
        SourceFormatError, MissingColumnsError, SourceContentError: a file is not as published.
    """
    if path.is_dir():
        return _read_v1(path, lists)
    return _read_v2(path)


def read_band(folder: Path, band: str) -> npt.NDArray[np.uint16]:
    """Read one band of a patch folder.

    Args:
        folder: the folder of one patch, named as the patch.
        band: e.g. `B02`; see `BAND_PX`.

    Returns:
        uint16 (side, side), north up, reflectance times 10,000; 120, 60 or 20 pixels a side.

    Raises:
        SourceMissingError: there is no such band file.
        SourceFormatError: it is damaged, or of another size or type.
    """
    path = folder / f"{folder.name}_{band}.tif"
    with open_raster(path) as dataset:
        side = BAND_PX[band]
        found = (dataset.count, dataset.height, dataset.width, dataset.dtypes[0])
        if found != (1, side, side, "uint16"):
            raise SourceFormatError(
                str(path), "bands, rows, columns, type", found, (1, side, side, "uint16"), "Download it again."
            )
        values: npt.NDArray[np.uint16] = dataset.read(1)
        return values


def _read_v1(root: Path, lists: Path | None) -> BigEarthNetPatches:
    records = dict(sorted(_iter_metadata(root)))
    if not records:
        raise SourceMissingError(
            f"BigEarthNet patches in {root}", f"no */*{METADATA}", "a folder a patch",
            "Set labels.*.path to the folder that holds the patch folders, or to the metadata file of v2.",
        )  # fmt: skip
    places = {name: _read_list(lists or root, file) for name, file in SPLIT_FILES.items()}
    unclear = [_read_list(lists or root, file) for file in (SNOW_FILE, CLOUD_FILE)]
    if lists is not None and not any(found is not None for found in (*places.values(), *unclear)):
        raise SourceMissingError(
            f"BigEarthNet lists in {lists}", "none", [*SPLIT_FILES.values(), SNOW_FILE, CLOUD_FILE],
            "Correct labels.*.lists, or leave it out.",
        )  # fmt: skip
    split_of = {patch: name for name, patches in places.items() for patch in patches or ()}
    dirty = {patch for patches in unclear for patch in patches or ()}
    return BigEarthNetPatches(
        tuple((name,) for name in records),
        tuple(tuple(record["labels"]) for record in records.values()),
        len(CLASSES_43),
        np.array([split_of.get(name, "") for name in records], np.str_),
        np.array([name not in dirty for name in records], bool),
        tuple(_read_box(record, name) for name, record in records.items()),
    )


def _iter_metadata(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in (Path(found) for found, _ in look_at_metadata(root)):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # not JSON, or not UTF-8
            raise SourceFormatError(str(path), "JSON", error, "the published metadata", "Download it again.") from error
        missing = [key for key in ("labels", "coordinates", "projection") if key not in record]
        if missing:
            raise MissingColumnsError(str(path), missing, sorted(record), "Download it again.")
        yield path.name.removesuffix(METADATA), record


def _read_box(record: Mapping[str, Any], name: str) -> UtmBox:
    corners = record["coordinates"]
    box = (corners["ulx"], corners["lry"], corners["lrx"], corners["uly"])
    epsg = pyproj.CRS.from_user_input(record["projection"]).to_epsg()
    sides = (box[2] - box[0], box[3] - box[1])
    if epsg is None or sides != (PATCH_M, PATCH_M):
        raise SourceContentError(
            name + METADATA, [f"found EPSG {epsg} and sides {sides} m, expected a UTM zone and {PATCH_M:.0f} m"],
            "Download it again.",
        )  # fmt: skip
    return UtmBox(int(epsg), *(float(side) for side in box))


def _read_list(folder: Path, file: str) -> frozenset[str] | None:
    """Read the patch names of a published list, its first column; None where there is no such list."""
    path = folder / file
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as lines:
        return frozenset(row[0].strip() for row in csv.reader(lines) if row)


def _read_v2(path: Path) -> BigEarthNetPatches:
    table = read_parquet(path)
    missing = [name for name in _V2_COLUMNS if name not in table.column_names]
    if missing:
        raise MissingColumnsError(
            str(path), missing, table.column_names, "Is this the metadata file of BigEarthNet v2?"
        )
    names = [str(name) for name in table["patch_id"].to_pylist()]
    other = table[_V1_NAME].to_pylist() if _V1_NAME in table.column_names else [None] * len(names)
    split = table["split"].to_pylist()
    labels = table["labels"].to_pylist()
    _check_v2(path, names, split, labels)
    is_unclear = _flags(table, "contains_seasonal_snow") | _flags(table, "contains_cloud_or_shadow")
    return BigEarthNetPatches(
        tuple((name, *([old] if old else [])) for name, old in zip(names, other, strict=True)),
        tuple(tuple(of_patch or ()) for of_patch in labels),
        len(CLASSES_19),
        np.array(split, np.str_),
        ~is_unclear,
        (),
    )


def _check_v2(path: Path, names: Sequence[str], split: Sequence[str], labels: Sequence[Any]) -> None:
    problems = []
    if len(set(names)) != len(names):
        problems.append(f"patch_id: found {len(names) - len(set(names))} names twice, expected each once")
    strangers = sorted({str(value) for value in split} - set(_V2_SPLITS))
    if strangers:
        problems.append(f"split: found {strangers}, expected {list(_V2_SPLITS)}")
    if labels and not isinstance(labels[0], list):
        problems.append(f"labels: found {type(labels[0]).__name__}, expected a list of class names")
    if problems:
        raise SourceContentError(str(path), problems, "Download it again.")


def _flags(table: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    return np.asarray(table[name].cast(pa.bool_()).fill_null(False).to_numpy(), bool)
