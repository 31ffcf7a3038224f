"""The tables of docs/operators.md: every operator with what its registry entry says and what it scored.

Reads finished warehouses; runs nothing. A score is the primary metric on the confusions of all test blocks.

    isthmus run --config examples/operators.toml
    python benchmarks/operator_scores.py --simulated examples/operators.toml --real Q1=examples/eurosat_pairs.toml \
        --real Q2=examples/slovenia_pairs.toml
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transforms.arms import CLAIMS, Task
from transforms.pooling.operators import POOLING_OPERATORS
from transforms.upsampling.operators import UPSAMPLERS
from warehouse.catalog import run_sql
from warehouse.settings import load_settings
from warehouse.store import Warehouse

QUERY = """
select m.arm, m.value, m.dims, c.lo, c.hi
from out_probe__metrics as m
left join out_probe__contrasts as c
    on c.year = m.year and c.arm = m.arm and c.scheme = m.scheme and c.metric = m.metric
where m.task = $task and m.metric = $metric and m.fold is null and m.class_id is null and m.scheme = $scheme
"""


def read_scores(config: Path, task: Task) -> dict[str, dict[str, float]]:
    """Give (value, interval of arm - native, dims) of each arm in the scheme that answers."""
    warehouse = Warehouse(load_settings(config))
    evaluate = warehouse.settings.evaluate
    assert evaluate is not None
    params = {"task": task, "metric": CLAIMS[task].metric, "scheme": evaluate.schemes[0]}
    rows = run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, QUERY, params).to_pylist()
    return {row["arm"]: row for row in rows}


def score_cell(scores: dict[str, dict[str, float]], arm: str) -> str:
    if arm not in scores:
        return "-"
    row = scores[arm]
    interval = "" if row["lo"] is None else f" ({row['lo']:+.3f} to {row['hi']:+.3f})"
    return f"{row['value']:.3f}{interval}"


def print_table(
    task: Task, names: dict[str, tuple[str, str, str, str]], simulated: Path | None, real: Path | None
) -> None:
    found = [read_scores(path, task) if path is not None else {} for path in (simulated, real)]
    print("| operator | dims | cost | learns from | simulated | real | when to use | reference |")
    print("|---|---|---|---|---|---|---|---|")
    for arm, (operator, cost, learns, text) in names.items():
        dims = next((str(scores[arm]["dims"]) for scores in found if arm in scores), "-")
        cells = [score_cell(scores, arm) for scores in found]
        print(f"| `{operator}` | {dims} | {cost} | {learns} | {cells[0]} | {cells[1]} | {text} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=Path, help="settings of a simulated world with every operator")
    parser.add_argument("--real", action="append", default=[], help="Q1=settings or Q2=settings on real data")
    arguments = parser.parse_args()
    real = dict(item.split("=", 1) for item in arguments.real)
    pooled = {
        f"pooled_{name}": (name, o.cost, "codebook" if o.is_fitted else "nothing", f"{o.when} | {o.reference}")
        for name, o in POOLING_OPERATORS.items()
    }
    upsampled = {
        f"upsampled_{name}": (name, o.cost, o.needs, f"{o.when} | {o.reference}") for name, o in UPSAMPLERS.items()
    }
    native = ("native", "-", "-", "The product's own vectors: what the others are compared with. | -")
    for task, names in (("T1", {"native_patch": native, **pooled}), ("T5", {"native_pixel": native, **upsampled})):
        path = real.get(CLAIMS[task].question)  # type: ignore[index]  # keys of CLAIMS
        print(f"\n{CLAIMS[task].question}: {CLAIMS[task].metric}\n")  # type: ignore[index]
        print_table(task, names, arguments.simulated, Path(path) if path else None)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
