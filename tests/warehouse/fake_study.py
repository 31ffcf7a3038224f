"""A study of made-up cells: budgets, folds, purities, probes, regions, maps, oracles, adapters and an audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.warehouse.fake_evidence import write_contrasts
from tests.warehouse.fake_rows import YEAR, demo_specs, write_rows
from transforms.arms import ARMS, CLAIMS
from transforms.cell_rows import fill_columns
from warehouse.adapter_schemas import adapter_specs
from warehouse.table_spec import TableSpec

Row = dict[str, Any]
#: Score of every arm with all labels under strict folds.
SCORES = {
    "native_patch": 0.80,
    "pooled_stats": 0.79,
    "pooled_mean": 0.74,
    "patch_coordinates": 0.40,
    "patch_shuffled_blocks": 0.30,
    "native_pixel": 0.70,
    "upsampled_nearest": 0.50,
    "upsampled_bilinear": 0.55,
    "pixel_coordinates": 0.30,
}
#: mIoU of the oracles by scale.
LADDER = {320.0: 0.49, 160.0: 0.60, 80.0: 0.70, 40.0: 0.79, 20.0: 0.85}
BYTES = {"native_patch": 15_000.0, "native_pixel": 640_000.0, "pooled_stats": 160_000.0, "pooled_mean": 40_000.0}
#: What a share or number of labels takes from the score.
LOSS = {
    ("percent", 1.0): 0.3,
    ("percent", 10.0): 0.1,
    ("percent", 50.0): 0.02,
    ("shots", 1.0): 0.4,
    ("shots", 10.0): 0.2,
}


def study_specs() -> dict[str, TableSpec]:
    """Declare the tables of a warehouse that studies an adapter too."""
    return demo_specs() | {spec.name: spec for spec in adapter_specs()}


def metric_row(arm: str, value: float, **changes: Any) -> Row:
    """Give one row of `out_probe__metrics` over all folds, with all labels and the task's own probe."""
    task = "T1" if ARMS[arm].unit == "patch" else "T5"
    family = ARMS[arm].family
    row: Row = {
        "question": "Q1" if task == "T1" else "Q2",
        "task": task,
        "label_source": "cover",
        "scheme": "block",
        "arm": arm,
        "arm_family": family,
        "bytes_per_km2": None if family == "control" else BYTES.get(arm, 15_000.0),
        "dims": 64,
        "probe": "logistic",
        "probe_params": 260,
        "budget_kind": "percent",
        "budget": 100.0,
        "draw": 0,
        "seed": 0,
        "purity_min": 0.5 if task == "T1" else None,
        "is_default": True,
        "metric": CLAIMS[task].metric,
        "averaging": "macro",
        "threshold_rule": "argmax",
        "value": value,
        "n_units": 1000,
        "n_blocks": 36,
        "seconds": 2.5,
        "status": "ok",
    }
    return {**row, **changes}


def study_rows(scores: Mapping[str, float] = SCORES) -> list[Row]:
    """Give the rows of a whole study."""
    rows = [metric_row(arm, value) for arm, value in scores.items()]
    for arm, value in scores.items():
        rows.append(metric_row(arm, value + (0.6 if arm.endswith("shuffled_blocks") else 0.05), scheme="random"))
    for arm in ("native_patch", "pooled_stats", "native_pixel", "upsampled_bilinear"):
        rows += learning_rows(arm, scores[arm])
    for purity, n_units in ((0.0, 2000), (0.75, 600), (0.9, 200)):
        value = scores["native_patch"] + 0.1 * (purity - 0.5)
        rows.append(metric_row("native_patch", value, purity_min=purity, n_units=n_units, is_default=False))
    for arm in ("native_patch", "pooled_stats"):
        for probe, bonus in (("knn_5", -0.1), ("random_forest", 0.01)):
            rows.append(metric_row(arm, scores[arm] + bonus, probe=probe, is_default=False))
        for home, away in (("east", "east"), ("east", "west"), ("west", "east"), ("west", "west")):
            where = {"scheme": "transfer", "fold": 0, "region": home, "stratum": "test_region", "stratum_value": away}
            rows.append(metric_row(arm, scores[arm] - (0 if home == away else 0.2), **where))
        rows.append(metric_row(arm, scores[arm] - 0.2, task="T3", metric="r2", probe="ridge", threshold_rule=None))
    for arm in ("native_pixel", "upsampled_nearest", "upsampled_bilinear"):
        rows += map_rows(arm, scores[arm])
    return rows


