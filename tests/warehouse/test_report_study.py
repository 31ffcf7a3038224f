"""The page of the study: what it draws."""

from __future__ import annotations

import html
import itertools
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.fake_evidence import make_settings, write_evidence
from tests.warehouse.fake_rows import CLASSES, PAIR
from tests.warehouse.fake_study import (
    LADDER,
    SCORES,
    adapter_rows,
    audit_rows,
    gain_rows,
    study_rows,
    study_specs,
    write_study,
)
from tests.warehouse.test_report import Outline, plain
from transforms.report.scales import round_ends
from transforms.report.study.audit import audit_sentence, list_findings
from transforms.report.study.lines import spread_out
from transforms.report.study.page import build_sections
from warehouse.queries import run_sql
from warehouse.report import read_report_data, write_report

SPECS = study_specs()


def read(root):
    return read_report_data(make_settings(root), root, SPECS)


def write_pages(root):
    path = write_report(make_settings(root), root, SPECS, root / "out" / "report.html")
    return path.read_text(encoding="utf-8"), path.with_name("report_study.html")


def sections(root):
    return {section.key: section for section in build_sections(read(root))}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_study(root, gains=gain_rows(), adapters=adapter_rows(), audit=audit_rows())
    main, target = write_pages(root)
    return root, main, target.read_text(encoding="utf-8")


# -- the page -------------------------------------------------------------------------------------------------


def test_the_page_stands_alone_and_both_pages_link_to_each_other(study):
    _, main, page = study
    outline = Outline(page)
    assert outline.loads == []
    assert not {"script", "link", "iframe", "img"} & set(outline.tags)
    assert "url(" not in page
    assert "report.html" in outline.links
    assert "report_study.html" in Outline(main).links


def test_every_section_but_the_classes_is_drawn(study):
    root, _, _ = study
    assert {key for key, section in sections(root).items() if not section.is_drawn} == {"classes"}


def test_charts_are_pictures_with_a_spoken_form(study):
    root, _, page = study
    charts = [figure.chart for section in sections(root).values() for figure in section.figures]
    # learning 2, leakage 2, purity, ladder, cost 2, adapter, boundary, objects, cells
    assert len(charts) == 12
    assert all(str(chart) in page for chart in charts)
    for chart in charts:
        assert ElementTree.fromstring(chart).get("role") == "img"
        assert len(ElementTree.fromstring(chart).find("desc").text) > 20
        assert "nan" not in chart


def test_every_number_shows_sql_that_runs(study):
    root, main, page = study
    shown = [html.unescape(q) for q in re.findall(r"<pre tabindex=\"0\"><code>(.*?)</code></pre>", main + page, re.S)]
    of_labels = {"label_scores", "label_classes"}  # on a page of their own, see test_report_labels.py
    stored = {name: query for name, query in read(root).queries.items() if name not in of_labels}
    assert set(shown) == {query.text for query in stored.values()}
    for query in stored.values():
        assert run_sql(root, SPECS, PAIR, query.text).num_rows == query.rows.num_rows


@pytest.mark.parametrize("is_simulated", [True, False])
def test_captions_say_whether_the_data_are_simulated(tmp_path, is_simulated):
    write_study(tmp_path, gains=gain_rows(), adapters=adapter_rows(), is_simulated=is_simulated)
    drawn = [part for s in sections(tmp_path).values() for part in (*s.figures, *s.tables)]
    assert len(drawn) > 20
    assert all(("(simulated)" in part.caption) == is_simulated for part in drawn)


def test_what_is_not_stored_is_said(tmp_path):
    write_evidence(tmp_path, np.random.default_rng(0), n_blocks=4)
    found = sections(tmp_path)
    assert {key for key, section in found.items() if section.is_drawn} == {"classes"}
    assert all(section.absent for key, section in found.items() if key != "classes")
    text = plain(write_pages(tmp_path)[1].read_text(encoding="utf-8"))
    assert all(section.absent in text for section in found.values() if section.absent)


def test_without_scores_there_is_no_page_and_an_old_one_goes(tmp_path):
    stale = tmp_path / "out" / "report_study.html"
    stale.parent.mkdir()
    stale.write_text("old", encoding="utf-8")
    main, target = write_pages(tmp_path)
    assert not target.exists()
    assert "report_study" not in main


def test_only_the_labels_of_the_settings_and_the_latest_year_are_shown(tmp_path):
    write_study(tmp_path, metrics=[{**row, "label_source": "other"} for row in study_rows()], oracles=(), contrasts=())
    assert not any(section.is_drawn for section in sections(tmp_path).values())


# -- what is drawn --------------------------------------------------------------------------------------------


def marks(chart, css):
    root = ElementTree.fromstring(chart)
    return [e for e in root.iter() if e.get("class") == css]


def test_learning_curves_have_two_axes_and_the_spread_over_draws(study):
    root, _, _ = study
    chart = sections(root)["learning"].figures[0].chart
    texts = [e.text for e in ElementTree.fromstring(chart).iter() if e.tag == "text"]
    assert {"labels per class (log)", "% of the training labels (log)"} <= set(texts)
    assert texts.count("1") == 2
    # native: three budgets drawn twice in percent, two in shots; all labels were drawn once
    assert len(marks(chart, "spread series0")) == 5
    assert len(marks(chart, "point series0")) == 5 + 1 + 1  # and its name
    trace = marks(chart, "trace series0")[1].get("points").split()
    heights = [float(point.split(",")[1]) for point in trace]
    assert heights == sorted(heights, reverse=True)
    table = sections(root)["learning"].tables[0]
    spread = next(row for row in table.rows if row[1].text == "10 %")
    assert spread[2].text == f"{SCORES['native_patch'] - 0.1:.3f}"
    assert spread[3].text == f"{0.02 / math.sqrt(2):.3f}"


