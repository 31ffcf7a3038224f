"""The tables of docs/operators.md: every operator with what its registry entry says and what it scored.

Reads finished warehouses; runs nothing. A score is the primary metric on the confusions of all test blocks.

    isthmus run --config examples/operators.toml
    python benchmarks/operator_scores.py --simulated examples/operators.toml --real Q1=examples/eurosat_pairs.toml \
        --real Q2=examples/slovenia_pairs.toml
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transforms.arms import CLAIMS
from transforms.pooling.operators import POOLING_OPERATORS
from transforms.tasks import Task
from transforms.upsampling.operators import UPSAMPLERS
from warehouse.queries import run_sql
from warehouse.settings import load_settings
from warehouse.store import Warehouse

#: Operator, cost, what it learns from, when to use it, reference.
Entry = tuple[str, str, str, str, str]
POOLED: dict[str, Entry] = {
    f"pooled_{name}": (name, o.cost, "codebook" if o.is_fitted else "nothing", o.when, o.reference)
    for name, o in POOLING_OPERATORS.items()
}
UPSAMPLED: dict[str, Entry] = {
    f"upsampled_{name}": (name, o.cost, o.needs, o.when, o.reference) for name, o in UPSAMPLERS.items()
}

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


def print_registry(names: dict[str, Entry], dims: dict[str, int]) -> None:
    print("| operator | dims | cost | learns from | when to use | reference |")
    print("|---|---|---|---|---|---|")
    for arm, (operator, cost, learns, when, reference) in names.items():
        print(f"| `{operator}` | {dims.get(arm, '-')} | {cost} | {learns} | {when} | {reference} |")


def print_scores(names: dict[str, Entry], native: str, scores: dict[str, dict[str, float]]) -> None:
    print("| arm | score | minus native, 95 % block interval |")
    print("|---|---|---|")
    found = {arm: row for arm, row in scores.items() if arm in names or arm == native}
    for arm, row in sorted(found.items(), key=lambda item: -item[1]["value"]):
        name = "native" if arm == native else names[arm][0]
        interval = "-" if row["lo"] is None else f"{row['lo']:+.3f} to {row['hi']:+.3f}"
        print(f"| {name} | {row['value']:.3f} | {interval} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=Path, help="settings of a simulated world with every operator")
    parser.add_argument("--real", action="append", default=[], help="Q1=settings or Q2=settings on real data")
    arguments = parser.parse_args()
    real = {question: Path(path) for question, path in (item.split("=", 1) for item in arguments.real)}
    for task, names in (("T1", POOLED), ("T5", UPSAMPLED)):
        claim = CLAIMS[task]
        simulated = read_scores(arguments.simulated, task) if arguments.simulated else {}
        print(f"\n## {claim.question}\n")
        print_registry(names, {arm: int(row["dims"]) for arm, row in simulated.items()})
        # never in one table: simulated figures say nothing of the products
        for title, scores in (
            ("Simulated", simulated),
            ("Real", read_scores(real[claim.question], task) if claim.question in real else {}),
        ):
            print(f"\n### {claim.question}, {claim.metric}: {title}\n")
            print_scores(names, claim.reference, scores)


if __name__ == "__main__":
    main()
