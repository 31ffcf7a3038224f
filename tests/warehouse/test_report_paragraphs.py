"""The sentences of the study: they follow the rows, and say no more."""

from __future__ import annotations

import re

import pytest

from tests.warehouse.fake_evidence import make_settings
from tests.warehouse.fake_study import (
    audit_rows,
    contrast_row,
    learning_rows,
    metric_row,
    oracle_rows,
    study_contrasts,
    study_specs,
    write_study,
)
from tests.warehouse.test_report import plain
from transforms.report.study.audit import audit_sentence
from transforms.report.study.paragraphs import write_paragraphs
from warehouse.report import read_report_data, write_report

SPECS = study_specs()
Q1, Q2 = 0, 1


def read(root):
    return read_report_data(make_settings(root), root, SPECS)


def paragraph(root, question):
    found = write_paragraphs(read(root))[question]
    return " ".join([found.answer.sentence, *found.sentences])


def test_the_paragraph_states_verdict_interval_blocks_and_margin(tmp_path):
    write_study(tmp_path)
    text = paragraph(tmp_path, Q1)
    for words in ("−0.010", "−0.018 to −0.002", "36 spatial blocks", "−0.02, the largest loss", "stays above"):
        assert words in text
    page = write_report(make_settings(tmp_path), tmp_path, SPECS, tmp_path / "report.html")
    assert text in plain(page.with_name("report_study.html").read_text(encoding="utf-8"))
    assert "margin of 0.05 mIoU was fixed before any result" in paragraph(tmp_path, Q2)


def random_pair(bonus_arm, bonus_native):
    rows = [metric_row("pooled_stats", 0.79), metric_row("native_patch", 0.80)]
    rows.append(metric_row("pooled_stats", 0.79 + bonus_arm, scheme="random"))
    return [*rows, metric_row("native_patch", 0.80 + bonus_native, scheme="random")]


@pytest.mark.parametrize(
    ("rows", "words", "not_words"),
    [
        (random_pair(0.05, 0.04), "changed the macro-F1 by +0.050 for “pooled", "sign of the difference"),
        (random_pair(0.05, 0.01), "The sign of the difference would have been the other one", "not have overstated"),
        (random_pair(-0.01, 0.0), "Random folds would not have overstated here: −0.010", "changed the macro-F1"),
        (random_pair(0, 0)[:2], "Random folds were not run for these arms", "instead of"),
    ],
)
def test_random_folds_overstate_as_far_as_the_rows_say(tmp_path, rows, words, not_words):
    write_study(tmp_path, metrics=rows)
    text = paragraph(tmp_path, Q1)
    assert words in text
    assert not_words not in text


def curves(loss_arm, loss_native):
    rows = [metric_row("pooled_stats", 0.79), metric_row("native_patch", 0.80)]
    rows += learning_rows("pooled_stats", 0.79, {("percent", b): less for b, less in loss_arm.items()})
    return rows + learning_rows("native_patch", 0.80, {("percent", b): less for b, less in loss_native.items()})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (curves({10.0: 0.1, 25.0: 0.05, 50.0: 0.02}, {10.0: 0.08}), "scores with 10 % (0.720) with 25 % of the labels"),
        (
            curves({1.0: 0.02, 10.0: 0.01}, {10.0: 0.05}),
            "already with 1 % of the labels, the smallest",
        ),
        (
            curves({10.0: 0.1}, {10.0: 0.001}),
            "With none of the shares of labels that were run “pooled",
        ),
        (curves({10.0: 0.1}, {25.0: 0.05}), "How many labels the arm needs is not known"),
        (curves({}, {}), "How many labels the arm needs is not known"),
    ],
)
def test_labels_that_the_arm_needs_are_read_off_the_curves(tmp_path, rows, words):
    write_study(tmp_path, metrics=rows)
    assert words in paragraph(tmp_path, Q1)


PRIMARY = contrast_row("pooled_stats", -0.01, is_primary=True, verdict="non-inferior")


