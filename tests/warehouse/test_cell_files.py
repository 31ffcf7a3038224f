"""Which cells of a finished evaluation are done, after something has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from assets.bases import write_codebooks
from assets.pooled import pool_shard
from transforms.cell_fits import FitRule
from transforms.cells import Cell
from warehouse import lineage, study
from warehouse.cell_files import CELL_TABLES, CellFiles
from warehouse.layout import PartitionKey
from warehouse.recipes import table
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


def fingerprints(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give the fingerprint of each cell that is asked for; none is run, and none removed."""
    asked: dict[str, str] = {}

    def note(_files: CellFiles, cell: Cell, fingerprint: str) -> bool:
        asked[str(cell)] = fingerprint
        return True

    monkeypatch.setattr(CellFiles, "is_done", note)
    monkeypatch.setattr(CellFiles, "drop_stale", lambda *_arguments: None)
    study.run_study(Warehouse(warehouse.settings), YEAR, lambda _text: None)
    return asked


def with_operators(warehouse: Warehouse, *operators: str) -> Warehouse:
    """Ask for more pooling operators, and write what is stored for them."""
    pool = warehouse.settings.pool
    pool = pool.model_copy(update={"operators": (*pool.operators, *operators)})
    more = Warehouse(warehouse.settings.model_copy(update={"pool": pool}))
    pixels, patches = more.pixel_product, more.patch_product
    assert pixels is not None
    assert patches is not None
    write_codebooks(more, pixels, PartitionKey(YEAR))
    for key in more.partitions(f"out_patch__{pixels.name}_pooled", year=YEAR):
        pool_shard(more, pixels, patches, key)
    return more


def test_operators_with_a_codebook_leave_the_cells_of_all_others_done(
    copy: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprints(copy, monkeypatch)
    one = fingerprints(with_operators(copy, "vlad"), monkeypatch)
    assert {cell: one[cell] for cell in before} == before
    (added,) = one.keys() - before.keys()
    assert "pooled_vlad" in added
    two = fingerprints(with_operators(copy, "vlad", "bow"), monkeypatch)
    assert {cell: two[cell] for cell in one} == one


def test_a_codebook_that_was_fitted_otherwise_redoes_the_maps_that_have_their_colours_from_it(
    copy: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = with_operators(copy, "vlad")
    before = fingerprints(more, monkeypatch)
    raised = [replace(one, logic=2) if one.table == "out_pixel__{}_codebook" else one for one in table.RECIPES]
    monkeypatch.setattr(lineage, "RECIPES", raised)
    after = fingerprints(with_operators(copy, "vlad"), monkeypatch)
    assert {cell.split()[2] for cell in before if after[cell] != before[cell]} == {"pooled_vlad"}
