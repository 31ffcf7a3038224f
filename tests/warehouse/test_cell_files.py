"""Which cells of a finished evaluation are done, after something has changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from transforms.cell_fits import FitRule
from warehouse import study
from warehouse.cell_files import CELL_TABLES
from warehouse.store import Warehouse

YEAR = 2024


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let cells that are run hold what a majority probe says."""
    monkeypatch.setattr(study._CellRun, "_rule", lambda run: FitRule("majority", run.cell.budget))


def run_cells(warehouse: Warehouse) -> tuple[list[str], int]:
    """Run the cells that are not done: (those that were run, by name; how many were done before)."""
    lines: list[str] = []
    study.run_study(Warehouse(warehouse.settings), YEAR, lines.append)
    run = [line.split("] ")[1].split(":")[0] for line in lines if not line.endswith("done before")]
    return run, len(lines) - len(run)


@pytest.mark.usefixtures("quick_probes")
def test_cells_that_are_stored_in_an_older_form_are_run_again_once(
    copy: Warehouse, raise_schema_version: Callable[..., None]
) -> None:
    raise_schema_version(*CELL_TABLES)
    asked = len(study.list_cells(copy))
    run, n_done = run_cells(copy)
    assert (len(run), n_done) == (asked, 0)
    assert run_cells(copy) == ([], asked)
