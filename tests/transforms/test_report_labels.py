"""Wording, published rows and pictures of the page of labels."""

from __future__ import annotations

import base64
import io
import re

import matplotlib.image
import numpy as np
import pytest

from transforms.projection import Projection
from transforms.report.data import LabelPicture
from transforms.report.label_wording import describe_picture, describe_thresholds, probe_title
from transforms.report.published import N_CLASSES, PUBLISHED_ROWS
from transforms.report.scatter import Dot, draw_f2_by_prevalence, draw_one_vs_rest


def score_row(probe: str, rule: str, recall: float, **others: float) -> dict:
    scores = {"micro_precision": 0.7, "micro_f2": 0.4, "macro_f2": 0.3} | others
    return {"probe": probe, "threshold_rule": rule, "micro_recall": recall, **scores}


@pytest.mark.parametrize(
    ("recalls", "headline"),
    [
        ({"mlp": (0.3, 0.6)}, "Thresholds of 0.5 hide recall: tuned, MLP finds more of the labels."),
        (
            {"random_forest": (0.3, 0.5), "logistic": (0.3, 0.4), "mlp": (0.4, 0.6)},
            "Thresholds of 0.5 hide recall: tuned, random forest, linear probe and MLP find more of the labels.",
        ),
        (
            {"random_forest": (0.3, 0.5), "logistic": (0.5, 0.4)},
            "Thresholds of 0.5 hide recall of random forest, not of linear probe.",
        ),
        ({"logistic": (0.6, 0.6)}, "Thresholds of 0.5 hide no recall of linear probe here."),
        ({"logistic": (0.60001, 0.60049)}, "Thresholds of 0.5 hide no recall of linear probe here."),
        ({}, "No thresholds were tuned here, so nothing can be said of what 0.5 hides."),
    ],
)
def test_the_headline_says_what_the_printed_recalls_say(recalls: dict[str, tuple[float, float]], headline: str) -> None:
    rows = [
        score_row(probe, rule, recall)
        for probe, pair in recalls.items()
        for rule, recall in zip(("0.5", "tuned"), pair, strict=True)
    ]
    assert describe_thresholds(rows)[0] == headline


def test_sentences_give_printed_figures_and_their_difference() -> None:
    rows = [
        score_row("mlp", "0.5", 0.31449, micro_precision=0.7, micro_f2=0.3534),
        score_row("mlp", "tuned", 0.5006, micro_precision=0.6004, micro_f2=0.3536),
        score_row("knn_5", "0.5", 0.2),
    ]
    (sentence,) = describe_thresholds(rows)[1]
    assert sentence == (
        "MLP, 0.5 to tuned: micro recall 0.314 to 0.501 (+0.187), micro precision 0.700 to 0.600 (−0.100), "
        "micro F2 0.353 to 0.354 (+0.001), macro F2 0.300 to 0.300 (0.000)."
    )
    assert describe_thresholds(rows[2:])[1] == ()


def test_probes_have_the_names_of_the_field() -> None:
    assert [probe_title(name) for name in ("mlp", "knn_20", "logistic")] == ["MLP", "kNN, k = 20", "linear probe"]


def test_the_published_rows_imply_the_recall_and_the_labels_that_were_reported() -> None:
    recalls = [row.micro_recall for row in PUBLISHED_ROWS]
    assert [round(recall, 3) for recall in recalls] == [0.318, 0.314, 0.442]
    for row in PUBLISHED_ROWS:
        assert row.labels_per_patch == pytest.approx(2.9, abs=0.05)
        # the algebra the other way round: F2 and Hamming loss from what they imply
        p, r = row.micro_precision, row.micro_recall
        assert 5 * p * r / (4 * p + r) == pytest.approx(row.micro_f2, abs=1e-12)
        missed, false = 1 - r, r * (1 - p) / p
        assert row.labels_per_patch * (missed + false) / N_CLASSES == pytest.approx(row.hamming_loss, abs=1e-12)
        assert row.hamming_of_nothing == pytest.approx(0.152, abs=0.0015)


