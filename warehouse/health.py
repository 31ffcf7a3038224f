"""The health of a machine and of a set-up: disk, memory, versions, source roots, what killed writers left behind.

Belongs here: looking, and saying what it means. Does not: Dagster's history and printing
(`orchestration/doctor_command.py`), rules about rows (`sql/checks/`). Nothing is changed by looking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement

from transforms.errors import IsthmusError
from warehouse.file_access import stat_file
from warehouse.file_paths import FilePath, RemotePath
from warehouse.run_holder import LOCK_FILE
from warehouse.store import Warehouse, measure_disk
from warehouse.unfinished import list_abandoned, writing_folder

Status = Literal["ok", "warning", "failed"]
#: Less free memory than this makes a run swap: one block of pixels, its sums, and a fold in training.
MIN_FREE_MEMORY_MB = 2_000
_MB = 2**20


@dataclass(frozen=True)
class Finding:
    """What was found about one thing.

    Attributes:
        name: what was looked at.
        status: `failed` where a run would not start, or would store what cannot be trusted.
        found: in words.
        meaning: what follows from it; empty where all is well.
        fix: what to do; empty where all is well.
    """

    name: str
    status: Status
    found: str
    meaning: str = ""
    fix: str = ""


def examine_set_up(warehouse: Warehouse) -> list[Finding]:
    """Look at everything here, for the warehouse of one settings file; it need not exist yet."""
    return [
        examine_disk("disk of the warehouse", writing_folder(warehouse.root), warehouse.settings.limits.min_free_mb),
        examine_disk("disk of the history", warehouse.settings.dagster.instance, warehouse.settings.limits.min_free_mb),
        examine_memory(psutil.virtual_memory().available // _MB, psutil.cpu_count() or 1),
        examine_versions(requires("isthmus") or []),
        *examine_sources(warehouse),
        *examine_store(warehouse.root),
        examine_leftovers(warehouse.root),
    ]


def examine_disk(name: str, folder: Path, min_free_mb: int) -> Finding:
    """Compare the free disk below a folder with the limit under which nothing is written."""
    present, free_mb = measure_disk(folder)
    found = f"{free_mb / 1024:.1f} GiB free at {present}"
    if free_mb >= min_free_mb:
        return Finding(name, "ok", found)
    return Finding(
        name, "failed", f"{found}, expected at least {min_free_mb} MB (limits.min_free_mb)",
        "A run refuses to write here.",
        "Free some space, or point warehouse.root (for a bucket, warehouse.scratch) at another disk.",
    )  # fmt: skip


def examine_memory(free_mb: int, n_cores: int) -> Finding:
    """Judge the memory that is free for a run."""
    found = f"{free_mb / 1024:.1f} GiB free, {n_cores} cores"
    if free_mb >= MIN_FREE_MEMORY_MB:
        return Finding("memory", "ok", found)
    return Finding(
        "memory", "warning", f"{found}, expected at least {MIN_FREE_MEMORY_MB / 1024:.1f} GiB",
        "A run may swap, or be killed by the system.", "Close other programs, or lower limits.block_px and threads.",
    )  # fmt: skip


def examine_versions(requirements: list[str]) -> Finding:
    """Compare installed packages with requirements, those of extras left out."""
    wanted = [Requirement(text) for text in requirements]
    wrong = []
    for one in wanted:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        installed = _installed(one.name)
        if installed is None or not one.specifier.contains(installed, prereleases=True):
            wrong.append(f"{one.name} {installed or 'is missing'} (expected {one.specifier or 'any'})")
    shown = ", ".join(f"{name} {_installed(name)}" for name in ("isthmus", "dagster", "duckdb", "pyarrow", "numpy"))
    if not wrong:
        return Finding("versions", "ok", shown)
    return Finding(
        "versions", "failed", "; ".join(wrong), "Isthmus was not tried with these: anything may fail, or differ.",
        "Run `make setup`, which installs the pins of constraints.txt.",
    )  # fmt: skip


def examine_sources(warehouse: Warehouse) -> list[Finding]:
    """Look whether the folders of the sources are there."""
    findings = []
    for name, source in warehouse.settings.sources.items():
        finding = Finding(f"source {name}", "ok", str(source.root))
        if isinstance(source.root, Path) and not source.root.is_dir():  # what is behind a URL is asked by a run
            finding = replace(
                finding,
                status="warning",
                found=f"{source.root}: no such folder",
                meaning="What is stored can be used; nothing can be read again.",
                fix=f"Set sources.{name}.root, or mount the disk.",
            )
        findings.append(finding)
    return findings


def examine_store(root: FilePath) -> list[Finding]:
    """Ask the store of a warehouse for one file, there or not; nothing for a folder."""
    if not isinstance(root, RemotePath):
        return []
    name = "store of the warehouse"
    try:
        lock = stat_file(root / LOCK_FILE)
    except IsthmusError as error:
        return [Finding(name, "failed", str(error), "Nothing can be read or written.", "Do what the message says.")]
    return [Finding(name, "ok", f"{root} answers, {'had runs before' if lock else 'had no run yet'}")]


def examine_leftovers(root: FilePath) -> Finding:
    """Look for temporary files of writers that are not alive any more."""
    left = list_abandoned(root)
    if not left:
        return Finding("leftovers", "ok", "no temporary files of killed runs")
    size_mb = sum(path.stat().st_size for path in left) / _MB
    return Finding(
        "leftovers", "warning", f"{len(left)} temporary files of killed runs, {size_mb:.1f} MB, e.g. {left[0]}",
        "They are never read, and cost disk.",
        "Run again: each partition sweeps its own. Or delete files that match .*.tmp there.",
    )  # fmt: skip


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
