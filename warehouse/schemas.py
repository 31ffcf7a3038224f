"""The declared Arrow schema of every table: the single truth.

Belongs here: the list of all tables, and the tables of sources and places. Does not: what crosses the grains
(`derived_schemas.py`), evidence (`evidence_schemas.py`), paths (`layout.py`), values.
The columns `year` and `shard` live in the path and reappear in every SQL view.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa

from warehouse.adapter_schemas import adapter_specs
from warehouse.derived_schemas import basis_spec, codebook_spec, fitted_columns, pooled_spec, upsampled_spec
from warehouse.errors import SchemaError
from warehouse.evidence_schemas import evidence_specs
from warehouse.products import Product, join_releases
from warehouse.sections import PoolSettings, UpsampleSettings
from warehouse.table_spec import H3_PATCH, H3_PIXEL, LONLAT, SIMULATED, WKB, TableSpec, vector_type


def build_specs(
    products: Mapping[str, Product],
    *,
    labels: Mapping[str, int],
    values: Mapping[str, int] = MappingProxyType({}),
    pixels: str | None,
    patches: str | None,
    pool: PoolSettings | None = None,
    upsample: UpsampleSettings | None = None,
    has_adapter: bool = False,
) -> dict[str, TableSpec]:
    """Declare all tables of a warehouse.

    Args:
        products: the products that have sources, by name.
        labels: label source -> number of classes.
        values: label source of numbers -> how many a pixel.
        pixels: product that is pooled, or None.
        patches: product that is upsampled, or None.
        pool: operators that pool pixels; None = the default ones.
        upsample: operators that upsample patches; None = the default ones.
        has_adapter: True where the settings study an adapter.

    Returns:
        Spec by table name.

    Raises:
        SchemaError: a product or label has the name of another table's source, e.g. `grid`.
    """
    specs = [_shards(), _patch_spine(products[patches].release if patches is not None else "")]
    for name, product in products.items():
        specs.append(_index(name))
        specs.append(_patches(product) if product.grain == "patch" else _pixels(product))
    for label, n_classes in labels.items():
        specs += [_label_pixels(label), _label_patches(label, n_classes)]
    specs += [_label_values(label, count) for label, count in values.items()]
    if pixels is not None:
        pool = pool or PoolSettings()
        specs.append(pooled_spec(products[pixels], pool))
        if fitted_columns(pool):
            specs.append(codebook_spec(products[pixels]))
    if patches is not None:
        specs += [
            basis_spec(products[patches]),
            upsampled_spec(
                products[patches],
                upsample or UpsampleSettings(),
                join_releases([products[name] for name in (pixels, patches) if name is not None]),
            ),
        ]
    specs += evidence_specs()
    if has_adapter:
        specs += adapter_specs()
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
            SIMULATED,
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
            *LONLAT,
            SIMULATED,
            WKB,
        ]
    )
    text = "One row per shard of the area of interest: the unit in which everything is read and written."
    return TableSpec("core_grid__shards", schema, (), ("shard",), "MultiPolygon", text)


def _patch_spine(release: str) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("patch_id", pa.uint64()),
            pa.field("lattice", pa.string()),
            pa.field("row", pa.int32()),
            pa.field("col", pa.int32()),
            *LONLAT,
            pa.field("epsg", pa.int32()),
            pa.field("x_m", pa.float64()),
            pa.field("y_m", pa.float64()),
            pa.field("side_m", pa.float64()),
            *H3_PATCH,
            SIMULATED,
            WKB,
        ]
    )
    text = "The spine: one row per patch place of the shard, with its footprint. Pooling targets it."
    return TableSpec("core_grid__patches", schema, ("shard",), ("patch_id",), "Polygon", text, release=release)


def _patches(product: Product) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("patch_id", pa.uint64()),
            pa.field("product", pa.string()),
            pa.field("source_id", pa.string()),
            pa.field("embedding", vector_type(product.dims)),
            pa.field("n_copies", pa.int16()),
            pa.field("copies_max_cosine_distance", pa.float32()),
            *LONLAT,
            *H3_PATCH,
            SIMULATED,
            WKB,
        ]
    )
    text = f"One {product.dims}-d vector per unique patch and year of {product.title}."
    name = f"core_{product.name}__patches"
    return TableSpec(name, schema, ("year", "shard"), ("patch_id",), "Polygon", text, release=product.release)


def _pixels(product: Product) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("pixel_id", pa.uint64()),
            pa.field("product", pa.string()),
            pa.field("epsg", pa.int32()),
            pa.field("x_m", pa.float64()),
            pa.field("y_m", pa.float64()),
            *LONLAT,
            *H3_PIXEL,
            pa.field("in_sample", pa.bool_()),
            pa.field("window", pa.string()),
            pa.field(product.pixel_column, vector_type(product.dims, is_quantised=product.is_quantised)),
            SIMULATED,
            WKB,
        ]
    )
    text = f"One {product.dims}-d vector per kept pixel and year of {product.title}."
    name = f"core_{product.name}__pixels"
    return TableSpec(name, schema, ("year", "shard"), ("pixel_id",), "Point", text, release=product.release)


def _label_pixels(label: str) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("pixel_id", pa.uint64()),
            pa.field("label_source", pa.string()),
            pa.field("label", pa.int16()),
            pa.field("class_name", pa.string()),
            *LONLAT,
            pa.field("h3_r9", pa.uint64()),
            pa.field("given_fold", pa.int16()),
            pa.field("given_group", pa.int32()),
            SIMULATED,
        ]
    )
    text = f"The class of each kept pixel after {label}; the partition's year is the label year."
    return TableSpec(f"core_label_{label}__pixels", schema, ("year", "shard"), ("pixel_id",), None, text)


def _label_values(label: str, count: int) -> TableSpec:
    schema = pa.schema(
        [
            pa.field("pixel_id", pa.uint64()),
            pa.field("label_source", pa.string()),
            pa.field("values", vector_type(count)),
            *LONLAT,
            pa.field("h3_r9", pa.uint64()),
            pa.field("given_fold", pa.int16()),
            pa.field("given_group", pa.int32()),
            SIMULATED,
        ]
    )
    text = f"The numbers of {label} at each kept pixel, targets of regression; NaN where one is missing."
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
            *LONLAT,
            pa.field("h3_r7", pa.uint64()),
            pa.field("given_fold", pa.int16()),
            pa.field("given_group", pa.int32()),
            SIMULATED,
        ]
    )
    text = f"Majority class, purity, fractions and multi-label of each patch after {label}."
    return TableSpec(f"core_label_{label}__patches", schema, ("year", "shard"), ("patch_id",), None, text)
