"""Classes from polygons and points.

Belongs here: features of vector files at pixels and in footprints. Does not: reading the files
(`warehouse/sources/label_vectors.py`), geometry (`transforms/label_geometry.py`).

A pixel has the class of the polygon that holds its centre; a patch, the shares of its own 10 m cells, as with rasters.
A point labels the pixel, and every patch, that it stands in; classes of several points are counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.label_geometry import NOWHERE, count_points
from transforms.label_rows import GivenSplit, no_split
from transforms.labels import NODATA_ID, PatchLabels, summarize_counts
from transforms.places import PatchPlaces, PixelPlaces
from transforms.utm import footprint_boxes, project
from warehouse.errors import SourceContentError
from warehouse.labels.contract import check_ground, file_sources, label_provenance, touches_area
from warehouse.labels.rasters import summarize_footprints
from warehouse.provenance import Provenance
from warehouse.sources.files import is_simulated_glob
from warehouse.sources.label_vectors import LabelLayer, read_label_layers
from warehouse.store import Warehouse

FloatArray = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int16]


def open_vector_labels(warehouse: Warehouse, name: str) -> PolygonLabels | PointLabels:
    """Read the features of a label source.

    Raises:
        SourceContentError: the features are points, but ground outside is to have a class; or none of them touches the
            area of interest, and ground outside has none.
    """
    settings = warehouse.label(name)
    assert settings.path is not None  # the settings demand it for this kind
    layers = read_label_layers(settings.path, settings.column, settings.classes, settings.inside)
    if not layers[0].is_points:
        return PolygonLabels(warehouse, name, layers)
    if settings.outside is not None:
        raise SourceContentError(
            str(settings.path), [f"found points, and outside = '{settings.outside}', expected polygons"],
            f"Points do not say what is not there: leave labels.{name}.outside out.",
        )  # fmt: skip
    return PointLabels(warehouse, name, layers)


class _VectorLabels:
    """What polygons and points share."""

    def __init__(self, warehouse: Warehouse, name: str, layers: Sequence[LabelLayer]) -> None:
        settings = warehouse.label(name)
        assert settings.path is not None  # the settings demand it for this kind
        self._warehouse = warehouse
        self._name = name
        self._layers = layers
        self._notes = [note for layer in layers for note in layer.notes]
        self.class_names = tuple(settings.classes)
        self.is_simulated = is_simulated_glob(settings.path)
        bounds = [layer.bounds() for layer in layers]
        if settings.outside is None:
            check_ground(warehouse, name, settings.path, bounds)
        elif not touches_area(warehouse, bounds):  # an answer, but seldom the one that was meant
            self._notes.append(f"no polygon touches the area of interest: all of it is '{settings.outside}'")

    def provenance(self, inputs: Sequence[str]) -> Provenance:
        """Describe rows that carry these labels."""
        return label_provenance(
            self._warehouse,
            self._name,
            file_sources([layer.path for layer in self._layers]),
            inputs,
            is_simulated=self.is_simulated,
            notes=self._notes,
        )


class PolygonLabels(_VectorLabels):
    """Classes of polygons; ground that none holds has the class `outside` of the settings, or no label."""

    def __init__(self, warehouse: Warehouse, name: str, layers: Sequence[LabelLayer]) -> None:
        super().__init__(warehouse, name, layers)
        outside = warehouse.label(name).outside
        self._outside = NODATA_ID if outside is None else self.class_names.index(outside)

    def label_pixels(self, places: PixelPlaces) -> tuple[Ids, GivenSplit]:
        """Give the class at each pixel centre."""
        return self.sample_classes(places.lon, places.lat), no_split(len(places))

    def label_patches(self, places: PatchPlaces) -> tuple[PatchLabels, GivenSplit]:
        """Summarise the classes at the centres of each footprint's own 10 m cells."""
        return summarize_footprints(places, self), no_split(len(places))

    def sample_classes(self, lon: FloatArray, lat: FloatArray) -> Ids:
        """Give the class of the first polygon that has one, files by path; -1 where only others hold the place."""
        x, y = lon.ravel(), lat.ravel()
        ids = np.full(len(x), self._outside, np.int16)
        is_open = np.ones(len(x), bool)
        for layer in self._layers:
            todo = np.flatnonzero(is_open)
            found = layer.find(x[todo], y[todo])
            held = todo[found != NOWHERE]
            ids[held] = layer.ids[found[found != NOWHERE]]
            is_open[held[ids[held] >= 0]] = False
        return ids.reshape(lon.shape)


class PointLabels(_VectorLabels):
    """Classes of points: they label the places that hold them, and say nothing of other ground."""

    def label_pixels(self, places: PixelPlaces) -> tuple[Ids, GivenSplit]:
        """Give the majority class of the points in each pixel."""
        product = self._warehouse.pixel_product
        assert product is not None  # pixels are labelled only with a pixel product
        boxes = footprint_boxes(places.x_m, places.y_m, product.pixel_m or 0.0)
        return self._count(boxes, places.epsg).label, no_split(len(places))

    def label_patches(self, places: PatchPlaces) -> tuple[PatchLabels, GivenSplit]:
        """Summarise the points in each footprint."""
        return self._count(places.boxes(), places.epsg), no_split(len(places))

    def _count(self, boxes: FloatArray, epsg: npt.NDArray[np.int32]) -> PatchLabels:
        """Summarise the points in boxes of places; a place with a point is labelled as a whole."""
        counts = np.zeros((len(boxes), len(self.class_names)), np.int64)
        for layer in self._layers:
            lon, lat = layer.points()
            for code in np.unique(epsg):
                chosen = np.flatnonzero(epsg == code)
                x, y = (np.asarray(values) for values in project(lon, lat, int(code)))
                counts[chosen] += count_points(boxes[chosen], x, y, layer.ids, len(self.class_names))
        return summarize_counts(counts, (counts.sum(axis=1) > 0).astype(np.float32))
