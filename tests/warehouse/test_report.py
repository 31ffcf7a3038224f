"""The report: what it says, and that it stands alone."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import math
import os
import re
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.fake_evidence import (
    ACCURACY,
    make_settings,
    write_evidence,
    write_patch_predictions,
    write_places,
    write_predictions,
)
from tests.warehouse.fake_rows import CLASSES, PAIR, demo_specs
from transforms.arms import CLAIMS
from transforms.inference import contrast_arms
from transforms.metrics import METRICS
from transforms.report import charts
from transforms.report.data import Contrast, read_contrasts
from transforms.report.maps import class_colors, draw_maps
from transforms.report.scores import score_arms, score_interval
from transforms.report.wording import answer_question, bytes_title, honest_verdict, number, signed
from warehouse.queries import run_sql
from warehouse.report import read_report_data, write_report

SPECS = demo_specs()


class Outline(HTMLParser):
    """Collects what a page loads, its tags and its visible text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.loads, self.links, self.missing_alt = [], [], [], []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        # a link is followed by a reader, not loaded by the page
        self.links += [values["href"]] if tag == "a" and "href" in values else []
        names = ("src", "data", "poster") if tag == "a" else ("src", "href", "data", "poster")
        self.loads += [values[name] for name in names if name in values]
        if tag == "img" and not values.get("alt"):
            self.missing_alt.append(values)

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def write_page(root, **evaluate):
    path = write_report(make_settings(root, **evaluate), root, SPECS, root / "out" / "report.html")
    return path.read_text(encoding="utf-8")


def plain(page):
    return " ".join(Outline(page).text.split())


