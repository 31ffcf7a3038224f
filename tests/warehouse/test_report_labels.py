"""The page of labels, from a study on patches with several classes each."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest

from tests.warehouse.fake_evidence import make_settings, write_evidence
from tests.warehouse.fake_rows import demo_specs
from tests.warehouse.multilabel_world import SHARES, YEAR
from tests.warehouse.test_report import Outline
from transforms.report.labels import COLUMNS
from transforms.report.published import PUBLISHED_ROWS
from transforms.report.wording import number, signed
from warehouse import projections
from warehouse.queries import run_sql
from warehouse.report import write_report
from warehouse.store import Warehouse

NATIVE = "task = 'T2' and scheme = 'given' and arm = 'native_patch'"


@pytest.fixture(scope="module")
def folder(multilabel_run: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages")
    write_report(multilabel_run.settings, multilabel_run.root, multilabel_run.specs, out / "report.html")
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report_labels.html").read_text(encoding="utf-8")


def tables(page: str) -> list[list[list[str]]]:
    """The cells of every table, header first."""
    return [
        [
            [
                html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
                for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
            ]
            for row in re.findall(r"<tr.*?</tr>", table, re.S)
        ]
        for table in re.findall(r"<table.*?</table>", page, re.S)
    ]


def plain(page: str) -> str:
    return " ".join(Outline(page).text.split())


def sql(warehouse: Warehouse, text: str) -> list[dict]:
    return run_sql(warehouse.root, warehouse.specs, warehouse.settings.compare, text).to_pylist()


def test_the_page_stands_alone_and_both_pages_link_each_other(folder: Path, page: str) -> None:
    outline = Outline(page)
    assert all(load.startswith("data:image/png;base64,") for load in outline.loads)
    assert not {"script", "link", "iframe"} & set(outline.tags)
    assert "url(" not in page
    assert outline.missing_alt == []
    assert outline.links == ["report.html"]
    assert "report_labels.html" in Outline((folder / "report.html").read_text(encoding="utf-8")).links
    assert page.count('role="img"') == 2


def test_scores_are_the_stored_ones_beside_predicting_nothing(multilabel_run: Warehouse, page: str) -> None:
    header, *rows = tables(page)[0]
    assert header == ["probe", "thresholds", *COLUMNS.values()]
    assert [row[:2] for row in rows] == [
        ["random forest", "0.5"], ["random forest", "tuned"], ["linear probe", "0.5"], ["linear probe", "tuned"],
        ["predict nothing", "–"],
    ]  # fmt: skip
    stored = sql(
        multilabel_run,
        "select metric, averaging, threshold_rule, value from out_probe__metrics "
        f"where {NATIVE} and probe = 'logistic' and fold is null and class_id is null",
    )
    by_rule = {(row["threshold_rule"], row["metric"], row["averaging"]): row["value"] for row in stored}
    for row, rule in ((rows[2], "0.5"), (rows[3], "tuned")):
        for name, shown in zip(COLUMNS, row[2:], strict=True):
            average, _, metric = name.partition("_")
            key = (None, metric, average) if metric == "average_precision" else (rule, name, average)
            key = (rule, name, None) if name == "hamming_loss" else key
            assert shown == number(by_rule[key]), name
    nothing = dict(zip(COLUMNS, rows[4][2:], strict=True))
    assert nothing["hamming_loss"] == number(by_rule["0.5", "label_density", None])
    assert {nothing[name] for name in ("macro_recall", "micro_f2")} == {"0.000"}
    assert nothing["macro_average_precision"] == "–"


def test_sentences_follow_the_rows(multilabel_run: Warehouse, page: str) -> None:
    text = plain(page)
    for probe, title in (("logistic", "Linear probe"), ("random_forest", "Random forest")):
        rows = sql(
            multilabel_run,
            f"select threshold_rule, value from out_probe__metrics where {NATIVE} and probe = '{probe}' "
            "and fold is null and metric = 'micro_recall'",
        )
        recall = {row["threshold_rule"]: round(row["value"], 3) for row in rows}
        gain = signed(recall["tuned"] - recall["0.5"])
        words = f"micro recall {number(recall['0.5'])} to {number(recall['tuned'])} ({gain})"
        assert f"{title}, 0.5 to tuned: {words}" in text
    assert "no verdict follows" in text
    assert "Blocks are smaller than the labels' range." in text
    assert "Simulated data." in text


def test_classes_have_their_prevalence_and_scores_and_absent_ones_a_dash(multilabel_run: Warehouse, page: str) -> None:
    table = next(rows for rows in tables(page) if rows[0][0] == "class")
    counts = sql(
        multilabel_run,
        f"select class_id, prevalence, n_truth, f2 from per_label where {NATIVE} and probe = 'logistic' "
        "and threshold_rule = 'tuned' order by prevalence desc, class_id",
    )
    assert len(table) - 1 == len(counts) == 19
    column = table[0].index("F2, linear probe, tuned")
    for row, expected in zip(table[1:], counts, strict=True):
        assert row[1:3] == [f"{expected['prevalence']:.2%}", str(expected["n_truth"])]
        assert row[column] == number(expected["f2"])
    assert {row[0] for row in table[1:] if row[2] != "0"} == set(SHARES)
    assert {row[column] for row in table[1:] if row[2] == "0"} <= {"–", "0.000"}


def test_each_class_that_occurs_is_drawn_against_the_rest(multilabel_run: Warehouse, page: str) -> None:
    captions = re.findall(r"<figcaption><strong>(.*?)</strong><br>(.*?)</figcaption>", page)
    assert [name for name, _ in captions] == ["Arable land", "Pastures", "Marine waters", "Urban fabric"]
    (row,) = sql(
        multilabel_run,
        f"select value from out_probe__metrics where {NATIVE} and probe = 'logistic' and fold is null "
        "and metric = 'average_precision' and class_name = 'Pastures'",
    )
    assert f"AP {number(row['value'], 2)} by linear probe (simulated)" in captions[1][1]
    text = plain(page)
    assert "A picture, not evidence" in text
    assert "of the native vectors of all 264 labelled patches" in text


def test_published_rows_stand_in_a_table_of_their_own_marked_as_other_data(page: str) -> None:
    found = tables(page)
    (published,) = [rows for rows in found if "other data" in rows[0][0]]
    assert published is found[-1]
    assert [row[0] for row in published[1:]] == ["random forest", "linear probe", "MLP"]
    assert [row[1] for row in published[1:]] == [number(row.macro_f2) for row in PUBLISHED_ROWS]
    ours = [cell for rows in found[:-1] for row in rows for cell in row]
    assert not {number(row.micro_recall) for row in PUBLISHED_ROWS} & set(ours)
    assert "no row here may be held against a row there" in plain(page)


def test_every_number_shows_sql_that_runs(multilabel_run: Warehouse, page: str) -> None:
    queries = [html.unescape(q) for q in re.findall(r"<pre tabindex=\"0\"><code>(.*?)</code></pre>", page, re.S)]
    assert len(queries) == 2
    for text in queries:
        rows = sql(multilabel_run, text)
        assert {row["year"] for row in rows} == {YEAR}
        assert {row["is_simulated"] for row in rows} == {True}


def test_scores_without_vectors_say_why_there_is_no_picture(
    multilabel_run: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projections, "draw_shown", lambda n, seed: np.arange(2))  # too few for a plane
    write_report(multilabel_run.settings, multilabel_run.root, multilabel_run.specs, tmp_path / "report.html")
    text = plain((tmp_path / "report_labels.html").read_text(encoding="utf-8"))
    assert "There is no picture: vectors to project: found (2, 12)" in text
    assert "A picture, not evidence" not in text


def test_without_scores_there_is_no_page_and_an_old_one_goes(tmp_path: Path) -> None:
    write_evidence(tmp_path, np.random.default_rng(0), n_blocks=4)
    stale = tmp_path / "report_labels.html"
    stale.write_text("old", encoding="utf-8")
    path = write_report(make_settings(tmp_path), tmp_path, demo_specs(), tmp_path / "report.html")
    assert not stale.exists()
    assert "report_labels" not in path.read_text(encoding="utf-8")
