"""SQL checks: each statement of `sql/checks` returns the rows that break a rule; no rows means it passes.

Belongs here: running them. Does not: which of them block a run (`orchestration/checks.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from warehouse.catalog import run_on
from warehouse.sql_files import list_sql, read_sql

#: Failing rows that a result shows.
SAMPLE_ROWS = 5


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        name: file name of the check.
        purpose: the rule in a sentence, from the file's header.
        n_failing: rows that break it.
        sample: the first of them (at most 5), with the check's own columns.
    """

    name: str
    purpose: str
    n_failing: int
    sample: pa.Table

    @property
    def is_passed(self) -> bool:
        """Tell whether no row fails."""
        return self.n_failing == 0


def check_names() -> list[str]:
    """List all checks."""
    return list_sql("checks")


def run_checks(connection: duckdb.DuckDBPyConnection, names: Sequence[str] | None = None) -> list[CheckResult]:
    """Run checks on an open catalogue.

    Args:
        connection: from `open_catalog`.
        names: which checks; None = all.

    Returns:
        One result per name, in order.

    Raises:
        SqlFileMissingError: there is no such check.
    """
    return [_run_check(connection, name) for name in (check_names() if names is None else names)]


def _run_check(connection: duckdb.DuckDBPyConnection, name: str) -> CheckResult:
    statement = read_sql("checks", name)
    failing = run_on(connection, statement.text)
    return CheckResult(name, statement.header["purpose"], failing.num_rows, failing.slice(0, SAMPLE_ROWS))
