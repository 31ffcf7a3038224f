"""Damaged sources through the whole command: one message that helps, exit code 1, nothing half-written."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.cli import main
from tests.assets.bad_files import (
    EAST,
    WEST,
    delete_cog,
    drop_a_band,
    drop_index_column,
    find_cog,
    mix_nodata,
    shift_ids,
    shorten_vectors,
    spoil_vectors,
    state_model,
    truncate_cog,
)
from tests.documented import documented
from tests.tiny import (
    copy_world,
    digest_rows,
    hidden_files,
    quick_settings,
    replace_file,
    run_pipeline,
    stored_files,
    write_settings,
)


@dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes:
        apply: does it to a world, and names the file.
        table: the table that cannot be read.
        other: a table that goes on.
    """

    apply: Callable[[Path], Path]
    table: str
    other: str


#: Gives what `isthmus run` says on standard error of a world that is damaged so.
RunDamaged = Callable[[Callable[[Path], object]], str]
PIXELS, PATCHES = "core_aef__pixels", "core_eg__patches"
#: By row of docs/bad_input.md.
DAMAGES = {
    "truncated COG": Damage(truncate_cog, PIXELS, PATCHES),
    "COG of 63 bands": Damage(drop_a_band, PIXELS, PATCHES),
    "COG with nodata in some bands": Damage(mix_nodata, PIXELS, PATCHES),
    "index row without its file": Damage(delete_cog, PIXELS, PATCHES),
    "patches of 383 dimensions": Damage(shorten_vectors, PATCHES, PIXELS),
    "vectors with NaN": Damage(spoil_vectors, PATCHES, PIXELS),
    "patch ids that disagree with their geometry": Damage(shift_ids, PATCHES, PIXELS),
}