@pytest.mark.parametrize(
    ("method", "n_labelled", "words"),
    [
        ("umap", 9000, "UMAP (15 neighbours, cosine) of the native vectors of 4 of 9,000 labelled patches"),
        ("pca", 4, "First two principal components (UMAP needs the package umap-learn"),
    ],
)
def test_the_page_says_which_projection_it_shows(method: str, n_labelled: int, words: str) -> None:
    shown = Projection(np.zeros((4, 2), np.float32), method)  # type: ignore[arg-type]  # one of the two
    assert words in describe_picture(LabelPicture(shown, np.zeros((4, 2), bool), n_labelled))
    assert describe_picture("no vectors.") == "There is no picture: no vectors."


def read_png(uri: str) -> np.ndarray:
    return np.rint(matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.split(",")[1]))) * 255).astype(int)


def test_units_of_the_class_are_in_colour_where_they_stand() -> None:
    xy = np.array([[0, 0], [10, 0], [0, 5]], np.float32)
    picture = read_png(draw_one_vs_rest(xy, np.array([True, False, False])))
    side = len(picture)
    colored = np.argwhere((picture[..., :3] == (213, 94, 0)).all(axis=2) & (picture[..., 3] == 255))
    row, col = colored.mean(axis=0)
    assert col < side * 0.1  # west, below the middle: half as high as wide, centred
    assert row == pytest.approx(side * 0.75 - 5, abs=5)
    grey = (picture[..., 3] > 0) & (picture[..., 3] < 255)
    assert grey.sum() == 2 * len(colored)


def test_one_place_is_one_dot() -> None:
    picture = read_png(draw_one_vs_rest(np.ones((3, 2), np.float32), np.ones(3, bool)))
    assert 0 < (picture[..., 3] > 0).sum() < 50


def test_the_chart_places_classes_by_log_prevalence_and_names_what_fits() -> None:
    dots = {
        "rf": [Dot("common", 0.1, 0.9), Dot("rare", 0.002, 0.1)],
        "linear": [Dot("common", 0.1, 0.5), *(Dot(f"hidden{i}", 0.099, 0.9) for i in range(5))],
        "mlp": [],
    }
    svg = draw_f2_by_prevalence(dots, "F2")
    common, rare = (float(x) for x in re.findall(r'<circle class="probe rf" cx="([\d.]+)"', svg))
    ticks = {text: float(x) for x, text in re.findall(r'<text class="tick" x="([\d.]+)" y="[\d.]+">([\d.]+) %<', svg)}
    assert common == pytest.approx(ticks["10"], abs=0.2)
    decade = ticks["1"] - ticks["0.1"]
    assert rare == pytest.approx(ticks["0.1"] + np.log10(2) * decade, abs=0.2)
    assert svg.count('<rect class="probe linear"') == 6
    boxes = re.findall(r'class="tick name" x="([\d.]+)" y="([\d.]+)">(\w+)<', svg)
    names = [name for _, _, name in boxes]
    assert names[0] == "common"
    assert "rare" in names
    assert len(names) < 7  # six classes stand at one place: what fits on no side is left out
    for i, (x, y, name) in enumerate(boxes):
        for other_x, other_y, other in boxes[:i]:
            apart_px = 3.1 * (len(name) + len(other))
            assert abs(float(x) - float(other_x)) >= apart_px - 1 or abs(float(y) - float(other_y)) >= 12


def test_a_single_decade_has_ticks_between() -> None:
    svg = draw_f2_by_prevalence({"mlp": [Dot("one", 0.3, 0.5)]}, "F2")
    shown = re.findall(r'<text class="tick"[^>]*>([\d.]+) %<', svg)
    assert shown == ["100", "50", "20", "10"]
