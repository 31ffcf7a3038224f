"""What the audit of the folds found, in words.

Belongs here: warnings and failures of `out_probe__fold_audit` as sentences. Does not: the checks
(`transforms/fold_audit.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from transforms.report.data import ReportData
from transforms.report.study.parts import Row, current_rows
from transforms.report.wording import number, scheme_title

_LIMITS = {"edge_m", "buffer_m", "n_blocks", "least_distance_m"}


@dataclass(frozen=True)
class Finding:
    """A check of the folds that did not pass.

    Attributes:
        is_failed: failed; else warned.
        words: what was found.
    """

    is_failed: bool
    words: str


def list_findings(data: ReportData) -> list[Finding]:
    """List warnings and failures of the folds, failures first."""
    rows = [row for row in current_rows(data, "fold_findings") if row["status"] in ("warn", "failed")]
    found = [Finding(row["status"] == "failed", _words(row)) for row in rows]
    return sorted(found, key=lambda finding: not finding.is_failed)


def audit_sentence(data: ReportData) -> str:
    """Say in one sentence what the audit found."""
    if not current_rows(data, "fold_findings"):
        return "No audit of the folds is stored, so nothing is known of leaks between training and test ground."
    findings = list_findings(data)
    failed = sum(finding.is_failed for finding in findings)
    if not findings:
        return "The audit of the folds found nothing to warn of."
    parts = [
        f"{n} {word}{'' if n == 1 else 's'}"
        for n, word in ((failed, "failure"), (len(findings) - failed, "warning"))
        if n
    ]
    return f"The audit of the folds has {' and '.join(parts)}: read them before the scores."


def _words(row: Row) -> str:
    """State a finding: where, what, how much against which limit, and the detail of the audit."""
    where = f"{str(row['unit']).capitalize()} units, folds: {scheme_title(row['scheme'])}"
    name = row["check_name"].removesuffix("_m").replace("_", " ") + (
        ", metres" if row["check_name"].endswith("_m") else ""
    )
    n_found = "" if row["n_found"] == 1 else f" in {row['n_found']} folds"
    worst = row["least"] if row["check_name"] in _LIMITS else row["most"]
    value = "" if worst is None else f": found {_spell(worst)}"
    limit = "" if row["threshold"] is None else f", expected {_bound(row['check_name'])}{_spell(row['threshold'])}"
    detail = f" ({row['detail']})" if row["detail"] else ""
    return f"{where}: {name}{n_found}{value}{limit}{detail}."


def _bound(check_name: str) -> str:
    return "at least " if check_name in _LIMITS or check_name == "planned" else "at most "


def _spell(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else number(value)
