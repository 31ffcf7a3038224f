"""The page: sections assembled from the data and rendered by `template.html`.

Belongs here: which numbers stand in which section. Does not: wording of verdicts (`wording.py`), drawing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from transforms.arms import CLAIMS
from transforms.inference import MIN_BLOCKS_BOOTSTRAP, MIN_BLOCKS_VERDICT, N_REPLICATES
from transforms.report import charts
from transforms.report.data import Contrast, ReportData, read_contrasts
from transforms.report.maps import MapStrip, draw_maps
from transforms.report.operators import build_sheets
from transforms.report.scores import ArmScore, score_arms
from transforms.report.study.audit import audit_sentence
from transforms.report.templates import SYMBOLS, build_environment
from transforms.report.wording import (
    TASK_TITLES,
    answer_question,
    arm_title,
    metric_title,
    number,
    pick_primary,
    scheme_title,
    signed,
)

_SUCCESS = ("ok", "diagnostic")


@dataclass(frozen=True)
class TaskSection:
    """Scores of one task: a chart of the scheme that answers, a table of all schemes.

    Attributes:
        title: the task in words.
        metric: its primary metric in words.
        year: of the chart.
        scheme: of the chart, in words.
        chart: SVG, empty without scores.
        scores: all scores of the task.
        leakage: sentence about random folds, empty where there are none.
    """

    title: str
    metric: str
    year: int
    scheme: str
    chart: Markup
    scores: tuple[ArmScore, ...]
    leakage: str


@dataclass(frozen=True)
class ContrastSection:
    """Contrasts of one question, year and scheme.

    Attributes:
        question: Q1 or Q2.
        title: year and scheme in words.
        chart: SVG, empty where nothing was scored.
        rows: the contrasts.
    """

    question: str
    title: str
    chart: Markup
    rows: tuple[Contrast, ...]


@dataclass(frozen=True)
class Record:
    """One provenance record with the tables that carry it."""

    product: str
    release: str
    licence: str
    attribution: tuple[str, ...]
    code_version: str
    tables: tuple[str, ...]
    n_files: int


@dataclass(frozen=True)
class Links:
    """Relative addresses of the further pages; empty where there is none.

    Attributes:
        operators: one place, every operator.
        labels: several labels a patch.
        study: the evidence at length.
    """

    operators: str = ""
    labels: str = ""
    study: str = ""


NO_LINKS = Links()


def render_operators(data: ReportData, main_page: str) -> str:
    """Render the page of operators; empty where no place is mapped.

    Args:
        data: query results and what the settings say.
        main_page: relative address of the report.

    Returns:
        One self-contained HTML page, or an empty text.
    """
    sheets = build_sheets(data)
    template = build_environment().get_template("operators.html")
    return template.render(data=data, sheets=sheets, main_page=main_page) if sheets else ""


def render_report(data: ReportData, links: Links = NO_LINKS) -> str:
    """Render the report.

    Args:
        data: query results and what the settings say.
        links: relative addresses of the further pages.

    Returns:
        One self-contained HTML page: no script, no font, picture or style from elsewhere.
    """
    contrasts = read_contrasts(data)
    scores = score_arms(data)
    answers = [answer_question(data, claim, contrasts) for claim in CLAIMS.values()]
    strip, no_maps = _map_strip(data, contrasts)
    return (
        build_environment()
        .get_template("template.html")
        .render(
            data=data,
            links=links,
            audit=audit_sentence(data),
            answers=answers,
            tasks=_task_sections(data, scores),
            contrast_sections=_contrast_sections(data, contrasts),
            strip=strip,
            no_maps=no_maps,
            coverage=_coverage(data),
            shards=_shards(data),
            tables=data.rows("tables"),
            records=_records(data),
            runs=_runs(data),
            failures=_failures(data),
            simulated_kinds=[row["kind"] for row in data.rows("simulated") if row["is_simulated"]],
            constants={"replicates": N_REPLICATES, "bootstrap": MIN_BLOCKS_BOOTSTRAP, "verdict": MIN_BLOCKS_VERDICT},
            claims=CLAIMS.values(),
            symbols=SYMBOLS,
        )
    )


def _task_sections(data: ReportData, scores: Sequence[ArmScore]) -> list[TaskSection]:
    sections = []
    for task in CLAIMS:
        mine = [score for score in scores if score.task == task]
        if not mine:
            continue
        year, scheme = mine[0].year, mine[0].scheme
        shown = [score for score in mine if (score.year, score.scheme) == (year, scheme)]
        sections.append(
            TaskSection(
                title=TASK_TITLES[task],
                metric=metric_title(CLAIMS[task].metric),
                year=year,
                scheme=scheme_title(scheme),
                # safe: built from elements, which escape their text
                chart=Markup(charts.draw_scores(shown)),
                scores=tuple(mine),
                leakage=_leakage(mine, CLAIMS[task].reference),
            )
        )
    return sections


def _leakage(scores: Sequence[ArmScore], native: str) -> str:
    """Say how much of a native score comes from neighbours of the test units."""
    latest = {score.scheme: score for score in reversed(scores) if score.arm == native}
    if "random" not in latest:
        return ""
    strict = next((scheme for scheme in ("block", "region", "given") if scheme in latest), None)
    if strict is None:
        return "Only random folds were run: test units have neighbours in training, so scores are too high."
    gap = latest["random"].value - latest[strict].value
    return (
        f"Leakage gap of {arm_title(native)}: {number(latest['random'].value)} under random folds against "
        f"{number(latest[strict].value)} ({scheme_title(strict)}), {signed(gap)}. Random folds are a diagnostic."
    )


def _contrast_sections(data: ReportData, contrasts: Sequence[Contrast]) -> list[ContrastSection]:
    rank = {scheme: index for index, scheme in enumerate(data.schemes)}

    def key(contrast: Contrast) -> tuple[str, int, int, str]:
        return (contrast.question, -contrast.year, rank.get(contrast.scheme, len(rank)), contrast.scheme)

    sections = []
    for (question, _, _, scheme), group in groupby(sorted(contrasts, key=key), key=key):
        rows = tuple(group)
        # one axis, one metric: the others are in the table
        metric = next(claim.metric for claim in CLAIMS.values() if claim.question == question)
        drawn = charts.list_drawn([row for row in rows if row.metric == metric])
        chart = charts.draw_contrasts(drawn) if drawn else ""
        title = f"{question}, {rows[0].year}, folds: {scheme_title(scheme)}"
        sections.append(ContrastSection(question, title, Markup(chart), rows))
    return sections


def _map_strip(data: ReportData, contrasts: Sequence[Contrast]) -> tuple[MapStrip | None, str]:
    """Draw the maps of the second question's arms; else say why there are none."""
    claim = CLAIMS["T5"]
    primary = pick_primary(data, claim, list(contrasts))
    native, upsampled = claim.reference, primary.arm if primary is not None else claim.primary_arm
    table = data.queries["predictions"].rows
    if table.num_rows == 0:
        return None, "No predictions inside a kept window are stored, so there is nothing to map."
    latest = pc.max(table["year"]).as_py()
    pair = [_predictions_of(data, table, arm, latest) for arm in (native, upsampled)]
    strip = draw_maps(
        pair[0], pair[1], data.class_names, data.pixel_m, (_capital(arm_title(native)), _capital(arm_title(upsampled)))
    )
    if strip is None:
        return None, "The two arms share no kept window, so there is nothing to put side by side."
    return strip, ""


