"""Sections on arms: what they cost, their classes, and the probes.

Belongs here: cost against score, F1 or IoU per class, probes by arms. Does not: the tasks beside the claims
(`tasks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from transforms.arms import CLAIMS
from transforms.report.data import ReportData
from transforms.report.study.marks import MarkRow, Spot, draw_marks, draw_scatter
from transforms.report.study.parts import (
    Cell,
    Figure,
    Row,
    Section,
    Table,
    answering_rows,
    by_rank,
    current_rows,
    group_rows,
    heat_class,
    is_number,
    make_section,
    primary_arm,
    simulated_mark,
    task_title,
)
from transforms.report.wording import arm_title, metric_title, number

#: Families by colour; the arm that answers the question has the second one.
_FAMILIES = ("native", "primary arm", "pooled", "upsampled or guided", "fusion", "control")
_FAMILY_INDEX = {"native": 0, "pooled": 2, "upsampled": 3, "guided": 3, "fusion": 4}


def cost_section(data: ReportData) -> Section:
    """Draw scores over bytes per square kilometre."""
    return make_section(
        "cost",
        "Cost against score",
        "Bytes per square kilometre of the products that an arm reads, as they are stored, on a log axis, against the "
        "score with all labels: all arms that read the same products stand above each other. Named are the two arms of "
        "the question, and those that no cheaper arm beats; scores are points without intervals here. Arms that read "
        "no vectors, and other tasks, are in tables only. Seconds are those of one evaluation on the "
        "machine that ran it.",
        _cost_parts(answering_rows(data, "cost_vs_score")),
        "No arm is scored with all labels.",
        ("cost_vs_score",),
    )


def _cost_parts(rows: Sequence[Row]) -> Iterator[Figure | Table]:
    for (task, rule, metric), mine in group_rows(rows, "task", "threshold_rule", "metric").items():
        title = f"{task_title(task)}: {metric_title(metric)} against bytes per km²"
        title += "" if rule in (None, "argmax") else f", thresholds {rule}"
        stored = sorted((row for row in mine if row["bytes_per_km2"]), key=lambda row: row["bytes_per_km2"])
        if stored and task in CLAIMS:
            spots = _spots(task, stored)
            chart = draw_scatter(title, "bytes per km² (log)", metric_title(metric), _FAMILIES, spots)
            yield Figure(Markup(chart), f"{title}{simulated_mark(mine)}.")
        yield _cost_table(title, metric, mine)


def _spots(task: str, rows: Sequence[Row]) -> list[Spot]:
    """Make points; named are native, primary, and what is better than all that is as cheap or cheaper."""
    primary, spots = primary_arm(task), []
    for row in rows:
        family = row["arm_family"] or ""
        index = 1 if row["arm"] == primary else _FAMILY_INDEX.get(family, 5)
        cheaper = [r["value"] for r in rows if r["bytes_per_km2"] <= row["bytes_per_km2"] and r["arm"] != row["arm"]]
        is_named = index < 2 or all(row["value"] > value for value in cheaper)
        spots.append(Spot(arm_title(row["arm"]) if is_named else "", row["bytes_per_km2"], row["value"], index))
    return spots


def _cost_table(title: str, metric: str, rows: Sequence[Row]) -> Table:
    cells = tuple(
        (
            Cell(arm_title(row["arm"])),
            Cell(number(row["value"]), "num"),
            Cell(_whole(row["bytes_per_km2"]), "num"),
            Cell(_whole(row["dims"]), "num"),
            Cell(_whole(row["probe_params"]), "num"),
            Cell(number(row["seconds"], 1), "num"),
        )
        for row in rows
    )
    header = ("arm", metric_title(metric), "bytes per km²", "dims", "probe parameters", "seconds")
    return Table(f"{title}: the same as a table{simulated_mark(rows)}", header, cells)


def _whole(value: float | None) -> str:
    return f"{value:,.0f}" if is_number(value) else "–"


def classes_section(data: ReportData) -> Section:
    """Draw F1 or IoU of every class for the two arms of each question."""
    scheme = data.answering_scheme
    rows = [row for row in current_rows(data, "per_class") if row["scheme"] == scheme and row["task"] in CLAIMS]
    return make_section(
        "classes",
        "Per class",
        "The two arms of each question, class by class, from counts summed over blocks and folds. Per-class numbers "
        "carry no interval here; a class with few units can differ by chance.",
        _class_parts(data, rows),
        "No counts of the two arms of a question are stored.",
        ("per_class",),
    )


def _class_parts(data: ReportData, rows: Sequence[Row]) -> Iterator[Figure]:
    for (task,), mine in group_rows(rows, "task").items():
        claim = next(claim for claim in CLAIMS.values() if claim.task == task)
        column = "iou" if claim.metric == "mean_iou" else "f1"
        pair = (claim.reference, claim.primary_arm)
        values = {(row["arm"], row["class_id"]): row for row in mine if row["arm"] in pair}
        if not values:
            continue
        found = {arm for arm, _ in values}
        classes = sorted({class_id for _, class_id in values})
        n_truth = {c: max(values[key]["n_truth"] for key in values if key[1] == c) for c in classes}
        marks = [
            MarkRow(
                data.class_names[c] if c < len(data.class_names) else str(c),
                tuple(_value(values.get((arm, c)), column) for arm in pair),
                f"{n_truth[c]:,}",
            )
            for c in sorted(classes, key=lambda c: -n_truth[c])
        ]
        name = "IoU" if column == "iou" else "F1"
        title = f"{task_title(task)}: {name} per class"
        chart = draw_marks(title, name, tuple(arm_title(arm) for arm in pair), marks)
        missing = "".join(f" “{arm_title(arm)}” is not stored." for arm in pair if arm not in found)
        caption = (
            f"{title}, the most frequent class first. At the right: units of the class{simulated_mark(mine)}.{missing}"
        )
        yield Figure(Markup(chart), caption)


def _value(row: Row | None, column: str) -> float:
    return float(row[column]) if row is not None and is_number(row[column]) else float("nan")


def probes_section(data: ReportData) -> Section:
    """Show every probe on every arm as a heat table."""
    rows = [row for row in answering_rows(data, "probe_scores") if row["task"] in CLAIMS]
    return make_section(
        "probes",
        "Probes by arms",
        "A probe stands on frozen vectors. The question is asked with the logistic one; the others show whether the "
        "answer hangs on it. The same probe has more parameters on more dimensions.",
        _probe_tables(rows),
        "No arm has scores of more than one probe, so there is nothing to compare.",
        ("probe_scores",),
    )


def _probe_tables(rows: Sequence[Row]) -> Iterator[Table]:
    for (task, rule, metric), same in group_rows(rows, "task", "threshold_rule", "metric").items():
        own_purity = {row["purity_min"] for row in same if row["is_default"]}
        mine = [row for row in same if row["purity_min"] in own_purity and row["probe"] != "majority"]
        probes = sorted({row["probe"] for row in mine}, key=_probe_rank)
        counts = {arm: sum(row["arm"] == arm for row in mine) for arm in {row["arm"] for row in mine}}
        arms = by_rank(arm for arm, n in counts.items() if n > 1)
        if not arms:
            continue
        values = {(row["arm"], row["probe"]): row["value"] for row in mine if row["arm"] in arms}
        ends = min(values.values()), max(values.values())
        table = tuple(
            (
                Cell(arm_title(arm)),
                *(Cell(number(values.get((arm, p))), heat_class(values.get((arm, p)), *ends)) for p in probes),
            )
            for arm in arms
        )
        caption = f"{task_title(task)}: {metric_title(metric)}, all labels{simulated_mark(mine)}"
        caption += "" if rule in (None, "argmax") else f", thresholds {rule}"
        yield Table(caption, ("arm", *(p.replace("_", " ") for p in probes)), table, is_open=True)


def _probe_rank(probe: str) -> tuple[bool, int, str]:
    """Sort the primary probe first, and k by size."""
    digits = "".join(letter for letter in probe if letter.isdigit())
    return (probe != "logistic", int(digits or 0), probe)