def test_the_shuffled_control_stands_in_the_leakage_gap(study):
    root, _, _ = study
    chart = sections(root)["leakage"].figures[0].chart
    assert [e.text for e in marks(chart, "label strong")] == ["patch shuffled blocks"]
    assert "+0.600" in chart


def test_the_share_of_patches_left_is_drawn_beside_purity(study):
    root, _, _ = study
    table = sections(root)["purity"].tables[0]
    assert [(row[1].text, row[3].text) for row in table.rows] == [
        ("0", "100.0%"), ("0.5", "50.0%"), ("0.75", "30.0%"), ("0.9", "10.0%"),
    ]  # fmt: skip


def test_arms_are_placed_on_the_ladder(study):
    root, _, _ = study
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in sections(root)["ladder"].tables[0].rows}
    share = (SCORES["upsampled_bilinear"] - LADDER[320]) / (LADDER[160] - LADDER[320])
    scale = 2 ** ((1 - share) * math.log2(320) + share * math.log2(160))
    assert rows["upsampled patches: bilinear"] == ["0.550", "25 %", f"{scale:.0f} m"]
    assert rows["native pixel vectors"] == ["0.700", "100 %", "80 m"]
    assert "coordinates only" not in rows


def test_cost_names_arms_that_no_cheaper_arm_beats(study):
    root, _, _ = study
    chart = sections(root)["cost"].figures[0].chart
    names = [e.text for e in ElementTree.fromstring(chart).iter() if e.tag == "text"]
    assert "native patch vectors" in names
    assert "pooled pixels: min, max, mean, std" in names
    assert "pooled pixels: mean" not in names  # native is cheaper and better
    assert len(marks(chart, "ring series2")) == 2  # its mark, and the family's


def test_classes_of_both_arms_follow_the_counts(tmp_path):
    write_evidence(tmp_path, np.random.default_rng(0))
    figures = sections(tmp_path)["classes"].figures
    assert len(figures) == 2
    f1 = run_sql(tmp_path, SPECS, PAIR, "from per_class where arm = 'native_patch' order by class_id").to_pylist()
    for row in f1:
        assert f"native patch vectors {row['f1']:.3f}" in figures[0].chart
        assert CLASSES[row["class_id"]] in figures[0].chart


def test_pairs_of_regions_that_were_not_run_are_dashes(study):
    root, _, _ = study
    table = next(t for t in sections(root)["regions"].tables if t.caption.startswith("Adapter"))
    assert table.header == ("trained in", "east", "west")
    assert [[cell.text for cell in row] for row in table.rows] == [["east", "0.610", "0.410"], ["west", "–", "0.620"]]
    probes = next(t for t in sections(root)["regions"].tables if "native patch" in t.caption)
    assert [[cell.text for cell in row] for row in probes.rows] == [
        ["east", "0.800", "0.600"],
        ["west", "0.600", "0.800"],
    ]


def test_probes_by_arms_has_arms_with_several_probes(study):
    root, _, _ = study
    (table,) = sections(root)["probes"].tables
    assert table.header == ("arm", "logistic", "random forest", "knn 5")
    assert [row[0].text for row in table.rows] == ["native patch vectors", "pooled pixels: min, max, mean, std"]
    assert [cell.text for cell in table.rows[0][1:]] == ["0.800", "0.810", "0.700"]


def test_gains_are_drawn_with_their_intervals_over_all_regions(study):
    root, _, _ = study
    (figure,) = sections(root)["adapters"].figures
    assert "all regions, each tested at home, 36 blocks" in figure.caption
    assert len(marks(figure.chart, "spread series0")) == len(marks(figure.chart, "spread series1")) == 2
    assert len(sections(root)["adapters"].tables[0].rows) == 8


def test_cells_and_objects_are_sorted_by_size(study):
    root, _, _ = study
    objects, cells = sections(root)["dense"].tables
    assert objects.header[1:] == ("0 to 15 px", "16 to 511 px", ">= 512 px")
    assert cells.header[1:] == ("20", "40", "80", "160")
    assert cells.rows[0][1].text == f"{SCORES['native_pixel'] + 0.02:.3f}"


def test_other_tasks_are_tables(study):
    root, _, _ = study
    (table,) = sections(root)["other"].tables
    assert table.caption.startswith("T3, class fractions of patches")
    assert [row[3].text for row in table.rows] == ["0.600", "0.590"]


def test_findings_stand_on_top_failures_first(study):
    root, main, page = study
    data = read(root)
    assert [finding.is_failed for finding in list_findings(data)] == [True, False, False]
    sentence = "The audit of the folds has 1 failure and 2 warnings: read them before the scores."
    assert audit_sentence(data) == sentence
    assert sentence in plain(page)
    assert sentence in plain(main)
    text = plain(page)
    assert "least distance, metres: found 100, expected at least 320 (training to test footprint)" in text
    assert "classes absent in test in 2 folds: found 2, expected at most 0" in text
    assert text.index("least distance") < text.index("Learning curves")


# -- geometry -------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 300), min_size=1, max_size=15))
def test_names_never_touch_and_stay_in_order(heights):
    placed = spread_out(sorted(heights), 16.0, 300.0)
    assert all(b - a >= 16.0 - 1e-9 for a, b in itertools.pairwise(placed))
    assert placed[-1] <= 300.0


@given(st.floats(-1, 1), st.floats(0, 2))
def test_axes_hold_both_ends(low, width):
    first, last = round_ends(low, low + width)
    assert first <= low + 1e-6
    assert last >= low + width - 1e-6
    assert last > first
