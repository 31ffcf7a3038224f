"""Sentences of the page of labels: names of probes, what tuned thresholds change, how the picture was made.

Belongs here: text that depends on results. Does not: fixed prose (`labels.html`), numbers and tables (`labels.py`).
No sentence says more than the scores as they are printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.cell_rows import FIXED, TUNED
from transforms.report.data import LabelPicture
from transforms.report.wording import number, signed

Row = dict[str, Any]
_PROBE_TITLES = {
    "random_forest": "random forest",
    "logistic": "linear probe",
    "mlp": "MLP",
    "ridge": "ridge",
    "majority": "class frequencies",
    "conv_head": "convolutional head",
}
#: Threshold rules in words.
RULE_TITLES = {FIXED: "0.5", TUNED: "tuned"}


def probe_title(probe: str) -> str:
    """Name a probe as the field does."""
    return _PROBE_TITLES.get(probe, probe.replace("knn_", "kNN, k = ").replace("_", " "))


def describe_thresholds(rows: Sequence[Row]) -> tuple[str, tuple[str, ...]]:
    """Say what tuned thresholds change, by the scores as they are printed and no more.

    Args:
        rows: of `label_scores`, one arm and scheme; probes with one row only are left out.

    Returns:
        (headline, one sentence per probe).
    """
    found = {(row["probe"], row["threshold_rule"]): row for row in rows}
    probes = [probe for probe in dict.fromkeys(row["probe"] for row in rows) if (probe, TUNED) in found]
    pairs = {probe: (found[probe, FIXED], found[probe, TUNED]) for probe in probes if (probe, FIXED) in found}
    if not pairs:
        return "No thresholds were tuned here, so nothing can be said of what 0.5 hides.", ()
    gains = {
        probe: round(tuned["micro_recall"], 3) - round(fixed["micro_recall"], 3)
        for probe, (fixed, tuned) in pairs.items()
    }
    hidden, clear = (
        [probe_title(p) for p, gain in gains.items() if (gain > 0) == is_gain] for is_gain in (True, False)
    )
    if not clear:
        verb = "finds" if len(hidden) == 1 else "find"
        headline = f"Thresholds of 0.5 hide recall: tuned, {_list(hidden)} {verb} more of the labels."
    elif hidden:
        headline = f"Thresholds of 0.5 hide recall of {_list(hidden)}, not of {_list(clear)}."
    else:
        headline = f"Thresholds of 0.5 hide no recall of {_list(clear)} here."
    return headline, tuple(_compare(probe_title(probe), pair) for probe, pair in pairs.items())


def _list(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _compare(title: str, pair: tuple[Row, Row]) -> str:
    # differences of the printed figures: a reader subtracts them
    before, after = ({name: round(value, 3) for name, value in row.items() if isinstance(value, float)} for row in pair)
    parts = [
        f"{words} {number(before[name])} to {number(after[name])} ({signed(after[name] - before[name])})"
        for name, words in (
            ("micro_recall", "micro recall"),
            ("micro_precision", "micro precision"),
            ("micro_f2", "micro F2"),
            ("macro_f2", "macro F2"),
        )
    ]
    return f"{title[0].upper()}{title[1:]}, 0.5 to tuned: {', '.join(parts)}."


def describe_picture(picture: LabelPicture | str) -> str:
    """Say how the picture was made, or why there is none."""
    if isinstance(picture, str):
        return f"There is no picture: {picture}"
    method = {
        "umap": "UMAP (15 neighbours, cosine)",
        "pca": "First two principal components (UMAP needs the package umap-learn and more than 15 patches)",
    }[picture.projection.method]
    shown = len(picture.flags)
    drawn = f"all {shown:,} labelled patches"
    if shown < picture.n_labelled:
        drawn = f"{shown:,} of {picture.n_labelled:,} labelled patches, drawn uniformly"
    return f"{method} of the native vectors of {drawn}."