def learning_rows(arm: str, value: float, loss: Mapping[tuple[str, float], float] = LOSS) -> list[Row]:
    """Give two draws of every budget, 0.02 apart."""
    return [
        metric_row(arm, value - less + jitter, budget_kind=kind, budget=budget, draw=draw, is_default=False)
        for (kind, budget), less in loss.items()
        for draw, jitter in ((0, -0.01), (1, 0.01))
    ]


def map_rows(arm: str, value: float) -> list[Row]:
    """Give boundary F, recall by object size and fractions of cells."""
    shared = {"threshold_rule": None, "stratum": "kept windows"}
    rows = [metric_row(arm, value - 0.3 + t / 20, metric="boundary_f", tolerance_px=t, **shared) for t in (1.0, 3.0)]
    sizes = (("0 to 15 px", 0.2), ("16 to 511 px", 0.5), (">= 512 px", 0.9))
    rows += [
        metric_row(arm, value * share, metric="object_recall", averaging="micro", stratum="object size",
                   stratum_value=name, threshold_rule=None)
        for name, share in sizes
    ]  # fmt: skip
    return rows + [
        metric_row(arm, value + cell / 1000, task="T6", metric="r2", stratum="cell_m", stratum_value=f"{cell}",
                   threshold_rule=None)
        for cell in (20, 160, 40, 80)
    ]  # fmt: skip


def contrast_row(arm: str, delta: float, **changes: Any) -> Row:
    """Give one row of `out_probe__contrasts`: an interval of +- 0.008, 36 blocks."""
    task = "T1" if ARMS[arm].unit == "patch" else "T5"
    claim = CLAIMS[task]
    row: Row = {
        "question": claim.question,
        "task": task,
        "label_source": "cover",
        "scheme": "block",
        "probe": "logistic",
        "budget_kind": "percent",
        "budget": 100.0,
        "purity_min": 0.5 if task == "T1" else None,
        "is_default": True,
        "metric": claim.metric,
        "arm": arm,
        "reference": claim.reference,
        "arm_value": SCORES[claim.reference] + delta,
        "reference_value": SCORES[claim.reference],
        "delta": delta,
        "lo": delta - 0.008,
        "hi": delta + 0.008,
        "p": 0.001,
        "p_holm": 0.01,
        "margin": claim.margin,
        "verdict": "inferior",
        "is_primary": False,
        "n_blocks": 36,
        "block_wins": 10,
        "method": "block_bootstrap",
        "status": "ok",
    }
    return {**row, **changes}


def study_contrasts() -> list[Row]:
    """Give both primary contrasts, two other probes on the first one, and a secondary arm each."""
    return [
        contrast_row("pooled_stats", -0.01, is_primary=True, verdict="non-inferior"),
        contrast_row("pooled_stats", 0.02, probe="random_forest", is_default=False, verdict="superior"),
        contrast_row("pooled_stats", -0.03, probe="knn_5", is_default=False),
        contrast_row("pooled_mean", -0.06),
        contrast_row("upsampled_bilinear", -0.15, is_primary=True),
        contrast_row("upsampled_nearest", -0.20, p_holm=0.4),
    ]