def _predictions_of(data: ReportData, rows: pa.Table, arm: str, year: int) -> pa.Table:
    scheme = data.answering_scheme
    return rows.filter(
        (pc.field("arm") == arm)
        & (pc.field("year") == year)
        & (pc.field("scheme") == scheme)
        & (pc.field("label_source") == data.label_name)
    )


def _coverage(data: ReportData) -> Markup:
    cells = data.rows("coverage")
    return Markup(charts.draw_coverage(cells)) if cells else Markup("")


def _shards(data: ReportData) -> list[tuple[str, int, int]]:
    """Give (shard, shade, places) in the order of the picture's shades."""
    counts: dict[str, int] = {}
    for cell in data.rows("coverage"):
        counts[cell["shard"]] = counts.get(cell["shard"], 0) + cell["n_places"]
    return [(shard, i % charts.N_SHADES, counts[shard]) for i, shard in enumerate(sorted(counts))]


def _records(data: ReportData) -> list[Record]:
    """Merge the footers' records that say the same of several tables."""
    merged: dict[tuple[Any, ...], tuple[set[str], int]] = {}
    for row in data.rows("footers"):
        record = json.loads(row["record"])
        fields = ("product", "release", "licence", "code_version")
        key = (*(str(record.get(f, "")) for f in fields), tuple(record.get("attribution", ())))
        tables, n_files = merged.get(key, (set(), 0))
        merged[key] = (tables | {row["table_name"]}, n_files + row["n_files"])
    return [
        Record(product, release, licence, attribution, code, tuple(sorted(tables)), n_files)
        for (product, release, licence, code, attribution), (tables, n_files) in sorted(merged.items())
    ]


def _runs(data: ReportData) -> list[tuple[str, str, str, int]]:
    """Give (run, code revision, last written, cells) of each run, latest first."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in data.rows("cells"):
        found.setdefault((row["run_id"] or "–", row["code_rev"] or "–"), []).append(row["created_at"] or "")
    runs = [(run, code, max(times), len(times)) for (run, code), times in found.items()]
    return sorted(runs, key=lambda run: run[2], reverse=True)


def _failures(data: ReportData) -> list[dict[str, Any]]:
    return [row for row in data.rows("cells") if row["status"] not in _SUCCESS]


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
