"""Units, labels and features of an evaluation, read from stored tables.

Belongs here: which stored column is which arm. Does not: folds, probes, scores (`transforms/evaluation.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.alignment import match_keys, take_or
from transforms.evidence_units import UnitKind, Units, units_from_labels
from transforms.places import PixelPlaces
from transforms.pooling.operators import POOLING_OPERATORS
from transforms.pooling.operators import features as pooled_features
from transforms.upsampled_rows import PatchField
from transforms.upsampling.bilinear import BilinearUpsampler
from transforms.upsampling.nearest import NearestUpsampler
from warehouse.fields import read_patch_field, read_pixel_vectors
from warehouse.reader import vectors
from warehouse.store import Warehouse

FloatMatrix = npt.NDArray[np.float32]
Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class LabelledUnits:
    """Units of one grain with what is needed to choose among them.

    Attributes:
        units: labelled places.
        purity: float32 (n,), majority share among labelled cells; 1 for pixels.
        valid_share: float32 (n,), share of the unit that is labelled; 1 for pixels.
        is_simulated: True if labels or places are.
    """

    units: Units
    purity: npt.NDArray[np.float32]
    valid_share: npt.NDArray[np.float32]
    is_simulated: bool


def read_labelled_units(warehouse: Warehouse, kind: UnitKind, label: str, year: int) -> LabelledUnits | None:
    """Read the labelled patches, or the labelled sampled pixels, that stand for an embedding year.

    Returns:
        The units in the order of the shards; None where no such labels are stored.
    """
    label_year = warehouse.label(label).years.get(year)
    table = f"core_label_{label}__{'patches' if kind == 'patch' else 'pixels'}"
    keys = warehouse.partitions(table, year=label_year) if label_year is not None else []
    if not keys:
        return None
    rows = warehouse.read_many(table, keys)
    if kind == "pixel":
        rows = rows.filter(pa.array(_is_sampled(warehouse, rows["pixel_id"].to_numpy(), year)))
    rows = rows.filter(rows["label"].is_valid())
    product = warehouse.patch_product
    half_side = (product.patch_m or 0.0) / 2 if kind == "patch" and product is not None else 0.0
    whole = np.ones(rows.num_rows, np.float32)
    return LabelledUnits(
        units_from_labels(kind, rows, half_side),
        rows["purity"].to_numpy() if kind == "patch" else whole,
        rows["valid_share"].to_numpy() if kind == "patch" else whole,
        any(rows["is_simulated"].to_pylist()),
    )


def read_features(warehouse: Warehouse, arm: str, units: Units, year: int) -> FloatMatrix:
    """Give the features of an arm at units.

    Returns:
        float32 (n, d), NaN rows where the arm has no vector.
    """
    return _READERS[arm](warehouse, units, year)


def read_window(warehouse: Warehouse, year: int) -> tuple[PixelPlaces, npt.NDArray[np.object_], FloatMatrix]:
    """Read the pixels of the kept windows: places, window names, native vectors."""
    product = warehouse.pixel_product
    assert product is not None  # the caller asks for T5 maps only with pixels
    keys = warehouse.partitions(f"core_{product.name}__pixels", year=year)
    places, native, names = read_pixel_vectors(warehouse, product, keys, window=True)
    return places, names, native


def read_field(warehouse: Warehouse, year: int) -> PatchField:
    """Read all patch vectors of a year."""
    product = warehouse.patch_product
    assert product is not None  # the caller asks only with patches
    return read_patch_field(warehouse, product, year)


def map_upsampler(arm: str) -> BilinearUpsampler | NearestUpsampler | None:
    """Give the unfitted upsampler of an arm whose held-out predictions are mapped; None for other arms."""
    if arm == "upsampled_bilinear":
        return BilinearUpsampler()
    return NearestUpsampler() if arm == "upsampled_nearest" else None


def _is_sampled(warehouse: Warehouse, ids: Ids, year: int) -> npt.NDArray[np.bool_]:
    """Tell which pixels belong to the uniform sample of a year: dense windows would outweigh the rest."""
    product = warehouse.pixel_product
    assert product is not None  # pixel labels exist only with a pixel product
    table = f"core_{product.name}__pixels"
    rows = warehouse.read_many(table, warehouse.partitions(table, year=year), ["pixel_id", "in_sample"])
    sampled = rows.filter(rows["in_sample"])["pixel_id"].to_numpy()
    return np.isin(ids, sampled)


def _read_native_patch(warehouse: Warehouse, units: Units, year: int) -> FloatMatrix:
    field = read_field(warehouse, year)
    return take_or(field.vectors, match_keys(units.unit_id, field.places.patch_id), np.nan)


def _read_pooled(operator: str) -> Callable[[Warehouse, Units, int], FloatMatrix]:
    columns = POOLING_OPERATORS[operator].columns

    def read(warehouse: Warehouse, units: Units, year: int) -> FloatMatrix:
        product = warehouse.pixel_product
        assert product is not None  # the arm is listed only with pixels
        table = f"out_patch__{product.name}_pooled"
        rows = warehouse.read_many(table, warehouse.partitions(table, year=year), ["patch_id", *columns])
        stored = pooled_features({name: vectors(rows, name) for name in columns}, operator)
        return take_or(stored, match_keys(units.unit_id, rows["patch_id"].to_numpy()), np.nan)

    return read


def _read_native_pixel(warehouse: Warehouse, units: Units, year: int) -> FloatMatrix:
    product = warehouse.pixel_product
    assert product is not None  # the arm is listed only with pixels
    keys = warehouse.partitions(f"core_{product.name}__pixels", year=year)
    places, values, _ = read_pixel_vectors(warehouse, product, keys, window=False)
    return take_or(values, match_keys(units.unit_id, places.pixel_id), np.nan)


def _read_upsampled_rows(warehouse: Warehouse, year: int, columns: list[str]) -> pa.Table:
    product = warehouse.patch_product
    assert product is not None  # the arm is listed only with patches
    table = f"out_pixel__{product.name}_upsampled"
    return warehouse.read_many(table, warehouse.partitions(table, year=year), ["pixel_id", *columns])


def _read_bilinear(warehouse: Warehouse, units: Units, year: int) -> FloatMatrix:
    rows = _read_upsampled_rows(warehouse, year, ["embedding"])
    return take_or(vectors(rows, "embedding"), match_keys(units.unit_id, rows["pixel_id"].to_numpy()), np.nan)


def _read_nearest(warehouse: Warehouse, units: Units, year: int) -> FloatMatrix:
    rows = _read_upsampled_rows(warehouse, year, ["nearest_patch_id"])
    field = read_field(warehouse, year)
    slot = match_keys(units.unit_id, rows["pixel_id"].to_numpy())
    patch = take_or(rows["nearest_patch_id"].fill_null(0).to_numpy(), slot, 0)
    return take_or(field.vectors, match_keys(patch, field.places.patch_id), np.nan)


def _read_coordinates(warehouse: Warehouse, units: Units, year: int) -> FloatMatrix:
    return np.stack([units.lon, units.lat], axis=1).astype(np.float32)


def _read_nothing(warehouse: Warehouse, units: Units, year: int) -> FloatMatrix:
    return np.zeros((len(units), 1), np.float32)


_READERS: Mapping[str, Callable[[Warehouse, Units, int], FloatMatrix]] = {
    "native_patch": _read_native_patch,
    "pooled_stats": _read_pooled("stats"),
    "pooled_mean": _read_pooled("mean"),
    "patch_coordinates": _read_coordinates,
    "patch_majority": _read_nothing,
    "native_pixel": _read_native_pixel,
    "upsampled_bilinear": _read_bilinear,
    "upsampled_nearest": _read_nearest,
    "pixel_coordinates": _read_coordinates,
    "pixel_majority": _read_nothing,
}