def oracle_rows(ladder: Mapping[float, float] = LADDER) -> list[Row]:
    """Give C0, C1, C3 and C4."""
    names = [("C0" if scale == 320 else "C4", scale, value) for scale, value in ladder.items()]
    names += [("C1", 320.0, 0.5), ("C3", 320.0, 0.54)]
    shared = {"label_source": "cover", "task": "T5", "metric": "mean_iou", "bound_for": "none", "status": "ok"}
    return [{**shared, "oracle": o, "scale_m": s, "value": v, "n_units": 9, "n_blocks": 36} for o, s, v in names]


def gain_rows() -> list[Row]:
    """Give gains of two starts at two budgets, and one pair of regions."""
    shared = {"label_source": "cover", "scheme": "block", "arm": "native_pixel", "probe": "adapter_conv"}
    shared |= {"reference": "random_init", "budget_kind": "percent", "metric": "mean_iou", "status": "ok"}
    shared |= {"verdict": "inconclusive", "n_blocks": 36, "p_holm": 0.3, "margin": 0.05}
    return [
        {**shared, "init": init, "budget": budget, "region": region, "stratum_value": region, "delta": delta,
         "lo": delta - 0.02, "hi": delta + 0.02}
        for region in ("all", "east")
        for init, budget, delta in (("pretrained", 1.0, 0.05), ("pretrained", 100.0, 0.0),
                                    ("shuffled_positives", 1.0, -0.01), ("shuffled_positives", 100.0, 0.0))
    ]  # fmt: skip


def adapter_rows() -> list[Row]:
    """Give adapters trained in one region and tested in another."""
    shared = {"label_source": "cover", "scheme": "block", "arm": "native_pixel", "probe": "adapter_conv", "seed": 0}
    shared |= {"init": "pretrained", "budget_kind": "percent", "budget": 1.0, "metric": "mean_iou", "status": "ok"}
    pairs = {("east", "east"): 0.61, ("east", "west"): 0.41, ("west", "west"): 0.62}
    return [{**shared, "region": a, "stratum_value": b, "value": v} for (a, b), v in pairs.items()]


def audit_rows() -> list[Row]:
    """Give a warning in two folds, a failure, and checks that passed."""
    shared = {"label_source": "cover", "unit": "patch", "scheme": "block"}
    checks = [
        ("edge_m", None, "warn", 1000.0, 5397.0, "largest range 2699 m"),
        ("classes_absent_in_test", 0, "warn", 1.0, 0.0, "in the other part only: shrub"),
        ("classes_absent_in_test", 1, "warn", 2.0, 0.0, "in the other part only: shrub, moss"),
        ("least_distance_m", 0, "failed", 100.0, 320.0, "training to test footprint"),
        ("shared_unit_ids", 0, "ok", 0.0, 0.0, "tested and trained on"),
    ]
    names = ("check_name", "fold", "status", "value", "threshold", "detail")
    return [{**shared, **dict(zip(names, check, strict=True))} for check in checks]


def write_study(
    root: Path,
    *,
    metrics: Iterable[Row] | None = None,
    contrasts: Iterable[Row] | None = None,
    oracles: Iterable[Row] | None = None,
    gains: Iterable[Row] = (),
    adapters: Iterable[Row] = (),
    audit: Iterable[Row] = (),
    is_simulated: bool = True,
) -> None:
    """Write a study; None writes the whole one, an empty iterable nothing."""
    specs = study_specs()
    found = {
        "out_probe__metrics": study_rows() if metrics is None else metrics,
        "out_probe__oracles": oracle_rows() if oracles is None else oracles,
        "out_probe__adapter_gains": gains,
        "out_probe__adapters": adapters,
        "out_probe__fold_audit": audit,
    }
    shared = {"is_simulated": is_simulated}
    for name, rows in found.items():
        table = fill_columns(list(rows), shared, specs[name].schema)
        if table.num_rows:
            write_rows(root, specs[name], table, year=YEAR)
    rows = list(study_contrasts() if contrasts is None else contrasts)
    if rows:
        write_contrasts(root, fill_columns(rows, shared, specs["out_probe__contrasts"].schema))