@pytest.fixture(scope="module")
def demo_page(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    generator = np.random.default_rng(3)
    write_evidence(root, generator, schemes=("block", "random"))
    write_predictions(root, generator)
    write_patch_predictions(root, generator)
    write_places(root, generator)
    return root, write_page(root, schemes=("block", "random"))


def test_the_page_stands_alone(demo_page):
    _, page = demo_page
    outline = Outline(page)
    assert all(load.startswith("data:image/png;base64,") for load in outline.loads)
    assert not {"script", "link", "iframe"} & set(outline.tags)
    assert "@import" not in page
    assert "url(" not in page
    assert outline.missing_alt == []
    assert outline.links == ["report_study.html", "report_operators.html"]
    assert outline.tags.count("img") == 4
    assert len(page) < 3_000_000


def test_charts_have_a_spoken_form(demo_page):
    _, page = demo_page
    pictures = re.findall(r"<svg (?!class=\"swatch\")[^>]*>", page)
    assert len(pictures) == 2 + 4 + 1
    assert all('role="img"' in p and 'aria-label="' in p for p in pictures)


def test_verdicts_and_figures_are_those_of_the_contrasts(demo_page):
    root, page = demo_page
    text = plain(page)
    rows = run_sql(root, SPECS, PAIR, "from verdicts where scheme = 'block' order by question").to_pylist()
    assert [row["question"] for row in rows] == ["Q1", "Q2"]
    for row in rows:
        assert f"{signed(row['lo'])} to {signed(row['hi'])}, over {row['n_blocks']} spatial blocks" in text
        assert f"a difference of {signed(row['delta'])}" in text
    assert rows[1]["verdict"] == "inferior"
    assert "No: the loss exceeds the margin" in text


def test_texts_are_escaped_and_attributions_travel(demo_page):
    _, page = demo_page
    assert "labels of Cover &lt;2021&gt;" in page
    text = plain(page)
    assert "The AlphaEarth Foundations Satellite Embedding dataset is produced by Google and Google DeepMind." in text
    assert "Labels by the label maker." in text
    assert "CC-BY-4.0" in text
    assert "0.1.0+abc" in text
    assert "run-1" in text


def test_every_number_shows_sql_that_runs(demo_page):
    root, main = demo_page
    page = main + (root / "out" / "report_study.html").read_text(encoding="utf-8")
    queries = [html.unescape(q) for q in re.findall(r"<pre tabindex=\"0\"><code>(.*?)</code></pre>", page, re.S)]
    assert len(set(queries)) == 9 + 14
    stored = read_report_data(make_settings(root), root, SPECS).queries
    of_labels = {"label_scores", "label_classes"}  # on a page of their own, see test_report_labels.py
    assert set(queries) == {query.text for name, query in stored.items() if name not in of_labels}
    for text in queries:
        expected = next(query.rows for query in stored.values() if query.text == text)
        assert run_sql(root, SPECS, PAIR, text).num_rows == expected.num_rows


def test_bars_equal_scores_in_sql(demo_page):
    root, page = demo_page
    data = read_report_data(make_settings(root, schemes=("block", "random")), root, SPECS)
    in_sql = {(r["task"], r["scheme"], r["arm"]): r for r in data.rows("scores")}
    scores = score_arms(data)
    assert len(scores) == len(in_sql) == 20
    for score in scores:
        row = in_sql[score.task, score.scheme, score.arm]
        assert score.value == pytest.approx(row[score.metric], abs=1e-12)
        assert score.accuracy == pytest.approx(row["overall_accuracy"], abs=1e-12)
        assert score.lo < score.value < score.hi
        assert number(score.value) in plain(page)


def test_schemes_are_a_table_with_the_leakage_gap(demo_page):
    _, page = demo_page
    text = plain(page)
    assert "Leakage gap of native patch vectors" in text
    assert "The same as a table, by fold scheme" in text


def test_simulated_data_is_said_in_words_and_real_data_is_not(tmp_path, rng):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_evidence(tmp_path / "a", rng, is_simulated=True, n_blocks=4)
    write_evidence(tmp_path / "b", rng, is_simulated=False, n_blocks=4)
    assert "Simulated data." in plain(write_page(tmp_path / "a"))
    assert "Simulated data." not in plain(write_page(tmp_path / "b"))


def test_an_empty_warehouse_gives_a_page_that_says_so(tmp_path):
    text = plain(write_page(tmp_path))
    assert text.count("Nothing was compared for this question") == 2
    assert "No predictions inside a kept window are stored" in text
    assert "No arm has been scored yet" in text
    assert "No evaluation has run" in text


def test_one_question_alone(tmp_path, rng):
    write_evidence(tmp_path, rng, tasks=("T1",), n_blocks=24)
    text = plain(write_page(tmp_path, tasks=("T1",)))
    assert "Nothing was compared for this question: there is no primary contrast of task T5" in text
    assert "Patch classification" in text
    assert "Segmentation (" not in text


def test_an_absent_product_is_named(tmp_path):
    settings = make_settings(tmp_path)
    settings = settings.model_copy(update={"compare": settings.compare.model_copy(update={"patches": None})})
    specs = demo_specs(patches=None)
    page = write_report(settings, tmp_path, specs, tmp_path / "report.html").read_text()
    assert "the settings compare no patch product" in plain(page)


def test_a_diagnostic_is_never_a_verdict(tmp_path, rng):
    write_evidence(tmp_path, rng, status="diagnostic", accuracy={**ACCURACY, "pooled_stats": 0.95})
    text = plain(write_page(tmp_path, diagnostic="Blocks lie inside one scene."))
    assert text.count("Diagnostic only: no verdict") == 2
    assert "Here: Blocks lie inside one scene." in text
    assert "Yes, and better" not in text


def test_under_twenty_blocks_nothing_is_decided(tmp_path, rng):
    write_evidence(tmp_path, rng, n_blocks=12, accuracy={**ACCURACY, "pooled_stats": 0.95})
    text = plain(write_page(tmp_path))
    assert "Under 20 blocks no verdict is given" in text
    assert "Yes, and better" not in text


def test_a_killed_write_keeps_the_old_page(tmp_path, rng, monkeypatch):
    write_evidence(tmp_path, rng, n_blocks=4)
    old = write_page(tmp_path)
    monkeypatch.setattr(os, "replace", _refuse)
    with pytest.raises(OSError, match="disk"):
        write_page(tmp_path)
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == old
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.html", "report_study.html"]


def _refuse(*_):
    raise OSError("disk")


# -- wording --------------------------------------------------------------------------------------------------


def contrast(**changes):
    values = {
        "year": 2024,
        "question": "Q1",
        "scheme": "block",
        "metric": "macro_f1",
        "arm": "pooled_stats",
        "reference": "native_patch",
        "arm_value": 0.8,
        "reference_value": 0.81,
        "delta": -0.01,
        "lo": -0.015,
        "hi": -0.005,
        "margin": 0.02,
        "verdict": "non-inferior",
        "is_primary": True,
        "n_blocks": 36,
        "block_wins": 10,
        "p_holm": 0.01,
        "status": "ok",
        "note": None,
    }
    return Contrast(**{**values, **changes})


@pytest.fixture
def data(tmp_path):
    return read_report_data(make_settings(tmp_path), tmp_path, SPECS)


@pytest.mark.parametrize(
    ("changes", "headline", "words"),
    [
        ({}, "Yes, within the margin", "There is a loss, for the interval lies below zero"),
        ({"hi": 0.01}, "Yes, within the margin", "it does not show that either is better"),
        ({"lo": 0.001, "hi": 0.03, "verdict": "superior"}, "Yes, and better", "whole interval lies above zero"),
        ({"lo": -0.06, "hi": -0.03, "verdict": "inferior"}, "No: the loss exceeds the margin", "below −0.02"),
        ({"lo": -0.03, "hi": 0.01, "verdict": "inconclusive"}, "Undecided", "smaller loss as well as a larger"),
        ({"n_blocks": 19, "verdict": "inconclusive"}, "Undecided", "Under 20 blocks"),
        ({"n_blocks": 19}, "Undecided", "Under 20 blocks"),
        ({"verdict": "superior"}, "Undecided", "does not follow from the interval"),
        ({"lo": math.nan, "hi": math.nan, "verdict": "inconclusive"}, "Undecided", "no interval could be computed"),
        ({"status": "diagnostic", "note": "one scene"}, "Diagnostic only: no verdict", "Here: one scene."),
        ({"status": "failed", "delta": None, "note": "no units"}, "No answer", "no units"),
    ],
)
def test_sentences_claim_what_the_interval_allows(data, changes, headline, words):
    answer = answer_question(data, CLAIMS["T1"], [contrast(**changes)])
    assert answer.headline == headline
    assert words in answer.sentence


def test_only_the_first_scheme_and_latest_year_answer(data):
    others = [contrast(scheme="random", verdict="superior"), contrast(year=2023), contrast(is_primary=False)]
    assert answer_question(data, CLAIMS["T1"], others[::2]).headline == "Not asked"
    assert answer_question(data, CLAIMS["T1"], [*others, contrast(delta=-0.011)]).contrast == contrast(delta=-0.011)
    # random folds may be listed first: they leak, so the next scheme answers
    leaky_first = dataclasses.replace(data, schemes=("random", "block"))
    assert answer_question(leaky_first, CLAIMS["T1"], [contrast()]).contrast == contrast()


def test_a_stored_verdict_that_overclaims_is_not_repeated():
    assert honest_verdict(contrast(verdict="superior")) == "inconclusive"
    assert honest_verdict(contrast()) == "non-inferior"
    assert honest_verdict(contrast(lo=None)) == "inconclusive"


def test_numbers_use_a_minus_sign_and_no_signed_zero():
    assert (signed(-0.0312), signed(0.02), signed(-0.0001)) == ("−0.031", "+0.020", "0.000")
    assert (number(None), number(math.nan), number(-1.5, 1)) == ("–", "–", "−1.5")
    assert (bytes_title(999), bytes_title(1_500_000), bytes_title(250_000_000_000)) == ("999 B", "1.5 MB", "250 GB")


def test_contrasts_of_other_label_sources_are_left_out(tmp_path, rng):
    write_evidence(tmp_path, rng, n_blocks=4)
    read = read_report_data(make_settings(tmp_path), tmp_path, SPECS)
    assert len(read_contrasts(read)) == 8
    assert read_contrasts(dataclasses.replace(read, label_name="other")) == []


# -- intervals, charts, maps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_blocks", [8, 40])
def test_a_score_interval_is_the_interval_of_resampled_scores(n_blocks):
    generator = np.random.default_rng(0)
    confusions = generator.integers(0, 9, (n_blocks, 3, 3))
    lo, hi = score_interval(confusions, "mean_iou", np.random.default_rng(1))
    score = METRICS["mean_iou"]
    if n_blocks >= 30:
        draws = np.random.default_rng(1).multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=2000)
        values = [float(score(np.tensordot(w, confusions, axes=1))) for w in draws]
        level = 0.02025754  # Phi(-t(39) sqrt(40 / 39)): the expanded percentile interval
        np.testing.assert_allclose([lo, hi], np.quantile(values, [level, 1 - level]), atol=1e-6)
    else:
        left_out = np.array([float(score(np.delete(confusions, b, 0).sum(0))) for b in range(n_blocks)])
        se = math.sqrt((n_blocks - 1) / n_blocks * ((left_out - left_out.mean()) ** 2).sum())
        middle = float(score(confusions.sum(0)))
        assert (hi - middle) / se == pytest.approx((middle - lo) / se) == pytest.approx(2.3646, abs=1e-3)


