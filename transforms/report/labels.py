"""The page of labels: probes on patches that have several classes each, and what a threshold of 0.5 hides.

Belongs here: the tables and pictures of the page. Does not: other pages (`page.py`, `operators.py`), sentences
(`label_wording.py`), the published rows (`published.py`), drawing (`scatter.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from transforms.cell_rows import FIXED
from transforms.multilabel_metrics import MULTILABEL_METRICS
from transforms.report.data import LabelPicture, ReportData
from transforms.report.label_wording import RULE_TITLES, describe_picture, describe_thresholds, probe_title
from transforms.report.published import PUBLISHED_ROWS, SOURCE
from transforms.report.scatter import Dot, draw_f2_by_prevalence, draw_one_vs_rest
from transforms.report.templates import build_environment
from transforms.report.wording import arm_title, number, scheme_title

Row = dict[str, Any]
#: The arm whose probes are compared.
NATIVE = "native_patch"
#: Columns of the table of scores: those of the study, then what it left out.
COLUMNS: Mapping[str, str] = {
    "macro_f2": "F2 macro",
    "micro_f2": "F2 micro",
    "hamming_loss": "Hamming loss",
    "macro_precision": "precision macro",
    "micro_precision": "precision micro",
    "macro_recall": "recall macro",
    "micro_recall": "recall micro",
    "macro_f1": "F1 macro",
    "micro_f1": "F1 micro",
    "macro_average_precision": "AP macro",
    "micro_average_precision": "AP micro",
}
#: The probes of the study, in its order, with the CSS class of their mark.
STUDY_PROBES: Mapping[str, str] = {"random_forest": "rf", "logistic": "linear", "mlp": "mlp"}


#: Marks of the probes as they stand in the chart, for its legend.
_MARKS = {
    "rf": '<circle class="probe rf" cx="6" cy="6" r="5"/>',
    "linear": '<rect class="probe linear" x="1" y="1" width="10" height="10"/>',
    "mlp": '<circle class="probe mlp" cx="6" cy="6" r="4.5"/>',
}


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one arm in one scheme.

    Attributes:
        title: arm and scheme in words.
        rows: (probe, threshold rule, values in the order of `COLUMNS`).
    """

    title: str
    rows: tuple[tuple[str, str, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class ClassRow:
    """One class: how often it occurs, and how well each probe finds it.

    Attributes:
        name: of the class.
        prevalence: share of the scored patches.
        n_patches: scored patches that have it.
        f2: by probe and threshold rule, in the order of `LabelsPage.series`.
        average_precision: by probe, in the order of `LabelsPage.probes`.
    """

    name: str
    prevalence: float
    n_patches: int
    f2: tuple[float | None, ...]
    average_precision: tuple[float | None, ...]


@dataclass(frozen=True)
class Panel:
    """One class against the rest.

    Attributes:
        name: of the class.
        uri: picture, a data URI.
        caption: prevalence and average precision in words.
    """

    name: str
    uri: str
    caption: str


@dataclass(frozen=True)
class LabelsPage:
    """What the page shows: the latest year, and the scheme that answers the questions.

    Attributes:
        year: embedding year.
        scheme: in words.
        n_units: scored patches.
        n_blocks: blocks that hold them.
        n_classes: k.
        label_density: share of flags that are set.
        headline: what tuned thresholds change.
        sentences: the same in figures, by probe.
        native: scores of the native arm, and of predicting nothing.
        others: scores of other arms and schemes.
        charts: (rule in words, SVG).
        series: (probe, rule in words) of the columns of F2.
        probes: titles of the study's probes that ran.
        classes: most frequent first.
        panels: one per class that occurs in the picture, most frequent first.
        picture: how the panels were made in words, or why there are none.
        is_simulated: True if any row is.
    """

    year: int
    scheme: str
    n_units: int
    n_blocks: int
    n_classes: int
    label_density: float
    headline: str
    sentences: tuple[str, ...]
    native: ScoreTable
    others: tuple[ScoreTable, ...]
    charts: tuple[tuple[str, Markup], ...]
    series: tuple[tuple[str, str], ...]
    probes: tuple[str, ...]
    classes: tuple[ClassRow, ...]
    panels: tuple[Panel, ...]
    picture: str
    is_simulated: bool


def labels_year(data: ReportData) -> int | None:
    """Give the latest year in which the native arm has scores of several labels a patch; None without any."""
    years = [row["year"] for row in data.rows("label_scores") if data.is_current(row) and row["arm"] == NATIVE]
    return max(years, default=None)


def render_labels(data: ReportData, picture: LabelPicture | str, main_page: str) -> str:
    """Render the page of labels; empty where the native arm was not scored on several labels a patch.

    Args:
        data: query results and what the settings say.
        picture: the native vectors on a plane, or why there is none.
        main_page: relative address of the report.

    Returns:
        One self-contained HTML page, or an empty text.
    """
    page = build_labels(data, picture)
    if page is None:
        return ""
    marks = [Markup(_MARKS[STUDY_PROBES[probe]]) for probe in STUDY_PROBES if probe_title(probe) in page.probes]
    return (
        build_environment()
        .get_template("labels.html")
        .render(
            data=data,
            page=page,
            main_page=main_page,
            columns=COLUMNS.values(),
            marks=marks,
            published=PUBLISHED_ROWS,
            published_source=SOURCE,
        )
    )


def build_labels(data: ReportData, picture: LabelPicture | str) -> LabelsPage | None:
    """Build the page.

    Args:
        data: query results and what the settings say.
        picture: the native vectors on a plane, or why there is none.

    Returns:
        The page; None where no native arm was scored on several labels a patch.
    """
    year = labels_year(data)
    if year is None:
        return None
    scores, classes = (
        [row for row in data.rows(name) if data.is_current(row) and row["year"] == year]
        for name in ("label_scores", "label_classes")
    )
    scheme = _first_scheme(data, scores)
    native = [row for row in scores if row["arm"] == NATIVE and row["scheme"] == scheme]
    by_class = [row for row in classes if row["arm"] == NATIVE and row["scheme"] == scheme]
    probes = [probe for probe in STUDY_PROBES if any(row["probe"] == probe for row in native)]
    nothing = _predict_nothing(by_class, len(data.class_names))
    headline, sentences = describe_thresholds([row for probe in probes for row in native if row["probe"] == probe])
    rows = _class_rows(data, by_class, probes)
    return LabelsPage(
        year=year,
        scheme=scheme_title(scheme),
        n_units=max(row["n_units"] for row in native),
        n_blocks=max(row["n_blocks"] for row in native),
        n_classes=len(data.class_names),
        label_density=float(nothing["label_density"]),
        headline=headline,
        sentences=sentences,
        native=_score_table(native, nothing),
        others=_other_tables(scores, scheme),
        charts=_charts(data, by_class, probes),
        series=tuple((probe_title(probe), RULE_TITLES[rule]) for probe in probes for rule in RULE_TITLES),
        probes=tuple(probe_title(probe) for probe in probes),
        classes=rows,
        panels=_panels(data, picture, rows, probes) if isinstance(picture, LabelPicture) else (),
        picture=describe_picture(picture),
        is_simulated=any(row["is_simulated"] for row in (*scores, *classes)),
    )


def _first_scheme(data: ReportData, rows: Sequence[Row]) -> str:
    """Give the first scheme of the settings that the native arm was scored in."""
    present = dict.fromkeys(row["scheme"] for row in rows if row["arm"] == NATIVE)
    return next((scheme for scheme in data.schemes if scheme in present), next(iter(present)))


def _predict_nothing(rows: Sequence[Row], n_classes: int) -> dict[str, float]:
    """Score an arm that predicts no label at all, on the labels that the arms were scored on."""
    counts = np.zeros((n_classes, 2, 2), np.int64)
    for row in rows:
        counts[row["class_id"], :, 0] = row["n_units"] - row["n_truth"], row["n_truth"]
    return {name: float(score(counts)) for name, score in MULTILABEL_METRICS.items()}


def _score_table(rows: Sequence[Row], nothing: Mapping[str, float] | None = None, title: str = "") -> ScoreTable:
    order = {probe: rank for rank, probe in enumerate(STUDY_PROBES)}
    ranked = sorted(rows, key=lambda row: (order.get(row["probe"], len(order)), row["probe"], row["threshold_rule"]))
    found = [
        (probe_title(row["probe"]), RULE_TITLES[row["threshold_rule"]], tuple(row[name] for name in COLUMNS))
        for row in ranked
    ]
    if nothing is not None:
        found.append(("predict nothing", "", tuple(nothing.get(name) for name in COLUMNS)))
    return ScoreTable(title, tuple(found))


def _other_tables(rows: Sequence[Row], scheme: str) -> tuple[ScoreTable, ...]:
    keys = dict.fromkeys((row["scheme"], row["arm"]) for row in rows)
    # the answering scheme first, the native arm first
    ordered = sorted(keys, key=lambda key: (key[0] != scheme, key[0], key[1] != NATIVE, key[1]))
    return tuple(
        _score_table(
            [row for row in rows if (row["scheme"], row["arm"]) == key],
            title=f"{arm_title(key[1])}; folds: {scheme_title(key[0])}",
        )
        for key in ordered
        if key != (scheme, NATIVE)
    )


def _class_rows(data: ReportData, rows: Sequence[Row], probes: Sequence[str]) -> tuple[ClassRow, ...]:
    found = {(row["class_id"], row["probe"], row["threshold_rule"]): row for row in rows}
    first = {row["class_id"]: row for row in rows}
    ranked = sorted(first, key=lambda k: (-first[k]["prevalence"], k))
    return tuple(
        ClassRow(
            data.class_names[k],
            first[k]["prevalence"],
            first[k]["n_truth"],
            tuple(found.get((k, probe, rule), {}).get("f2") for probe in probes for rule in RULE_TITLES),
            tuple(found.get((k, probe, FIXED), {}).get("average_precision") for probe in probes),
        )
        for k in ranked
    )


def _charts(data: ReportData, rows: Sequence[Row], probes: Sequence[str]) -> tuple[tuple[str, Markup], ...]:
    """Draw F2 against prevalence by threshold rule; classes that no scored patch has cannot be placed."""
    charts = []
    for rule, words in RULE_TITLES.items():
        dots = {
            STUDY_PROBES[probe]: [
                Dot(data.class_names[row["class_id"]], row["prevalence"], row["f2"])
                for row in rows
                if (row["probe"], row["threshold_rule"]) == (probe, rule) and row["n_truth"] > 0
            ]
            for probe in probes
        }
        if any(dots.values()):
            # safe: built from elements, which escape their text
            charts.append(
                (words, Markup(draw_f2_by_prevalence(dots, f"F2 by class and prevalence, thresholds {words}")))
            )
    return tuple(charts)


def _panels(
    data: ReportData, picture: LabelPicture, classes: Sequence[ClassRow], probes: Sequence[str]
) -> tuple[Panel, ...]:
    """Draw one class against the rest for each class that is in the picture."""
    speaker = probes.index("logistic") if "logistic" in probes else 0
    panels = []
    for row in classes:
        is_class = picture.flags[:, data.class_names.index(row.name)]
        if is_class.any():
            caption = f"prevalence {row.prevalence:.1%}"
            if probes:
                caption += f", AP {number(row.average_precision[speaker], 2)} by {probe_title(probes[speaker])}"
            panels.append(Panel(row.name, draw_one_vs_rest(picture.projection.xy, is_class), caption))
    return tuple(panels)
