"""What every label source offers, and the provenance of its rows.

Belongs here: the contracts and what all kinds share. Does not: any one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from transforms.label_rows import GivenSplit
from transforms.labels import PatchLabels
from transforms.places import PatchPlaces, PixelPlaces
from transforms.shards import Bbox
from warehouse.errors import SourceContentError
from warehouse.file_access import stat_file
from warehouse.label_settings import LabelSettings
from warehouse.provenance import Provenance, SourceFile
from warehouse.store import Warehouse

#: Values without a class that a message names.
_VALUES_NAMED = 5


class PixelLabelSource(Protocol):
    """A source that names the class of pixels."""

    class_names: tuple[str, ...]
    is_simulated: bool

    def label_pixels(self, places: PixelPlaces) -> tuple[npt.NDArray[np.int16], GivenSplit]:
        """Give the class id of each pixel, -1 without a label, and the published split."""
        ...

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these labels."""
        ...


class PatchLabelSource(Protocol):
    """A source that names the classes of patches."""

    class_names: tuple[str, ...]
    is_simulated: bool

    def label_patches(self, places: PatchPlaces) -> tuple[PatchLabels, GivenSplit]:
        """Summarise the labels in each footprint, and give the published split."""
        ...

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these labels."""
        ...


class SampledLabels(Protocol):
    """A source that has a class at any point, so that it says what is where inside a patch."""

    class_names: tuple[str, ...]

    def sample_classes(self, lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
        """Give the class id at points, -1 without a label, in the shape of `lon`."""
        ...


class ValueSource(Protocol):
    """A source of numbers at pixels."""

    is_simulated: bool

    def value_pixels(self, places: PixelPlaces) -> tuple[npt.NDArray[np.float32], GivenSplit]:
        """Give the numbers of each pixel (n, v), NaN without one, and the published split."""
        ...

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these numbers."""
        ...


def file_sources(paths: Sequence[Path]) -> list[SourceFile]:
    """Give files with their ETags, for the footer."""
    facts = [(path, stat_file(path)) for path in paths]
    return [SourceFile(path.name, found.etag if found is not None else "") for path, found in facts]


def name_values(values: Sequence[object]) -> str:
    """Name the first values of a source that have no class."""
    named = ["NULL" if value is None else str(value) for value in values]
    return ", ".join(named[:_VALUES_NAMED]) + (", ..." if len(named) > _VALUES_NAMED else "")


def check_ground(warehouse: Warehouse, name: str, path: Path, bounds: Sequence[Bbox]) -> None:
    """Refuse labels of another place.

    Args:
        warehouse: its shards say what the area of interest is.
        name: the label source.
        path: its files.
        bounds: of all that the source labels: west, south, east, north in degrees.

    Raises:
        SourceContentError: nothing of it touches the area of interest.
    """
    if not touches_area(warehouse, bounds):
        areas = [shard.bbox for shard in warehouse.shards()]
        found, expected = _say_extent(bounds), _say_extent(areas)
        raise SourceContentError(
            str(path),
            [f"ground: found labels of {found}, expected some in the area of interest, {expected}"],
            f"Are these labels of another place, or of another CRS than they say? Set labels.{name}.path.",
        )


def touches_area(warehouse: Warehouse, bounds: Sequence[Bbox]) -> bool:
    """Tell whether any of some boxes touches a shard of the area of interest, whichever way round the world."""
    areas = [shard.bbox for shard in warehouse.shards()]
    return any(
        west + turn <= area[2] and east + turn >= area[0] and south <= area[3] and north >= area[1]
        for west, south, east, north in map(_unwrap, bounds)
        for area in map(_unwrap, areas)
        for turn in (-360.0, 0.0, 360.0)
    )


def _unwrap(box: Bbox) -> Bbox:
    """Let a box across the antimeridian run on beyond 180 degrees."""
    west, south, east, north = box
    return (west, south, east if east >= west else east + 360.0, north)


def _say_extent(boxes: Sequence[Bbox]) -> str:
    west, south, east, north = zip(*map(_unwrap, boxes), strict=True) if boxes else ((0.0,),) * 4
    return f"longitude {min(west):.2f}..{max(east):.2f}, latitude {min(south):.2f}..{max(north):.2f}"


def label_provenance(
    warehouse: Warehouse,
    name: str,
    files: Sequence[SourceFile],
    inputs: Sequence[str],
    *,
    is_simulated: bool,
    notes: Sequence[str] = (),
) -> Provenance:
    """Describe rows that carry the labels of a source.

    Args:
        warehouse: the warehouse.
        name: the label source.
        files: files that were read.
        inputs: tables that were read.
        is_simulated: True if the labels are.
        notes: what the source itself has to say about its labels.
    """
    settings = warehouse.label(name)
    return Provenance(
        product=name,
        release=settings.title or name,
        licence="",
        attribution=(settings.attribution,) if settings.attribution else (),
        is_simulated=is_simulated,
        sources=tuple(files),
        inputs=tuple(inputs),
        notes=(*_training_notes(warehouse, name, settings), *notes),
    )


def _training_notes(warehouse: Warehouse, name: str, settings: LabelSettings) -> list[str]:
    """Say which compared products have seen these labels, or what they were made from, in their training."""
    dataset = settings.dataset or name
    pair = [product for product in (warehouse.pixel_product, warehouse.patch_product) if product is not None]
    return [
        f"{product.title} was trained on '{dataset}': scores on these labels are no independent test of it"
        for product in pair
        if dataset in product.trained_on
    ]