def test_one_block_has_no_interval():
    lo, hi = score_interval(np.ones((1, 2, 2), int), "macro_f1", np.random.default_rng(0))
    assert math.isnan(lo)
    assert math.isnan(hi)


def test_score_intervals_agree_with_the_contrast_machinery():
    confusions = np.random.default_rng(0).integers(1, 9, (40, 3, 3))
    found = contrast_arms(confusions, confusions, metric="macro_f1", margin=0.1, rng=np.random.default_rng(0))
    assert found.lo == found.hi == 0.0


def test_contrast_chart_leaves_controls_out_and_places_the_margin():
    rows = [contrast(), contrast(arm="patch_majority", delta=-0.5, lo=-0.6, hi=-0.4), contrast(delta=math.nan)]
    drawn = charts.list_drawn(rows)
    assert drawn == rows[:1]
    svg = charts.draw_contrasts(drawn)

    def x(css):
        return float(re.search(rf'<line class="{css}" x1="([\d.]+)"', svg).group(1))

    dot = float(re.search(r'<circle class="dot primary" cx="([\d.]+)"', svg).group(1))
    assert x("margin") < dot < x("zero")
    assert (dot - x("margin")) == pytest.approx(x("zero") - dot, abs=0.2)


def test_maps_show_what_the_rows_say():
    grid = {"x_m": [5.0, 15.0, 5.0, 15.0], "y_m": [25.0, 25.0, 15.0, 15.0]}
    truth = np.array([0, 1, 2, 3], np.int16)

    def table(pred, window="w"):
        columns = {**grid, "window": [window] * 4, "epsg": [32648] * 4, "truth": truth}
        return pa.table({**columns, "pred": np.array(pred, np.int16)})

    strip = draw_maps(table([0, 1, 0, 0]), table([0, 0, 2, 0]), CLASSES, 10.0, ("A", "B"))
    assert [round(share, 2) for _, _, share in strip.shares] == [0.25, 0.25, 0.25, 0.25]
    assert [name for name, _ in strip.legend] == list(CLASSES)
    picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(strip.panels[0].uri.split(",")[1])))
    shown = ["#{:02x}{:02x}{:02x}".format(*np.rint(pixel[:3] * 255).astype(int)) for pixel in picture.reshape(-1, 4)]
    assert shown == class_colors(CLASSES)
    assert draw_maps(table([0] * 4), table([0] * 4, "other"), CLASSES, 10.0, ("A", "B")) is None


