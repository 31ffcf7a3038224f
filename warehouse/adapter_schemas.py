"""Declared schemas of the adapter's study: `out_probe__adapter*`.

Belongs here: columns of its scores, confusions and gains. Does not: their values (`adapters.py`), the rest of the
evidence (`evidence_schemas.py`). Columns that `out_probe__metrics` has too mean the same here; `region` is where a
cell was trained, `stratum_value` the region that it was tested in.
"""

from __future__ import annotations

import pyarrow as pa

from warehouse.table_spec import SIMULATED, TableSpec


def adapter_specs() -> list[TableSpec]:
    """Declare the tables of the adapter."""
    order = ("arm", "probe", "init", "budget", "seed", "region", "stratum_value")
    return [
        TableSpec(
            "out_probe__adapters",
            _scores_schema(),
            ("year",),
            (*order, "metric", "class_id"),
            None,
            "Scores of adapters per start, label budget, seed, region trained in and region tested in.",
            is_cells=True,
            sealed_by="out_probe__adapter_confusions",
        ),
        TableSpec(
            "out_probe__adapter_confusions",
            _confusions_schema(),
            ("year",),
            (*order, "block_id", "truth", "pred"),
            None,
            "Confusion counts of adapters per spatial block.",
            is_cells=True,
        ),
        TableSpec(
            "out_probe__adapter_gains",
            _gains_schema(),
            ("year",),
            ("arm", "probe", "init", "budget", "region", "stratum_value"),
            None,
            "Each start of the adapter minus a random one, with the paired block interval.",
        ),
    ]


def _scores_schema() -> pa.Schema:
    text, real, whole = pa.string(), pa.float64(), pa.int64()
    return pa.schema(
        [
            *[(name, text) for name in ("run_id", "code_rev", "created_at", "task", "label_source")],
            ("label_year", whole),
            ("region", text),
            ("scheme", text),
            ("fold", whole),
            ("split", text),
            ("arm", text),
            ("source_product", text),
            ("dims", whole),
            ("probe", text),
            ("probe_params", whole),
            ("init", text),
            ("budget_kind", text),
            ("budget", real),
            ("n_labels", whole),
            ("seed", whole),
            ("stratum", text),
            ("stratum_value", text),
            ("class_id", whole),
            ("class_name", text),
            ("metric", text),
            ("averaging", text),
            ("value", real),
            ("n_units", whole),
            ("n_blocks", whole),
            ("support", whole),
            ("seconds", real),
            ("start_seconds", real),
            ("status", text),
            SIMULATED,
        ]
    )


def _confusions_schema() -> pa.Schema:
    text, whole = pa.string(), pa.int64()
    return pa.schema(
        [
            *[(name, text) for name in ("run_id", "task", "label_source", "region", "scheme")],
            ("fold", whole),
            *[(name, text) for name in ("arm", "probe", "init", "budget_kind")],
            ("budget", pa.float64()),
            ("seed", whole),
            ("stratum", text),
            ("stratum_value", text),
            ("block_id", whole),
            ("truth", pa.int16()),
            ("pred", pa.int16()),
            ("n", whole),
            SIMULATED,
        ]
    )


def _gains_schema() -> pa.Schema:
    text, real = pa.string(), pa.float64()
    return pa.schema(
        [
            *[(name, text) for name in ("task", "label_source", "region", "scheme", "arm", "probe", "init")],
            ("reference", text),
            ("budget_kind", text),
            ("budget", real),
            ("stratum", text),
            ("stratum_value", text),
            ("metric", text),
            *[(name, real) for name in ("arm_value", "reference_value", "delta", "lo", "hi", "p", "p_holm", "margin")],
            ("verdict", text),
            ("n_seeds", pa.int64()),
            ("n_blocks", pa.int64()),
            ("block_wins", pa.int64()),
            ("method", text),
            ("status", text),
            ("note", text),
            SIMULATED,
        ]
    )