def other_probe(delta, **changes):
    return contrast_row("pooled_stats", delta, **{"probe": "knn_5", "is_default": False, **changes})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "Only one probe was run on this pair"),
        ([other_probe(0.02, purity_min=0.9)], "Only one probe was run on this pair"),
        ([other_probe(0.02, budget=10.0)], "Only one probe was run on this pair"),
        ([other_probe(0.02, scheme="random")], "Only one probe was run on this pair"),
        ([other_probe(-0.02)], "same sign under 1 other probe (knn 5)"),
        ([other_probe(0.02)], "Of 1 other probe, 1 gives the difference the other sign: knn 5 +0.020, interval +0.012"),
        ([other_probe(0.002)], "knn 5 +0.002, interval −0.006 to +0.010, which holds zero"),
        ([other_probe(0.02, n_blocks=12)], "knn 5 +0.020, over 12 blocks, too few to tell"),
        ([other_probe(0.02, lo=None, hi=None)], "knn 5 +0.020, without an interval"),
    ],
)
def test_probes_that_change_the_sign_are_named(tmp_path, rows, words):
    write_study(tmp_path, contrasts=[PRIMARY, *rows])
    assert words in paragraph(tmp_path, Q1)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "No secondary contrast is stored."),
        ([contrast_row("pooled_mean", -0.06)], "1 of 1 secondary contrasts differ from the native arm"),
        ([contrast_row("pooled_mean", -0.06, p_holm=0.05)], "0 of 1 secondary contrasts differ"),
        (
            [contrast_row("pooled_mean", -0.06), contrast_row("pooled_mean", 0.1, task="T3", p_holm=0.5)],
            "1 of 2 secondary contrasts differ from the native arm, in either direction, at 0.05 (T1: 1 of 1, T3: 0 of",
        ),
        ([contrast_row("pooled_mean", -0.06, status="diagnostic")], "contrast can count; left out: 1 diagnostic."),
        ([contrast_row("pooled_mean", -0.06, n_blocks=19)], "left out: 1 with fewer than 20 blocks"),
        ([contrast_row("pooled_mean", -0.06, status="failed: no units")], "left out: 1 that could not be scored"),
    ],
)  # fmt: skip
def test_secondary_contrasts_count_only_where_they_can(tmp_path, rows, words):
    write_study(tmp_path, contrasts=[PRIMARY, *rows])
    assert words in paragraph(tmp_path, Q1)


def scores(nearest=0.5, bilinear=0.55, native=0.7):
    found = {"upsampled_nearest": nearest, "upsampled_bilinear": bilinear, "native_pixel": native}
    return [metric_row(arm, value) for arm, value in found.items() if value is not None]


@pytest.mark.parametrize(
    ("metrics", "oracles", "words"),
    [
        (scores(), oracle_rows(), "closes 25 % of the gap between nearest and native; it scores what perfect labels"),
        (
            scores(bilinear=0.4),
            oracle_rows(),
            "scores below nearest: gap closed is −50 %; it scores below perfect labels",
        ),
        (
            scores(bilinear=0.9),
            oracle_rows(),
            "reaches or passes the native score: gap closed is 200 %; it scores above",
        ),
        (scores(native=0.45), oracle_rows(), "closes no gap that could be measured"),
        (scores(nearest=None), oracle_rows(), "closes no gap that could be measured"),
        (scores(), [], "no ladder of oracles is stored, so its effective resolution is not known"),
        (scores(), [{**r, "status": "skipped: x"} for r in oracle_rows()], "no ladder of oracles is stored"),
        (scores(bilinear=None), oracle_rows(), "No score of the arm over all folds is stored"),
    ],
)
def test_graded_numbers_are_given_where_they_are_defined(tmp_path, metrics, oracles, words):
    write_study(tmp_path, metrics=metrics, oracles=oracles)
    assert words in paragraph(tmp_path, Q2)


def test_a_question_without_verdict_has_no_answer_in_its_sentences(tmp_path):
    rows = [{**row, "status": "diagnostic", "verdict": "inconclusive"} for row in study_contrasts()]
    write_study(tmp_path, contrasts=rows)
    text = paragraph(tmp_path, Q1)
    assert "A diagnostic is reported to check the machinery, never as a verdict" in text
    assert text.endswith("As there is no verdict, all of these describe this run; none is an answer.")


def test_a_question_that_was_not_asked_has_no_numbers(tmp_path):
    write_study(tmp_path, contrasts=[row for row in study_contrasts() if row["question"] == "Q2"])
    text = paragraph(tmp_path, Q1)
    assert text.startswith("Nothing was compared for this question")
    assert not re.search(r"\d\.\d", text)
    assert "no verdict" not in paragraph(tmp_path, Q2)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "No audit of the folds is stored"),
        ([row for row in audit_rows() if row["status"] == "ok"], "found nothing to warn of"),
        ([row for row in audit_rows() if row["status"] == "failed"], "has 1 failure: read"),
    ],
)
def test_the_audit_sentence_follows_the_rows(tmp_path, rows, words):
    write_study(tmp_path, audit=rows)
    assert words in audit_sentence(read(tmp_path))