def test_class_colors_are_expected_ones_and_distinct():
    names = ("water", "tree cover", "rice", "built-up", "x", "y", "z", "grassland", "bare", "road")
    colors = class_colors(names)
    assert len(set(colors)) == 10
    assert colors[0] == "#88ccee"
    assert colors[1] == "#117733"


def test_the_page_of_operators_shows_each_arm_with_score_width_and_both_pictures(demo_page):
    root, page = demo_page
    text = (root / "out" / "report_operators.html").read_text(encoding="utf-8")
    outline = Outline(text)
    assert 'href="report_operators.html"' in page
    assert 'href="report.html"' in text
    assert all(load.startswith("data:image/png;base64,") for load in outline.loads)
    assert outline.missing_alt == []
    assert not {"script", "link", "iframe"} & set(outline.tags)
    # two tasks, labels and two arms each, an arm has two pictures
    assert outline.tags.count("img") == 2 * (1 + 2 * 2)
    words = " ".join(outline.text.split())
    for arm in ("native_patch", "pooled_stats", "native_pixel", "upsampled_bilinear"):
        assert arm in words
    scores = run_sql(root, SPECS, PAIR, "select arm, mean_iou from scores_from_confusions where scheme = 'block'")
    found = {row["arm"]: row["mean_iou"] for row in scores.to_pylist()}
    assert f"{found['upsampled_bilinear']:.3f} (" in words
    assert "The primary arm of question 2" in words
    assert "Simulated data" in words


def test_without_maps_there_is_no_page_of_operators_and_an_old_one_goes(tmp_path, rng):
    write_evidence(tmp_path, rng)
    stale = tmp_path / "out" / "report_operators.html"
    stale.parent.mkdir()
    stale.write_text("old", encoding="utf-8")
    assert "report_operators" not in write_page(tmp_path)
    assert not stale.exists()
