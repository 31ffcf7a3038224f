"""Builds a simulated world: a source tree in exactly the published layout.

Belongs here: the build as a whole, its mark `SIMULATED.json`, and the rule that there is a whole world or none.
Does not: the files of one producer (`world_aef.py`, `world_eg.py`, `world_labels.py`), the landscape
(`transforms/simulation/`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transforms.errors import IsthmusError
from transforms.simulation.landscape import build_landscape
from transforms.simulation.spec import (
    CLASS_CODES,
    CLASS_NAMES,
    DEFAULT,
    SignalStrengths,
    WorldSize,
    WorldSpec,
    describe_world,
    world_spec,
)
from warehouse.errors import DiskSpaceError
from warehouse.world_aef import write_aef_world
from warehouse.world_eg import PatchCounts, write_eg_world
from warehouse.world_labels import write_label_world
from warehouse.world_mosaic import write_mosaic_world

Progress = Callable[[str, float], None]

#: Its presence marks everything below its folder as simulated.
MARK = "SIMULATED.json"
_SENTENCE = (
    "Everything below this folder is simulated by Isthmus: no satellite saw it, and no producer published it. "
    "Whatever derives from it must say so."
)
_NEEDED_MB = {"tiny": 200, "demo": 1_600}
_THREADS = 2


class NotAWorldError(IsthmusError):
    """The target folder holds something that a build would destroy. Permanent."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"{root}: found a folder without {MARK}, expected a simulated world or no folder at all. "
            "Choose another root, or remove the folder yourself."
        )


@dataclass(frozen=True)
class WorldSummary:
    """What a world holds.

    Attributes:
        root: its folder.
        size: `tiny` or `demo`.
        seed: its seed.
        years: years with pixels.
        bbox: west, south, east, north in degrees.
        n_files: files, without the mark.
        n_bytes: their size.
        n_patches: different patch ids.
        n_patch_rows: rows of all patch files.
        n_max_copies: most files that hold one id.
        label_error_rate: share of label pixels that differ from the truth, as counted.
        was_built: False where the world was there already.
    """

    root: Path
    size: WorldSize
    seed: int
    years: tuple[int, ...]
    bbox: tuple[float, float, float, float]
    n_files: int
    n_bytes: int
    n_patches: int
    n_patch_rows: int
    n_max_copies: int
    label_error_rate: float
    was_built: bool


def build_world(
    root: Path,
    size: WorldSize,
    seed: int,
    *,
    strengths: SignalStrengths = DEFAULT,
    mosaic: bool = False,
    progress: Progress | None = None,
) -> WorldSummary:
    """Build a world, or return at once where the same world is there already.

    The world is written beside `root` and renamed at the end: a killed build leaves no half world. A different
    simulated world at `root` is replaced.

    Args:
        root: folder of the world.
        size: `tiny` (6 x 6 km) or `demo` (980 km2 of land).
        seed: the same seed gives the same arrays.
        strengths: how loud the signals are.
        mosaic: write the rasters once more, as a Zarr mosaic in degrees.
        progress: called with what is being done and the share of the whole that is done.

    Returns:
        What the world holds.

    Raises:
        NotAWorldError: `root` is a folder that is not a simulated world.
        DiskSpaceError: the disk is too full.
    """
    spec = world_spec(size)
    identity = describe_world(spec, strengths, seed) | ({"has_mosaic": True} if mosaic else {})
    existing = _read_mark(root)
    if existing is not None and {key: existing.get(key) for key in identity} == identity:
        return _summarise(root, spec, existing, was_built=False)
    building = root.with_name(f".{root.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    _check_disk(root.parent, size)
    try:
        building.mkdir()
        mark = identity | _write_parts(
            building, spec, strengths, seed, mosaic, progress or (lambda _what, _share: None)
        )
        (building / MARK).write_text(json.dumps(mark, indent=1) + "\n")
        _promote(building, root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return _summarise(root, spec, mark, was_built=True)


def _write_parts(
    root: Path, spec: WorldSpec, strengths: SignalStrengths, seed: int, mosaic: bool, progress: Progress
) -> dict[str, Any]:
    """Write all files; returns what the mark says about them."""
    progress("landscape", 0.0)
    landscape = build_landscape(spec, seed)
    progress("labels", 0.08)
    error_rate = write_label_world(root, landscape, seed)
    counts = write_eg_world(root, landscape, strengths, seed, lambda share: progress("patches", 0.15 + 0.15 * share))
    with ThreadPoolExecutor(_THREADS) as pool:
        write_aef_world(root, landscape, strengths, seed, pool, lambda share: progress("pixels", 0.3 + 0.7 * share))
    if mosaic:
        write_mosaic_world(root, spec, lambda share: progress("mosaic", share))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        "is_simulated": True,
        "note": _SENTENCE,
        "classes": dict(zip(CLASS_NAMES, CLASS_CODES, strict=True)),
        "label_error_rate": error_rate,
        "patches": asdict(counts),
        "files": [{"path": path.relative_to(root).as_posix(), "bytes": path.stat().st_size} for path in files],
    }


def _promote(building: Path, root: Path) -> None:
    """Put the finished world in its place; an older one is moved out of the way first."""
    old = root.with_name(f".{root.name}.old")
    # may be left by a build that was killed right here
    shutil.rmtree(old, ignore_errors=True)
    if root.exists():
        root.rename(old)
    building.rename(root)
    shutil.rmtree(old, ignore_errors=True)


def _read_mark(root: Path) -> dict[str, Any] | None:
    """Read the mark of a world; None where the folder is absent or empty."""
    path = root / MARK
    if path.is_file():
        mark: dict[str, Any] = json.loads(path.read_text())
        return mark
    if root.is_dir() and not any(root.iterdir()):
        root.rmdir()
    if root.exists():
        raise NotAWorldError(root)
    return None


def _check_disk(folder: Path, size: WorldSize) -> None:
    free_mb = shutil.disk_usage(folder).free // 2**20
    if free_mb < _NEEDED_MB[size]:
        raise DiskSpaceError(str(folder), free_mb, _NEEDED_MB[size])


def _summarise(root: Path, spec: WorldSpec, mark: dict[str, Any], *, was_built: bool) -> WorldSummary:
    counts = PatchCounts(**mark["patches"])
    return WorldSummary(
        root=root,
        size=spec.size,
        seed=mark["seed"],
        years=spec.years,
        bbox=spec.bbox,
        n_files=len(mark["files"]),
        n_bytes=sum(file["bytes"] for file in mark["files"]),
        n_patches=counts.n_patches,
        n_patch_rows=counts.n_rows,
        n_max_copies=counts.n_max_copies,
        label_error_rate=mark["label_error_rate"],
        was_built=was_built,
    )