def run_command(config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run `isthmus run`; exit code and standard error."""
    monkeypatch.setattr(sys, "argv", ["isthmus", "run", "--config", str(config)])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capfd.readouterr().err


@pytest.fixture
def run_damaged(
    tiny_world: Path, tmp_path: Path, clean_env: None, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> RunDamaged:  # fmt: skip
    """Damage a copy of the world and call `isthmus run` on it, which must fail; standard error."""

    def run(damage: Callable[[Path], object]) -> str:
        damage(copy_world(tiny_world, tmp_path / "world"))
        config = write_settings(tmp_path / "quick.toml", quick_settings(tmp_path / "world"))
        code, stderr = run_command(config, monkeypatch, capfd)
        assert code == 1
        assert "Traceback" not in stderr
        assert hidden_files(tmp_path / "warehouse") == []
        return stderr

    return run


@pytest.fixture
def before(quick_run: Path, tmp_path: Path) -> dict[str, bytes]:
    """What an earlier, good run has stored in the warehouse of `run_damaged`, by name."""
    shutil.copytree(quick_run.parent / "warehouse", tmp_path / "warehouse")
    return read_stored(tmp_path / "warehouse")


def read_stored(warehouse: Path) -> dict[str, bytes]:
    return {name: (warehouse / name).read_bytes() for name in stored_files(warehouse)}


def failures(stderr: str) -> dict[str, str]:
    """Step -> message."""
    return dict(re.findall(r"^failed (\S+): (.*)$", stderr, flags=re.MULTILINE))


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_ends_in_one_message_and_leaves_the_rest(
    name: str, run_damaged: RunDamaged, quick_run: Path, tmp_path: Path
) -> None:
    damage, paths = DAMAGES[name], []
    stderr = run_damaged(lambda world: paths.append(damage.apply(world)))
    found = failures(stderr)
    assert f"ingest[2024|{WEST}]" in found
    assert set(found) <= {f"ingest[2024|{shard}]" for shard in (WEST, EAST)}
    for message in found.values():
        assert paths[0].name in message
        assert documented(name).is_kept_by(message), message
    warehouse, good = tmp_path / "warehouse", quick_run.parent / "warehouse"
    stored = stored_files(warehouse)
    for shard in (WEST, EAST):
        assert (f"{damage.table}/year=2024/shard={shard}/part.parquet" in stored) == (
            f"ingest[2024|{shard}]" not in found
        )
        assert f"{damage.other}/year=2024/shard={shard}/part.parquet" in stored
        assert f"core_grid__patches/shard={shard}/part.parquet" in stored
    expected = digest_rows(good)
    raw = {key for key in expected if key.startswith("raw_")}  # ETags of the damaged file
    assert {key: value for key, value in digest_rows(warehouse).items() if key not in raw}.items() <= expected.items()


def test_damage_after_a_good_run_keeps_the_old_partitions(
    before: dict[str, bytes], run_damaged: RunDamaged, tmp_path: Path
) -> None:
    assert "383 dimensions" in run_damaged(shorten_vectors)
    after = read_stored(tmp_path / "warehouse")
    assert sorted(after) == sorted(before)
    for shard in (WEST, EAST):
        name = f"{PATCHES}/year=2024/shard={shard}/part.parquet"
        assert after[name] == before[name]


def test_an_index_without_a_column_stops_the_run_before_anything_is_read(
    before: dict[str, bytes], run_damaged: RunDamaged, tmp_path: Path
) -> None:
    stderr = run_damaged(drop_index_column)
    assert documented("index without a column").is_kept_by(failures(stderr)["plan[all]"])
    after = read_stored(tmp_path / "warehouse")
    assert {name for name in before if after[name] != before[name]} <= {"raw_eg__index/part.parquet"}


def test_a_file_that_states_another_model_stops_its_shards_and_prints_the_entry(
    run_damaged: RunDamaged, quick_run: Path, tmp_path: Path
) -> None:
    stderr = run_damaged(lambda world: state_model(world, "dino_vits16", 2024))
    assert documented("another model, stated").is_kept_by(stderr)
    assert '\nmodel = "dino_vits16"\n' in stderr
    good = digest_rows(quick_run.parent / "warehouse")
    found = digest_rows(tmp_path / "warehouse")
    assert f"{PATCHES}/year=2024/shard={WEST}/part.parquet" not in found
    pixels = {name: rows for name, rows in found.items() if name.startswith(PIXELS)}
    assert pixels == {name: rows for name, rows in good.items() if name.startswith(PIXELS)}


@pytest.mark.usefixtures("clean_env")
def test_a_bad_year_leaves_the_other_year_alone(tiny_world: Path, tmp_path: Path) -> None:
    world = copy_world(tiny_world, tmp_path / "world")
    replace_file(find_cog(world, year=2023), b"no raster")
    outcomes = {
        o.step: o
        for o in run_pipeline(write_settings(tmp_path / "quick.toml", quick_settings(world, years=(2023, 2024))))
    }
    assert outcomes[f"ingest[2023|{WEST}]"].problems
    assert outcomes[f"ingest[2024|{WEST}]"].ok
    assert outcomes[f"derive[2024|{WEST}]"].ok


@pytest.mark.usefixtures("clean_env")
def test_a_bad_file_of_one_zone_leaves_the_shards_of_the_next_zone_alone(tiny_world: Path, tmp_path: Path) -> None:
    world = copy_world(tiny_world, tmp_path / "world")
    replace_file(find_cog(world, "47N"), b"no raster")
    outcomes = {o.step: o for o in run_pipeline(write_settings(tmp_path / "quick.toml", quick_settings(world)))}
    assert outcomes[f"ingest[2024|{WEST}]"].problems
    assert outcomes[f"ingest[2024|{EAST}]"].ok


@pytest.mark.usefixtures("clean_env")
def test_upsampling_waits_for_the_patches_of_its_neighbours(
    quick_run: Path, tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import assets.patches

    table = assets.patches.patch_table

    def fail_in_the_west(mine: object, *arguments: object, **named: object) -> pa.Table:
        rows = table(mine, *arguments, **named)  # type: ignore[arg-type]  # handed through
        if rows.num_rows and rows["lon"][0].as_py() < 102:
            raise OSError(28, "No space left on device")
        return rows

    monkeypatch.setattr(assets.patches, "patch_table", fail_in_the_west)
    run_pipeline(write_settings(tmp_path / "quick.toml", quick_settings(tiny_world)))
    name = f"out_pixel__eg_upsampled/year=2024/shard={EAST}/part.parquet"
    found = digest_rows(tmp_path / "warehouse")
    assert f"{PATCHES}/year=2024/shard={WEST}/part.parquet" not in found
    assert name not in found or found[name] == digest_rows(quick_run.parent / "warehouse")[name]
