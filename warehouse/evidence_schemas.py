"""Declared schemas of the evidence: `out_probe__*`.

Belongs here: columns of folds and their audit, scores, confusions, predictions, contrasts and oracles. Does not: their
values (`transforms/evaluation.py`), other tables (`schemas.py`).
"""

from __future__ import annotations

import pyarrow as pa

from warehouse.table_spec import SIMULATED, TableSpec

#: What is summed over the units of a block: of a number's truth and error, and of retrieval's precision.
SUM_COLUMNS = (
    "sum_truth",
    "sum_truth_squared",
    "sum_abs_error",
    "sum_squared_error",
    "sum_error",
    "sum_precision",
)


def evidence_specs() -> list[TableSpec]:
    """Declare the evidence tables."""
    return [
        TableSpec(
            "out_probe__folds",
            _folds_schema(),
            ("year",),
            ("unit", "scheme", "unit_id"),
            None,
            "Which fold, block and buffer every patch and pixel belongs to; shared by both grains. "
            "Fold -1: dropped; -2: trained on in every fold, tested in none.",
        ),
        TableSpec(
            "out_probe__fold_rules",
            _fold_rules_schema(),
            ("year",),
            ("unit", "scheme"),
            None,
            "Edge, buffer and ranges in use per kind of unit and scheme, and why a scheme could not be planned.",
        ),
        TableSpec(
            "out_probe__fold_audit",
            _fold_audit_schema(),
            ("year",),
            ("unit", "scheme", "check_name", "fold"),
            None,
            "What the folds are worth: distances, duplicates, coordinates alone, classes, blocks.",
        ),
        TableSpec(
            "out_probe__metrics",
            _metrics_schema(),
            ("year",),
            ("task", "scheme", "arm", "draw", "seed", "fold", "metric"),
            None,
            "One row per arm, probe, budget, fold and metric; failed cells are rows with a status.",
            is_cells=True,
        ),
        TableSpec(
            "out_probe__confusions",
            _confusions_schema(),
            ("year",),
            ("task", "scheme", "arm", "draw", "seed", "fold", "block_id", "class_id", "truth", "pred"),
            None,
            "Confusion counts per spatial block, so that every metric and interval can be recomputed.",
            is_cells=True,
            sealed_by="out_probe__metrics",
        ),
        TableSpec(
            "out_probe__sums",
            _sums_schema(),
            ("year",),
            ("task", "scheme", "arm", "draw", "seed", "fold", "block_id", "class_id", "k"),
            None,
            "Sums of errors and of retrieval precision per spatial block: confusions' counterpart for numbers.",
            is_cells=True,
            sealed_by="out_probe__metrics",
        ),
        TableSpec(
            "out_probe__predictions",
            _predictions_schema(),
            ("year",),
            ("arm", "unit_id"),
            None,
            "Held-out predictions at the places of the kept windows, and their colour in each arm, for maps.",
            is_cells=True,
            sealed_by="out_probe__metrics",
        ),
        TableSpec(
            "out_probe__contrasts",
            _contrasts_schema(),
            ("year",),
            ("question", "task", "scheme", "arm"),
            None,
            "Arm minus reference with the paired block interval, and the verdict.",
        ),
        TableSpec(
            "out_probe__oracles",
            _oracles_schema(),
            ("year",),
            ("label_source", "oracle", "scale_m", "metric"),
            None,
            "What labels alone allow: scores of constant labels, interpolated fractions and another label source.",
        ),
        TableSpec(
            "out_probe__oracle_confusions",
            _oracle_confusions_schema(),
            ("year",),
            ("label_source", "oracle", "scale_m", "block_id", "truth", "pred"),
            None,
            "Confusion counts of the oracles per spatial block, so that intervals can be made as for arms.",
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
            SIMULATED,
        ]
    )


