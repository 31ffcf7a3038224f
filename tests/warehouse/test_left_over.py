from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pyarrow.compute as pc
import pytest

from tests.warehouse.fake_tables import PROVENANCE
from warehouse.layout import ALL, PartitionKey
from warehouse.left_over import LeftOver, drop, find_left_over
from warehouse.lineage import Lineage
from warehouse.partition_states import PartitionState, PartitionStates
from warehouse.store import Warehouse


def left_over(warehouse: Warehouse) -> list[LeftOver]:
    return find_left_over(warehouse, Lineage(warehouse))


def without_2023(warehouse: Warehouse) -> Warehouse:
    return Warehouse(warehouse.settings.model_copy(update={"years": (2024,)}))


def test_a_finished_warehouse_has_nothing_left_over(copy: Warehouse) -> None:
    assert left_over(copy) == []


def test_a_dropped_year_is_left_over_in_every_table_and_no_other_is(copy: Warehouse) -> None:
    found = left_over(without_2023(copy))
    stored = {path.name for path in copy.root.iterdir() for _ in path.glob("year=2023") if path.is_dir()}
    assert {one.key.year for one in found} == {2023}
    assert {one.table for one in found} == stored
    files = sorted(path for one in found for path in one.files)
    assert files == sorted(path for path in copy.root.rglob("*.parquet") if "year=2023" in path.parts)
    assert sum(one.n_bytes for one in found) == sum(path.stat().st_size for path in files)


def test_dropping_removes_those_files_and_their_folders_alone(copy: Warehouse) -> None:
    before = {path: path.read_bytes() for path in copy.root.rglob("*.parquet")}
    smaller = without_2023(copy)
    drop(left_over(smaller), copy.root)
    kept = {path: content for path, content in before.items() if "year=2023" not in path.parts}
    assert {path: path.read_bytes() for path in copy.root.rglob("*.parquet")} == kept
    assert len(kept) < len(before)
    assert list(copy.root.rglob("year=2023")) == []
    assert left_over(smaller) == []


def test_a_table_that_the_settings_do_not_know_is_left_over(copy: Warehouse) -> None:
    source = next((copy.root / "core_eg__patches").rglob("part.parquet"))
    stray = copy.root / "core_older__patches" / source.relative_to(copy.root / "core_eg__patches")
    stray.parent.mkdir(parents=True)
    shutil.copy(source, stray)
    (copy.root / "my_notes").mkdir()  # not ours
    (copy.root / "my_notes" / "part.parquet").write_bytes(b"mine")
    (found,) = left_over(copy)
    assert (found.table, found.files) == ("core_older__patches", (stray,))
    drop([found], copy.root)
    assert not (copy.root / "core_older__patches").exists()
    assert (copy.root / "my_notes" / "part.parquet").read_bytes() == b"mine"


def test_evidence_without_an_evaluation_is_left_over_with_all_its_cells(copy: Warehouse) -> None:
    found = left_over(Warehouse(copy.settings.model_copy(update={"evaluate": None})))
    assert {one.table for one in found} >= {"out_probe__folds", "out_probe__metrics", "out_probe__contrasts"}
    (metrics,) = [one for one in found if one.table == "out_probe__metrics"]
    assert metrics.key == PartitionKey(2024)
    assert len(metrics.files) == len(list((copy.root / "out_probe__metrics").rglob("cell-*.parquet"))) > 1
    assert Counter(one.key == ALL for one in found) == {False: len(found)}


def test_a_drop_that_was_stopped_goes_on(copy: Warehouse) -> None:
    smaller = without_2023(copy)
    found = left_over(smaller)
    found[0].files[0].unlink()  # half of the work was done
    drop(found, copy.root)
    assert left_over(smaller) == []


def test_what_a_source_lost_is_kept_and_called_withdrawn(copy: Warehouse) -> None:
    index = copy.read("raw_eg__index")
    copy.write("raw_eg__index", ALL, index.slice(0, 0), PROVENANCE)
    bare = Warehouse(copy.settings)
    assert left_over(bare) == []
    withdrawn = [one for one in PartitionStates(bare).survey() if one.state is PartitionState.WITHDRAWN]
    assert Counter(one.table for one in withdrawn)["core_eg__patches"] == 4
    assert {one.key.year for one in withdrawn} == {2024}
    assert {one.reasons for one in withdrawn} == {
        ("the source no longer lists a file for it: it stays as it is stored, and is read",)
    }
    assert len(bare.partitions("core_eg__patches", year=2024)) == 4


def test_a_shard_that_lost_one_of_its_files_is_stale_and_not_withdrawn(copy: Warehouse) -> None:
    index = copy.read("raw_eg__index")
    copy.write("raw_eg__index", ALL, index.filter(pc.field("tile") == "47PRP"), PROVENANCE)
    states = [one for one in PartitionStates(Warehouse(copy.settings)).survey() if one.table == "core_eg__patches"]
    assert {one.state for one in states} == {PartitionState.STALE}
    assert {one.reasons[0] for one in states} == {"source files were changed"}
    gone = sorted(path for path in index["path"].to_pylist() if "47PRP" not in path)
    assert {one.reasons[-1] for one in states} == {f"no longer listed, and so left out: {', '.join(gone)}"}


def test_the_seal_of_a_cell_goes_before_its_counts(copy: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **options: (gone.append(path.parts[-3]), unlink(path, **options)))
    drop(left_over(Warehouse(copy.settings.model_copy(update={"evaluate": None}))), copy.root)
    n_seals = gone.count("out_probe__metrics")
    assert gone[:n_seals] == ["out_probe__metrics"] * n_seals
    assert "out_probe__confusions" in gone[n_seals:]
