"""SQL checks: each statement of `sql/checks` returns the rows that break a rule; no rows means it passes.

Belongs here: running them. Does not: which of them block a run (`orchestration/checks.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from warehouse.queries import iterate_on
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
        meaning: what a failing row means, from the header.
        fix: what to do about it, from the header.
        seconds: how long it took.
    """

    name: str
    purpose: str
    n_failing: int
    sample: pa.Table
    meaning: str = ""
    fix: str = ""
    seconds: float = 0.0

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
    return [run_check(connection, name) for name in (check_names() if names is None else names)]


def run_check(connection: duckdb.DuckDBPyConnection, name: str) -> CheckResult:
    """Run one check; failing rows are counted as they come, for a rule can be broken by every row of a country."""
    statement = read_sql("checks", name)
    started = time.perf_counter()
    reader = iterate_on(connection, statement.text)
    n_failing, sample = 0, reader.schema.empty_table()
    for batch in reader:
        n_failing += batch.num_rows
        if sample.num_rows < SAMPLE_ROWS:
            sample = pa.concat_tables([sample, pa.Table.from_batches([batch])]).slice(0, SAMPLE_ROWS)
    header = statement.header
    seconds = time.perf_counter() - started
    return CheckResult(name, header["purpose"], n_failing, sample, header["meaning"], header["fix"], seconds)
