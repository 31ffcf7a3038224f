"""Evidence tables of made-up arms with known accuracies, consistent with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.ndimage import gaussian_filter

from tests.warehouse.fake_rows import CLASSES, SHARDS, YEAR, demo_specs, random_rows, write_rows
from transforms.arms import ARMS, CLAIMS
from transforms.cell_rows import fill_columns
from transforms.inference import contrast_arms
from transforms.tasks import TASKS
from warehouse.settings import Settings

ACCURACY = {
    "native_patch": 0.82,
    "pooled_stats": 0.815,
    "pooled_mean": 0.74,
    "patch_coordinates": 0.42,
    "patch_majority": 0.3,
    "native_pixel": 0.71,
    "upsampled_bilinear": 0.55,
    "upsampled_nearest": 0.53,
    "pixel_coordinates": 0.38,
    "pixel_majority": 0.3,
}


def make_settings(root: Path, **evaluate: Any) -> Settings:
    labels = {
        "kind": "geotiff",
        "path": root / "labels.tif",
        "classes": {name: code for code, name in enumerate(CLASSES)},
        "years": {YEAR: YEAR},
        "title": "Cover <2021>",
        "attribution": "Labels by the label maker.",
    }
    return Settings(
        name="tiny",
        years=(YEAR,),
        area={"bbox": (101.9, 12.4, 102.1, 12.6)},
        sources={"aef": {"root": root}, "eg": {"root": root}},
        compare={"pixels": "aef", "patches": "eg"},
        labels={"cover": labels},
        evaluate={"label": "cover", **evaluate},
        warehouse={"root": root},
        dagster={"instance": root / "dagster"},
    )


def write_evidence(
    root: Path,
    rng: np.random.Generator,
    *,
    schemes: tuple[str, ...] = ("block",),
    tasks: tuple[str, ...] = ("T1", "T5"),
    n_blocks: int = 36,
    status: str = "ok",
    is_simulated: bool = True,
    accuracy: dict[str, float] = ACCURACY,
) -> None:
    """Write metrics, confusions and contrasts of every arm."""
    specs = demo_specs()
    for scheme in schemes:
        for task in tasks:
            counts = _draw_confusions(rng, task, n_blocks, accuracy)
            shared = {"task": task, "scheme": scheme, "label_source": "cover", "is_simulated": is_simulated}
            _write_cells(root, specs, counts, shared, status)
            rows = [_contrast_row(counts, task, arm, status) for arm in counts]
            table = fill_columns([r for r in rows if r], shared, specs["out_probe__contrasts"].schema)
            write_contrasts(root, table)


def write_contrasts(root: Path, table: pa.Table) -> None:
    """Append rows to the one contrast file of the year."""
    import pyarrow.parquet as pq

    spec = demo_specs()["out_probe__contrasts"]
    old = root / spec.name / f"year={YEAR}" / "part.parquet"
    if old.exists():
        table = pa.concat_tables([pq.ParquetFile(old).read().replace_schema_metadata(None), table])
    write_rows(root, spec, table, year=YEAR)


def write_predictions(root: Path, rng: np.random.Generator, side: int = 40, window: str = "delta") -> None:
    """Write one dense window: smooth patches of classes, and two arms that err on them."""
    spec = demo_specs()["out_probe__predictions"]
    fields = np.stack([gaussian_filter(rng.normal(size=(side, side)), side / 20) for _ in CLASSES])
    truth = fields.argmax(axis=0)
    rows, cols = np.mgrid[:side, :side]
    for arm, share in (("native_pixel", 0.2), ("upsampled_bilinear", 0.4)):
        coarse = truth if arm == "native_pixel" else np.kron(truth[::8, ::8], np.ones((8, 8), int))[:side, :side]
        pred = np.where(rng.random(truth.shape) < share / 3, (coarse + 1) % len(CLASSES), coarse)
        n = truth.size
        table = random_rows(
            spec,
            n,
            rng,
            task=["T5"] * n,
            label_source=["cover"] * n,
            scheme=["block"] * n,
            arm=[arm] * n,
            unit=["pixel"] * n,
            unit_id=np.arange(n),
            window=[window] * n,
            epsg=[32648] * n,
            x_m=(500_005 + 10.0 * cols).ravel(),
            y_m=(1_400_005 - 10.0 * rows).ravel(),
            truth=truth.ravel().astype(np.int16),
            pred=pred.ravel().astype(np.int16),
        )
        write_rows(root, spec, table, cell=arm, year=YEAR)


def write_patch_predictions(root: Path, rng: np.random.Generator, side: int = 12, window: str = "delta") -> None:
    """Write patches 320 m apart of one window, as two arms predict them."""
    spec = demo_specs()["out_probe__predictions"]
    rows, cols = np.mgrid[:side, :side]
    truth = (cols // 4 % len(CLASSES)).ravel()
    for arm in ("native_patch", "pooled_stats"):
        n = truth.size
        table = random_rows(
            spec,
            n,
            rng,
            task=["T1"] * n,
            label_source=["cover"] * n,
            scheme=["block"] * n,
            arm=[arm] * n,
            unit=["patch"] * n,
            unit_id=np.arange(n),
            window=[window] * n,
            epsg=[32648] * n,
            x_m=(500_160 + 320.0 * cols).ravel(),
            y_m=(1_400_160 - 320.0 * rows).ravel(),
            truth=truth.astype(np.int16),
            pred=truth.astype(np.int16),
        )
        write_rows(root, spec, table, cell=arm, year=YEAR)


def _draw_confusions(
    rng: np.random.Generator, task: str, n_blocks: int, accuracy: dict[str, float]
) -> dict[str, np.ndarray]:
    k = len(CLASSES)
    truth = rng.integers(3, 30, (n_blocks, k))
    counts = {}
    for arm in (a for a in ARMS.values() if a.unit == TASKS[task].unit and a.name in accuracy):
        share = np.clip(accuracy[arm.name] + rng.normal(0, 0.04, n_blocks), 0.02, 0.98)
        confusions = np.zeros((n_blocks, k, k), int)
        for block in range(n_blocks):
            for c in range(k):
                p = np.full(k, (1 - share[block]) / (k - 1))
                p[c] = share[block]
                confusions[block, c] = rng.multinomial(truth[block, c], p)
        counts[arm.name] = confusions
    return counts


def _write_cells(
    root: Path, specs: dict[str, Any], counts: dict[str, np.ndarray], shared: dict[str, Any], status: str
) -> None:
    for arm, confusions in counts.items():
        block, truth, pred = np.nonzero(confusions)
        keys = {**shared, "arm": arm, "probe": ARMS[arm].probe or "logistic", "run_id": "run-1", "draw": 0, "seed": 0}
        keys |= {"budget_kind": "percent", "budget": 100.0, "is_default": True}
        rows = [
            {"block_id": int(b) * 7, "truth": int(t), "pred": int(p), "n": int(confusions[b, t, p]), "fold": int(b) % 5}
            for b, t, p in zip(block, truth, pred, strict=True)
        ]
        cell = f"{shared['task']}-{shared['scheme']}-{arm}"
        spec = specs["out_probe__confusions"]
        write_rows(root, spec, fill_columns(rows, keys, spec.schema), cell=cell, year=YEAR)
        metric = {"metric": "overall_accuracy", "averaging": "macro", "fold": None, "n_units": int(confusions.sum())}
        total = confusions.sum(axis=0)
        metric |= {"value": float(np.trace(total) / total.sum()), "status": status, "code_rev": "0.1.0+abc"}
        metric |= {"created_at": "2026-01-02T03:04:05Z", "label_year": YEAR}
        spec = specs["out_probe__metrics"]
        write_rows(root, spec, fill_columns([metric], keys, spec.schema), cell=cell, year=YEAR)


def _contrast_row(counts: dict[str, np.ndarray], task: str, arm: str, status: str) -> dict[str, Any]:
    claim = CLAIMS[task]
    if arm == claim.reference or claim.reference not in counts:
        return {}
    rng = np.random.default_rng(0)
    pair = counts[arm], counts[claim.reference]
    found = contrast_arms(*pair, metric=claim.metric, margin=claim.margin, rng=rng, n_replicates=500)
    row = {name: getattr(found, name) for name in ("delta", "lo", "hi", "p", "n_blocks", "block_wins", "method")}
    values = {"arm_value": _score(pair[0], claim.metric), "reference_value": _score(pair[1], claim.metric)}
    return {
        **row,
        **values,
        "question": claim.question,
        "metric": claim.metric,
        "arm": arm,
        "reference": claim.reference,
        "probe": "logistic",
        "budget_kind": "percent",
        "budget": 100.0,
        "is_default": True,
        "p_holm": found.p,
        "margin": claim.margin,
        "verdict": found.verdict,
        "is_primary": arm == claim.primary_arm,
        "status": status,
        "note": None,
    }


def _score(confusions: np.ndarray, metric: str) -> float:
    from transforms.metrics import METRICS

    return float(METRICS[metric](confusions.sum(axis=0)))


def write_places(root: Path, rng: np.random.Generator, n: int = 400) -> None:
    """Write patches of two shards, so that there is something to cover."""
    spec = demo_specs()["core_eg__patches"]
    for shard, west in zip(SHARDS, (101.8, 102.0), strict=True):
        lon = rng.uniform(west, west + 0.2, n)
        write_rows(root, spec, random_rows(spec, n, rng, lon=lon), year=YEAR, shard=shard)
