"""Damaged sources through the whole command: one message that helps, exit code 1, nothing half-written."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.windows import Window

from orchestration.cli import main
from tests.assets.brute_force import NODATA
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

#: The two squares of `quick_settings`, on either side of the zone edge.
WEST, EAST = "47PRQ", "48PSV"


def find_cog(world: Path, zone: str = "47N", year: int = 2024) -> Path:
    (path,) = (world / f"aef/v1/annual/{year}/{zone}").glob("*.tiff")
    return path


def find_eg(world: Path) -> Path:
    (path,) = world.glob(f"earthgenome/*/2024/{WEST}_*.parquet")
    return path


def truncate_cog(world: Path) -> Path:
    path = find_cog(world)
    content = path.read_bytes()
    replace_file(path, content[: len(content) * 6 // 10])
    return path


def drop_a_band(world: Path) -> Path:
    path = find_cog(world)
    with rasterio.open(path) as raster:
        profile = raster.profile | {"count": 63, "sparse_ok": True}
    path.unlink()
    with rasterio.open(path, "w", **profile):
        pass
    return path


def mix_nodata(world: Path) -> Path:
    path = find_cog(world)
    replace_file(path, path.read_bytes())
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        window = Window(0, 0, 1024, 1024)
        band = raster.read(6, window=window)
        rows, cols = np.nonzero(band != NODATA)
        band[rows[-3:], cols[-3:]] = NODATA
        raster.write(band, 6, window=window)
    return path


def delete_cog(world: Path) -> Path:
    path = find_cog(world)
    path.unlink()
    return path


def rewrite_eg(world: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Path:
    """Rewrite a patch file with other (ids, vectors), in the published layout."""
    path = find_eg(world)
    table = pq.read_table(path)
    matrix = np.array(table["embedding"].to_pylist(), np.float32)
    ids, matrix = change(table["id"].to_numpy().copy(), matrix)
    offsets = pa.array(np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1])
    columns = [
        pa.array(ids),
        pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel())),
        table["geometry"].combine_chunks(),
    ]
    path.unlink()
    pq.write_table(pa.table(columns, schema=table.schema), path)
    return path


def shorten_vectors(world: Path) -> Path:
    return rewrite_eg(world, lambda ids, vectors: (ids, vectors[:, :383]))


def spoil_vectors(world: Path) -> Path:
    def spoil(ids: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        vectors[:, 7] = np.nan
        return ids, vectors

    return rewrite_eg(world, spoil)


def shift_ids(world: Path) -> Path:
    return rewrite_eg(world, lambda ids, vectors: (np.roll(ids, 1), vectors))


@dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes:
        apply: does it to a world, and names the file.
        message: what the message says, as a regular expression after the file's name.
        table: the table that cannot be read.
        other: a table that goes on.
    """

    apply: Callable[[Path], Path]
    message: str
    table: str
    other: str


PIXELS, PATCHES = "core_aef__pixels", "core_eg__patches"
DAMAGES = {
    "truncated COG": Damage(
        truncate_cog,
        r"length: found \d+ bytes, expected at least \d+ bytes.*download it again",
        PIXELS,
        PATCHES,
    ),
    "63 bands": Damage(
        drop_a_band, r"bands: found 63, expected 64\. Is this another product\? Set it", PIXELS, PATCHES
    ),
    "mixed nodata": Damage(
        mix_nodata, r"found 3 pixels .*with 1 of 64 bands, expected nodata in all .*Download it again", PIXELS, PATCHES
    ),
    "index row without file": Damage(
        delete_cog, r"expected the file that the index lists\. Download it .*or remove its row", PIXELS, PATCHES
    ),
    "383-d vectors": Damage(
        shorten_vectors, r"found \d+ rows of 383 dimensions, expected 384 .*download it again", PATCHES, PIXELS
    ),
    "NaN vectors": Damage(
        spoil_vectors,
        r"found \d+ of \d+ rows with NaN .*element 7, expected finite .*download it again",
        PATCHES,
        PIXELS,
    ),
    "ids against geometry": Damage(
        shift_ids, r"found \d+ of \d+ ids elsewhere .*by [\d.]+ m, expected less than 1 m.*download it", PATCHES, PIXELS
    ),
}


def run_command(config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run `isthmus run`; exit code and standard error."""
    monkeypatch.setattr(sys, "argv", ["isthmus", "run", "--config", str(config)])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capfd.readouterr().err


def failures(stderr: str) -> dict[str, str]:
    """Step -> message."""
    return dict(re.findall(r"^failed (\S+): (.*)$", stderr, flags=re.MULTILINE))


@pytest.mark.usefixtures("clean_env")
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_ends_in_one_message_and_leaves_the_rest(
    name: str,
    quick_run: Path,
    tiny_world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    damage = DAMAGES[name]
    path = damage.apply(copy_world(tiny_world, tmp_path / "world"))
    config = write_settings(tmp_path / "quick.toml", quick_settings(tmp_path / "world"))
    code, stderr = run_command(config, monkeypatch, capfd)
    assert code == 1
    found = failures(stderr)
    assert f"ingest[2024|{WEST}]" in found
    assert set(found) <= {f"ingest[2024|{shard}]" for shard in (WEST, EAST)}
    for message in found.values():
        assert re.search(f"{re.escape(path.name)}.*{damage.message}", message), message
    assert "Traceback" not in stderr
    warehouse, good = config.parent / "warehouse", quick_run.parent / "warehouse"
    stored = stored_files(warehouse)
    for shard in (WEST, EAST):
        assert (f"{damage.table}/year=2024/shard={shard}/part.parquet" in stored) == (
            f"ingest[2024|{shard}]" not in found
        )
        assert f"{damage.other}/year=2024/shard={shard}/part.parquet" in stored
        assert f"core_grid__patches/shard={shard}/part.parquet" in stored
    assert hidden_files(warehouse) == []
    expected = digest_rows(good)
    raw = {key for key in expected if key.startswith("raw_")}  # ETags of the damaged file
    assert {key: value for key, value in digest_rows(warehouse).items() if key not in raw}.items() <= expected.items()


@pytest.mark.usefixtures("clean_env")
def test_damage_after_a_good_run_keeps_the_old_partitions(
    quick_run: Path,
    tiny_world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(quick_run.parent / "warehouse", tmp_path / "warehouse")
    before = {name: (tmp_path / "warehouse" / name).read_bytes() for name in stored_files(tmp_path / "warehouse")}
    shorten_vectors(copy_world(tiny_world, tmp_path / "world"))
    config = write_settings(tmp_path / "quick.toml", quick_settings(tmp_path / "world"))
    code, stderr = run_command(config, monkeypatch, capfd)
    assert code == 1
    assert "383 dimensions" in stderr
    for shard in (WEST, EAST):
        name = f"{PATCHES}/year=2024/shard={shard}/part.parquet"
        assert (tmp_path / "warehouse" / name).read_bytes() == before[name]
    assert stored_files(tmp_path / "warehouse") == sorted(before)
    assert hidden_files(tmp_path / "warehouse") == []


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
