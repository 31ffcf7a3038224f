"""A paragraph per question, made from the rows.

Belongs here: sentences on what was found beside the verdict: graded numbers, random folds, labels, probes, secondary
contrasts. Does not: the verdict itself (`transforms/report/wording.py`).
A sentence never says more than its rows: what is not stored is said to be absent, what has no interval is said to have
none, and diagnostics are named as such.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transforms.arms import CLAIMS, Claim
from transforms.inference import MIN_BLOCKS_VERDICT
from transforms.report.data import Contrast, ReportData, read_contrasts
from transforms.report.study.ladder import grade_arms
from transforms.report.study.parts import Row, answering_rows, current_rows, is_number, own_rows
from transforms.report.wording import (
    Answer,
    answer_question,
    arm_title,
    metric_title,
    number,
    signed,
)

#: Share of the labels at which the native arm sets the mark of the label sentence.
_MARK_PERCENT = 10.0
_LEVEL = 0.05


@dataclass(frozen=True)
class Paragraph:
    """What the rows say about one question.

    Attributes:
        answer: the verdict, as on the main page.
        sentences: what stands beside it, each of its own rows.
    """

    answer: Answer
    sentences: tuple[str, ...]


def write_paragraphs(data: ReportData) -> list[Paragraph]:
    """Write the paragraph of every question."""
    contrasts = read_contrasts(data)
    return [_write(data, claim, contrasts) for claim in CLAIMS.values()]


def _write(data: ReportData, claim: Claim, contrasts: list[Contrast]) -> Paragraph:
    answer = answer_question(data, claim, contrasts)
    primary = answer.contrast
    if primary is None or answer.headline == "No answer":
        return Paragraph(answer, (_holm(data, claim),))
    margin = f"The margin of {number(claim.margin, 2)} {metric_title(claim.metric)} was fixed before any result."
    sentences = [] if "fixed before any result" in answer.sentence else [margin]
    if claim.question == "Q2":
        sentences.append(_graded(data, claim))
    sentences += [_random_folds(data, claim), _labels(data, claim), _probes(data, primary), _holm(data, claim)]
    if answer.tone == "open":
        sentences.append("As there is no verdict, all of these describe this run; none is an answer.")
    return Paragraph(answer, tuple(sentences))


# -- graded numbers of question 2 -----------------------------------------------------------------------------


def _graded(data: ReportData, claim: Claim) -> str:
    graded = next((item for item in grade_arms(data) if item.arm == claim.primary_arm), None)
    if graded is None:
        return "No score of the arm over all folds is stored, so gap closed and effective resolution are not known."
    arm = f"“{_capital(arm_title(claim.primary_arm))}”"
    return f"{arm} {_gap_words(graded.gap_closed)}; {_resolution_words(graded.resolution)}."


def _gap_words(share: float) -> str:
    if math.isnan(share):
        return "closes no gap that could be measured (nearest or native is not stored, or native is not better)"
    if share < 0:
        return f"scores below nearest: gap closed is {100 * share:.0f} %".replace("-", "−")
    if share >= 1:
        return f"reaches or passes the native score: gap closed is {100 * share:.0f} %"
    return f"closes {100 * share:.0f} % of the gap between nearest and native"


def _resolution_words(resolution: str) -> str:
    if not resolution:
        return "no ladder of oracles is stored, so its effective resolution is not known"
    if resolution.startswith(">"):
        return f"it scores below perfect labels of one class per {resolution[2:]} block, the coarsest of the ladder"
    if resolution.startswith("<"):
        return f"it scores above perfect labels of one class per {resolution[2:]} block, the finest of the ladder"
    place = f"it scores what perfect labels of one class per {resolution} block would score"
    return f"{place} (neither number has an interval)"


# -- random folds ---------------------------------------------------------------------------------------------


def _random_folds(data: ReportData, claim: Claim) -> str:
    scheme = data.answering_scheme
    rows = [r for r in current_rows(data, "leakage_gap") if (r["task"], r["scheme"]) == (claim.task, scheme)]
    found = {r["arm"]: r for r in own_rows(rows) if is_number(r["gap"])}
    pair = [found[arm] for arm in (claim.primary_arm, claim.reference) if arm in found]
    if not pair:
        return "Random folds were not run for these arms, so how far they would overstate is not known."
    said = " and ".join(
        f"{signed(row['gap'])} for “{arm_title(row['arm'])}” ({number(row['random_value'])} instead of "
        f"{number(row['strict_value'])})"
        for row in pair
    )
    if all(row["gap"] <= 0 for row in pair):
        return f"Random folds would not have overstated here: {said}."
    sentence = f"Random folds would have changed the {metric_title(pair[0]['metric'])} by {said}."
    if len(pair) == 2:
        strict, leaky = (pair[0][name] - pair[1][name] for name in ("strict_value", "random_value"))
        if strict * leaky < 0:
            sentence += " The sign of the difference would have been the other one."
    return sentence


# -- labels ---------------------------------------------------------------------------------------------------


def _labels(data: ReportData, claim: Claim) -> str:
    rows = [row for row in own_rows(answering_rows(data, "learning_curves")) if row["task"] == claim.task]
    percents = [row for row in rows if row["budget_kind"] == "percent"]
    curves = {
        arm: {r["budget"]: r for r in percents if r["arm"] == arm} for arm in (claim.primary_arm, claim.reference)
    }
    mark = curves[claim.reference].get(_MARK_PERCENT)
    mine = curves[claim.primary_arm]
    if mark is None or not mine:
        return f"How many labels the arm needs is not known: no scores at {_MARK_PERCENT:g} % of the labels are stored."
    native = f"at least what “{arm_title(claim.reference)}” scores with {_MARK_PERCENT:g} % ({number(mark['value'])})"
    arm = f"“{arm_title(claim.primary_arm)}”"
    reached = [budget for budget in sorted(mine) if mine[budget]["value"] >= mark["value"]]
    if not reached:
        most = max(mine)
        last = f"{number(mine[most]['value'])} with {most:g} %"
        return f"With none of the shares of labels that were run {arm} scores {native}: {last} (means over draws)."
    least = reached[0]
    is_first = least == min(mine)
    words = "already with" if is_first else "with"
    at = f"{words} {least:g} % of the labels"
    tail = ", the smallest share that was run" if is_first else ""
    return f"Of the shares that were run, {arm} first scores {native} {at}{tail} (means over draws)."


# -- probes ---------------------------------------------------------------------------------------------------


def _probes(data: ReportData, primary: Contrast) -> str:
    stored = _contrasts(data)
    own = next((row for row in stored if row["is_primary"] and _setting(row) == _setting(primary.__dict__)), None)
    rows = [row for row in stored if own is not None and _is_other_probe(row, own)]
    others = {row["probe"]: row for row in rows if is_number(row["delta"])}
    if not others:
        return "Only one probe was run on this pair, so whether the answer hangs on it is not known."
    assert primary.delta is not None
    flipped = [row for row in others.values() if row["delta"] * primary.delta < 0]
    n = f"{len(others)} other probe{'' if len(others) == 1 else 's'}"
    if not flipped:
        return f"The difference has the same sign under {n} ({_names(others)})."
    said = "; ".join(f"{_probe(row)} {signed(row['delta'])}, {_zero_words(row)}" for row in flipped)
    return f"Of {n}, {len(flipped)} give{'s' if len(flipped) == 1 else ''} the difference the other sign: {said}."


def _setting(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("question", "scheme", "arm", "metric"))


def _is_other_probe(row: Row, own: Row) -> bool:
    """Tell whether a row compares what the primary contrast does, by another probe."""
    shared = ("task", "budget_kind", "budget", "purity_min", "threshold_rule", "reference")
    same = _setting(row) == _setting(own) and all(row[name] == own[name] for name in shared)
    return same and row["probe"] != own["probe"]


def _zero_words(row: Row) -> str:
    if not (is_number(row["lo"]) and is_number(row["hi"])):
        return "without an interval"
    if (row["n_blocks"] or 0) < MIN_BLOCKS_VERDICT:
        return f"over {row['n_blocks']} blocks, too few to tell"
    ends = f"{signed(row['lo'])} to {signed(row['hi'])}"
    return f"interval {ends}, which holds zero" if row["lo"] <= 0 <= row["hi"] else f"interval {ends}"


def _probe(row: Row) -> str:
    return str(row["probe"]).replace("_", " ")


def _names(others: dict[str, Row]) -> str:
    return ", ".join(name.replace("_", " ") for name in sorted(others))


# -- secondary contrasts --------------------------------------------------------------------------------------


def _holm(data: ReportData, claim: Claim) -> str:
    rows = [row for row in _contrasts(data) if row["question"] == claim.question and not row["is_primary"]]
    if not rows:
        return "No secondary contrast is stored."
    diagnostic = sum(row["status"] == "diagnostic" for row in rows)
    counted = [row for row in rows if row["status"] == "ok" and is_number(row["p_holm"])]
    enough = [row for row in counted if (row["n_blocks"] or 0) >= MIN_BLOCKS_VERDICT]
    left_out = _left_out(diagnostic, len(counted) - len(enough), len(rows) - diagnostic - len(counted))
    if not enough:
        return f"No secondary contrast can count{left_out}."
    differ = Counter(row["task"] for row in enough if row["p_holm"] < _LEVEL)
    sizes = Counter(row["task"] for row in enough)
    by_task = ", ".join(f"{task}: {differ[task]} of {sizes[task]}" for task in sorted(sizes))
    return (
        f"After Holm's correction within each task {differ.total()} of {len(enough)} secondary contrasts differ from "
        f"the native arm, in either direction, at {_LEVEL:g} ({by_task}){left_out}."
    )


def _left_out(diagnostic: int, few: int, unscored: int) -> str:
    parts = [
        f"{n} {words}"
        for n, words in (
            (diagnostic, "diagnostic"),
            (few, f"with fewer than {MIN_BLOCKS_VERDICT} blocks"),
            (unscored, "that could not be scored"),
        )
        if n
    ]
    return f"; left out: {', '.join(parts)}" if parts else ""


def _contrasts(data: ReportData) -> Sequence[Row]:
    return current_rows(data, "all_contrasts")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
