"""Declared schemas of what crosses the grains: pooled patches, upsampled pixels, and what was fitted for them.

Belongs here: columns that follow from the operators of the settings. Does not: their values
(`transforms/pooled_rows.py`, `transforms/upsampled_rows.py`), other tables (`schemas.py`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from transforms.pooling.operators import POOLING_OPERATORS, column_dims, stored_columns
from transforms.pooling.pixels import Codebook, PoolingParameters
from warehouse.products import Product
from warehouse.sections import PoolSettings, UpsampleSettings
from warehouse.table_spec import LONLAT, SIMULATED, TableSpec, vector_type


def pooled_columns(settings: PoolSettings) -> tuple[str, ...]:
    """Give the stored columns of the operators of the settings; those that the claims compare are always stored."""
    return stored_columns(["mean", "mean_length", "stats", *settings.operators])


def fitted_columns(settings: PoolSettings) -> tuple[str, ...]:
    """Give those stored columns that need a codebook."""
    return tuple(name for name in pooled_columns(settings) if POOLING_OPERATORS[name].is_fitted)


def pooled_spec(product: Product, settings: PoolSettings) -> TableSpec:
    """Declare `out_patch__{product}_pooled`: one column per stored operator."""
    widths = {name: _column_width(name, product.dims, settings) for name in pooled_columns(settings)}
    schema = pa.schema(
        [
            pa.field("patch_id", pa.uint64()),
            pa.field("product", pa.string()),
            *LONLAT,
            pa.field("n_pixels", pa.int32()),
            pa.field("valid_fraction", pa.float32()),
            *[pa.field(name, vector_type(width) if width else pa.float32()) for name, width in widths.items()],
            *[pa.field(f"{name}_version", pa.string()) for name in fitted_columns(settings)],
            SIMULATED,
        ]
    )
    text = f"Pixels of {product.title} pooled per patch, one column per operator."
    name = f"out_patch__{product.name}_pooled"
    return TableSpec(name, schema, ("year", "shard"), ("patch_id",), None, text, release=product.release)


def codebook_spec(product: Product) -> TableSpec:
    """Declare `out_pixel__{product}_codebook`: the centres behind the stored columns `vlad` and `bow`."""
    schema = pa.schema(
        [
            pa.field("operator", pa.string()),
            pa.field("center", pa.int32()),
            pa.field("version", pa.string()),
            pa.field("values", vector_type(product.dims)),
            SIMULATED,
        ]
    )
    text = f"Codebook of {product.title} for maps and search; evidence fits its own inside each training fold."
    name = f"out_pixel__{product.name}_codebook"
    return TableSpec(name, schema, ("year",), ("operator", "center"), None, text, release=product.release)


def basis_spec(product: Product) -> TableSpec:
    """Declare `out_patch__{product}_basis`: the dimensions in which upsampled windows are stored, and their loss."""
    number = pa.float32()
    schema = pa.schema(
        [
            pa.field("basis_version", pa.string()),
            pa.field("component", pa.int16()),
            pa.field("scale", number),
            pa.field("explained", number),
            pa.field("loading", vector_type(product.dims)),
            pa.field("mean", vector_type(product.dims)),
            *[pa.field(name, number) for name in ("explained_share", "mean_cosine", "worst_cosine")],
            pa.field("quantisation_share", number),
            SIMULATED,
        ]
    )
    text = f"Basis of {product.title} in which windows are stored as int8, with the loss of it; never for evidence."
    name = f"out_patch__{product.name}_basis"
    return TableSpec(name, schema, ("year",), ("component",), None, text, release=product.release)


def upsampled_spec(product: Product, settings: UpsampleSettings, release: str) -> TableSpec:
    """Declare `out_pixel__{product}_upsampled`: full vectors at sampled pixels, int8 codes in windows.

    `release` is that of the pair: patch vectors at the pixels of the other product.
    """
    width = min(settings.basis_dims, product.dims)
    schema = pa.schema(
        [
            pa.field("pixel_id", pa.uint64()),
            pa.field("product", pa.string()),
            pa.field("method", pa.string()),
            *LONLAT,
            pa.field("window", pa.string()),
            pa.field("nearest_patch_id", pa.uint64()),
            pa.field("support", pa.float32()),
            pa.field("embedding", vector_type(product.dims)),
            pa.field("embedding_q", vector_type(width, is_quantised=True)),
            pa.field("basis_version", pa.string()),
            SIMULATED,
        ]
    )
    text = f"Patch vectors of {product.title} at kept pixels: full width at samples, int8 in a basis in windows."
    name = f"out_pixel__{product.name}_upsampled"
    return TableSpec(name, schema, ("year", "shard"), ("pixel_id", "method"), None, text, release=release)


def _column_width(name: str, dims: int, settings: PoolSettings) -> int:
    """Give the width of a stored column; codebooks are not fitted yet, but their size is known."""
    empty = Codebook(np.zeros((settings.codebook_size, dims), np.float32), "")
    parameters = PoolingParameters(settings.gem_p, settings.percentiles, {"vlad": empty, "bow": empty})
    return column_dims(name, dims, parameters)