def _fold_rules_schema() -> pa.Schema:
    text, real, whole = pa.string(), pa.float64(), pa.int64()
    return pa.schema(
        [
            ("label_source", text),
            ("unit", text),
            ("scheme", text),
            ("status", text),
            ("edge_m", real),
            ("buffer_m", real),
            ("n_folds", whole),
            ("n_blocks", whole),
            ("n_units", whole),
            ("n_dropped", whole),
            ("label_range_m", real),
            ("is_label_range_found", pa.bool_()),
            ("feature_range_m", real),
            ("is_feature_range_found", pa.bool_()),
            ("reason", text),
            SIMULATED,
        ]
    )


def _fold_audit_schema() -> pa.Schema:
    text, real = pa.string(), pa.float64()
    return pa.schema(
        [
            ("label_source", text),
            ("unit", text),
            ("scheme", text),
            ("fold", pa.int64()),
            ("check_name", text),
            ("value", real),
            ("threshold", real),
            ("status", text),
            ("detail", text),
            SIMULATED,
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
            ("is_default", pa.bool_()),
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
            SIMULATED,
        ]
    )


def _cell_columns() -> list[tuple[str, pa.DataType]]:
    """Give the columns that say which cell, draw and seed a block's counts belong to."""
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    return [
        ("run_id", text),
        ("task", text),
        ("label_source", text),
        ("scheme", text),
        ("arm", text),
        ("probe", text),
        ("fold", whole),
        ("block_id", whole),
        ("budget_kind", text),
        ("budget", real),
        ("draw", whole),
        ("seed", whole),
        ("purity_min", real),
        ("is_default", pa.bool_()),
    ]


def _confusions_schema() -> pa.Schema:
    return pa.schema(
        [
            *_cell_columns(),
            ("class_id", pa.int64()),
            ("threshold_rule", pa.string()),
            ("truth", pa.int16()),
            ("pred", pa.int16()),
            ("band", pa.string()),
            ("n", pa.int64()),
            SIMULATED,
        ]
    )


def _sums_schema() -> pa.Schema:
    real = pa.float64()
    return pa.schema(
        [
            *_cell_columns(),
            ("class_id", pa.int64()),
            ("k", pa.int64()),
            ("n", pa.int64()),
            *[(name, real) for name in SUM_COLUMNS],
            SIMULATED,
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
            ("unit", pa.string()),
            ("unit_id", pa.uint64()),
            ("window", pa.string()),
            ("epsg", pa.int32()),
            ("x_m", pa.float64()),
            ("y_m", pa.float64()),
            ("truth", pa.int16()),
            ("pred", pa.int16()),
            *[(band, pa.uint8()) for band in ("red", "green", "blue")],
            SIMULATED,
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
            ("budget_kind", text),
            ("budget", real),
            ("purity_min", real),
            ("is_default", pa.bool_()),
            ("metric", text),
            ("threshold_rule", text),
            ("k", pa.int64()),
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
            SIMULATED,
        ]
    )


def _oracles_schema() -> pa.Schema:
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        [
            ("task", text),
            ("label_source", text),
            ("label_year", whole),
            ("other_source", text),
            ("oracle", text),
            ("scale_m", real),
            ("metric", text),
            ("averaging", text),
            ("tolerance_px", real),
            ("stratum", text),
            ("stratum_value", text),
            ("class_id", whole),
            ("class_name", text),
            ("value", real),
            ("n_units", whole),
            ("n_blocks", whole),
            ("support", whole),
            ("bound_for", text),
            ("status", text),
            SIMULATED,
        ]
    )


def _oracle_confusions_schema() -> pa.Schema:
    text, whole = pa.string(), pa.int64()
    return pa.schema(
        [
            ("task", text),
            ("label_source", text),
            ("label_year", whole),
            ("other_source", text),
            ("oracle", text),
            ("scale_m", pa.float64()),
            ("block_id", whole),
            ("truth", pa.int16()),
            ("pred", pa.int16()),
            ("n", whole),
            SIMULATED,
        ]
    )
