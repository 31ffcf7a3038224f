"""The declared Arrow schema of every table: the single truth.

Belongs here: columns, types, partitioning, keys and geometry of tables. Does not: paths (`layout.py`), values.
The columns `year` and `shard` live in the path and reappear in every SQL view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from warehouse.errors import SchemaError
from warehouse.products import Product

#: Raised when a stored table must be rebuilt to be read by this code.
SCHEMA_VERSION = 1

_H3_PATCH = [pa.field(f"h3_r{r}", pa.uint64()) for r in (5, 7, 9)]
_H3_PIXEL = [*_H3_PATCH, pa.field("h3_r12", pa.uint64())]
_LONLAT = [pa.field("lon", pa.float64()), pa.field("lat", pa.float64())]
_SIMULATED = pa.field("is_simulated", pa.bool_())
_WKB = pa.field("geometry", pa.binary())


@dataclass(frozen=True)
class TableSpec:
    """One table.

    Attributes:
        name: asset key, folder and SQL view.
        schema: columns in order; `geometry` (WKB, EPSG:4326) becomes GeoParquet on writing.
        partition_by: levels of the path.
        sort_by: columns that rows are sorted by (geohash keys sort along a Z-order curve).
        geometry: type of the geometry column, or None.
        description: one sentence for the catalogue and the UI.
        is_cells: True where a partition is a set of evidence cells.
    """

    name: str
    schema: pa.Schema
    partition_by: tuple[Literal["year", "shard"], ...]
    sort_by: tuple[str, ...]
    geometry: Literal["Point", "Polygon"] | None
    description: str
    is_cells: bool = field(default=False)


def vector_type(dims: int, *, is_quantised: bool = False) -> pa.DataType:
    """Give the type of a vector column: a fixed-size list of float32, or of int8 codes."""
    return pa.list_(pa.int8() if is_quantised else pa.float32(), dims)


def build_specs(
    products: Mapping[str, Product], *, labels: Mapping[str, int], pixels: str | None, patches: str | None
) -> dict[str, TableSpec]:
    """Declare all tables of a warehouse.

    Args:
        products: the products that have sources, by name.
        labels: label source -> number of classes.
        pixels: product that is pooled, or None.
        patches: product that is upsampled, or None.

    Returns:
        Spec by table name.

    Raises:
        SchemaError: a product or label has the name of another table's source, e.g. `grid`.
    """
    specs = [_shards(), _patch_spine()]
    for name, product in products.items():
        specs.append(_index(name))
        specs.append(_patches(product) if product.grain == "patch" else _pixels(product))
    for label, n_classes in labels.items():
        specs += [_label_pixels(label), _label_patches(label, n_classes)]
    if pixels is not None:
        specs.append(_pooled(products[pixels]))
    if patches is not None:
        specs.append(_upsampled(products[patches]))
    specs += _evidence()
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SchemaError(twice[0], [f"found {len(twice)} tables declared twice {twice}, expected one each"])
    return {spec.name: spec for spec in specs}


def _index(name: str) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("year", pa.int32()),
            pa.field("tile", pa.string()),
            pa.field("path", pa.string()),
            pa.field("epsg", pa.int32()),
            *[pa.field(f"utm_{side}_m", pa.float64()) for side in ("west", "south", "east", "north")],
            *[pa.field(f"{side}_deg", pa.float64()) for side in ("west", "south", "east", "north")],
            pa.field("size_bytes", pa.int64()),
            pa.field("etag", pa.string()),
            pa.field("product", pa.string()),
            _SIMULATED,
        ]
    )
    text = f"One row per published file of {name} that touches the area of interest: year, tile, path, bounds."
    return TableSpec(f"raw_{name}__index", schema, (), ("year", "path"), None, text)


def _shards() -> TableSpec:
    schema = pa.schema(
        [
            pa.field("shard", pa.string()),
            pa.field("rule", pa.string()),
            pa.field("epsg", pa.int32()),
            pa.field("area_km2", pa.float64()),
            pa.field("expected_patches", pa.int64()),
            pa.field("expected_pixels", pa.int64()),
            *_LONLAT,
            _SIMULATED,
            _WKB,
        ]
    )
    text = "One row per shard of the area of interest: the unit in which everything is read and written."
    return TableSpec("core_grid__shards", schema, (), ("shard",), "Polygon", text)


def _patch_spine() -> TableSpec:
    schema = pa.schema(
        [
            pa.field("patch_id", pa.uint64()),
            pa.field("lattice", pa.string()),
            pa.field("row", pa.int32()),
            pa.field("col", pa.int32()),
            *_LONLAT,
            pa.field("epsg", pa.int32()),
            pa.field("x_m", pa.float64()),
            pa.field("y_m", pa.float64()),
            pa.field("side_m", pa.float64()),
            *_H3_PATCH,
            _SIMULATED,
            _WKB,
        ]
    )
    text = "The spine: one row per patch place of the shard, with its footprint. Pooling targets it."
    return TableSpec("core_grid__patches", schema, ("shard",), ("patch_id",), "Polygon", text)


def _patches(product: Product) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("patch_id", pa.uint64()),
            pa.field("product", pa.string()),
            pa.field("source_id", pa.string()),
            pa.field("embedding", vector_type(product.dims)),
            pa.field("n_copies", pa.int16()),
            pa.field("copies_max_cosine_distance", pa.float32()),
            *_LONLAT,
            *_H3_PATCH,
            _SIMULATED,
            _WKB,
        ]
    )
    text = f"One {product.dims}-d vector per unique patch and year of {product.title}."
    return TableSpec(f"core_{product.name}__patches", schema, ("year", "shard"), ("patch_id",), "Polygon", text)


def _pixels(product: Product) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("pixel_id", pa.uint64()),
            pa.field("product", pa.string()),
            pa.field("epsg", pa.int32()),
            pa.field("x_m", pa.float64()),
            pa.field("y_m", pa.float64()),
            *_LONLAT,
            *_H3_PIXEL,
            pa.field("in_sample", pa.bool_()),
            pa.field("window", pa.string()),
            pa.field(product.pixel_column, vector_type(product.dims, is_quantised=product.is_quantised)),
            _SIMULATED,
            _WKB,
        ]
    )
    text = f"One {product.dims}-d vector per kept pixel and year of {product.title}."
    return TableSpec(f"core_{product.name}__pixels", schema, ("year", "shard"), ("pixel_id",), "Point", text)


def _label_pixels(label: str) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("pixel_id", pa.uint64()),
            pa.field("label_source", pa.string()),
            pa.field("label", pa.int16()),
            pa.field("class_name", pa.string()),
            *_LONLAT,
            pa.field("h3_r9", pa.uint64()),
            pa.field("given_fold", pa.int16()),
            pa.field("given_group", pa.int32()),
            _SIMULATED,
        ]
    )
    text = f"The class of each kept pixel after {label}; the partition's year is the label year."
    return TableSpec(f"core_label_{label}__pixels", schema, ("year", "shard"), ("pixel_id",), None, text)


def _label_patches(label: str, n_classes: int) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("patch_id", pa.uint64()),
            pa.field("label_source", pa.string()),
            pa.field("label", pa.int16()),
            pa.field("class_name", pa.string()),
            pa.field("purity", pa.float32()),
            pa.field("fractions", pa.list_(pa.float32(), n_classes)),
            pa.field("multi_label", pa.list_(pa.bool_(), n_classes)),
            pa.field("valid_share", pa.float32()),
            *_LONLAT,
            pa.field("h3_r7", pa.uint64()),
            pa.field("given_fold", pa.int16()),
            pa.field("given_group", pa.int32()),
            _SIMULATED,
        ]
    )
    text = f"Majority class, purity, fractions and multi-label of each patch after {label}."
    return TableSpec(f"core_label_{label}__patches", schema, ("year", "shard"), ("patch_id",), None, text)


def _pooled(product: Product) -> TableSpec:
    vector = vector_type(product.dims)
    schema = pa.schema(
        [
            pa.field("patch_id", pa.uint64()),
            pa.field("product", pa.string()),
            *_LONLAT,
            pa.field("n_pixels", pa.int32()),
            pa.field("valid_fraction", pa.float32()),
            pa.field("mean", vector),
            pa.field("mean_renormalised", vector),
            pa.field("mean_length", pa.float32()),
            pa.field("std", vector),
            pa.field("min", vector),
            pa.field("max", vector),
            _SIMULATED,
        ]
    )
    text = f"Pixels of {product.title} pooled per patch, one column per operator."
    return TableSpec(f"out_patch__{product.name}_pooled", schema, ("year", "shard"), ("patch_id",), None, text)


def _upsampled(product: Product) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("pixel_id", pa.uint64()),
            pa.field("product", pa.string()),
            pa.field("method", pa.string()),
            *_LONLAT,
            pa.field("nearest_patch_id", pa.uint64()),
            pa.field("support", pa.float32()),
            pa.field("embedding", vector_type(product.dims)),
            _SIMULATED,
        ]
    )
    text = f"Patch vectors of {product.title} interpolated to the sampled pixels, full width."
    return TableSpec(
        f"out_pixel__{product.name}_upsampled", schema, ("year", "shard"), ("pixel_id", "method"), None, text
    )


def _evidence() -> list[TableSpec]:
    return [
        TableSpec(
            "out_probe__folds",
            _folds_schema(),
            ("year",),
            ("unit", "scheme", "unit_id"),
            None,
            "Which fold, block and buffer every patch and pixel belongs to; shared by both grains.",
        ),
        TableSpec(
            "out_probe__metrics",
            _metrics_schema(),
            ("year",),
            ("task", "scheme", "arm", "fold", "metric"),
            None,
            "One row per arm, probe, fold and metric; failed cells are rows with a status.",
            is_cells=True,
        ),
        TableSpec(
            "out_probe__confusions",
            _confusions_schema(),
            ("year",),
            ("task", "scheme", "arm", "fold", "block_id", "truth", "pred"),
            None,
            "Confusion counts per spatial block, so that every metric and interval can be recomputed.",
            is_cells=True,
        ),
        TableSpec(
            "out_probe__predictions",
            _predictions_schema(),
            ("year",),
            ("arm", "pixel_id"),
            None,
            "Held-out predictions of the T5 arms at the pixels of the kept windows, for maps.",
            is_cells=True,
        ),
        TableSpec(
            "out_probe__contrasts",
            _contrasts_schema(),
            ("year",),
            ("question", "task", "scheme", "arm"),
            None,
            "Arm minus reference with the paired block interval, and the verdict.",
        ),
    ]


def _folds_schema() -> pa.Schema:
    return pa.schema(
        [
            pa.field("unit", pa.string()),
            pa.field("unit_id", pa.uint64()),
            pa.field("shard", pa.string()),
            pa.field("label_source", pa.string()),
            pa.field("scheme", pa.string()),
            pa.field("block_id", pa.int64()),
            pa.field("fold", pa.int16()),
            pa.field("region", pa.string()),
            pa.field("in_buffer_of", pa.list_(pa.int16())),
            _SIMULATED,
        ]
    )


def _metrics_schema() -> pa.Schema:
    text, real, whole = pa.string(), pa.float64(), pa.int64()
    return pa.schema(
        [
            ("run_id", text),
            ("code_rev", text),
            ("created_at", text),
            ("question", text),
            ("task", text),
            ("label_source", text),
            ("label_year", whole),
            ("label_rule", text),
            ("region", text),
            ("scheme", text),
            ("fold", whole),
            ("split", text),
            ("arm", text),
            ("arm_family", text),
            ("source_product", text),
            ("dims", whole),
            ("bytes_per_km2", real),
            ("uses_guide", pa.bool_()),
            ("fitted_in_fold", pa.bool_()),
            ("probe", text),
            ("probe_params", whole),
            ("hp", text),
            ("init", text),
            ("budget_kind", text),
            ("budget", real),
            ("draw", whole),
            ("seed", whole),
            ("purity_min", real),
            ("stratum", text),
            ("stratum_value", text),
            ("class_id", whole),
            ("class_name", text),
            ("metric", text),
            ("averaging", text),
            ("threshold_rule", text),
            ("tolerance_px", real),
            ("k", whole),
            ("value", real),
            ("n_units", whole),
            ("n_blocks", whole),
            ("support", whole),
            ("seconds", real),
            ("status", text),
            _SIMULATED,
        ]
    )


def _confusions_schema() -> pa.Schema:
    text, whole = pa.string(), pa.int64()
    return pa.schema(
        [
            ("run_id", text),
            ("task", text),
            ("label_source", text),
            ("scheme", text),
            ("arm", text),
            ("probe", text),
            ("fold", whole),
            ("block_id", whole),
            ("budget", pa.float64()),
            ("draw", whole),
            ("seed", whole),
            ("truth", pa.int16()),
            ("pred", pa.int16()),
            ("band", text),
            ("n", whole),
            _SIMULATED,
        ]
    )


def _predictions_schema() -> pa.Schema:
    return pa.schema(
        [
            ("task", pa.string()),
            ("label_source", pa.string()),
            ("scheme", pa.string()),
            ("arm", pa.string()),
            ("fold", pa.int64()),
            ("pixel_id", pa.uint64()),
            ("window", pa.string()),
            ("epsg", pa.int32()),
            ("x_m", pa.float64()),
            ("y_m", pa.float64()),
            ("truth", pa.int16()),
            ("pred", pa.int16()),
            _SIMULATED,
        ]
    )


def _contrasts_schema() -> pa.Schema:
    text, real = pa.string(), pa.float64()
    return pa.schema(
        [
            ("question", text),
            ("task", text),
            ("label_source", text),
            ("scheme", text),
            ("probe", text),
            ("budget", real),
            ("metric", text),
            ("arm", text),
            ("reference", text),
            ("arm_value", real),
            ("reference_value", real),
            ("delta", real),
            ("lo", real),
            ("hi", real),
            ("p", real),
            ("p_holm", real),
            ("margin", real),
            ("verdict", text),
            ("is_primary", pa.bool_()),
            ("n_blocks", pa.int64()),
            ("block_wins", pa.int64()),
            ("method", text),
            ("status", text),
            ("note", text),
            _SIMULATED,
        ]
    )
