"""What the end-to-end tests share: settings of a tiny world, damaged copies of it, rows of a warehouse.

Belongs here: set-up and comparison. Does not: assertions about Isthmus, fixtures (`conftest.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PROJECT = Path(__file__).resolve().parents[1]
EXAMPLE = PROJECT / "examples" / "tiny.toml"

#: Environment variables that a run sets or that would override the settings of a test.
_ENVIRONMENT = ("DAGSTER_HOME", "ISTHMUS_")
_KEPT = "ISTHMUS_REAL_DATA"

#: Columns that say when and by which commit a row was made.
VOLATILE = ("created_at", "seconds", "code_rev")

Settings = dict[str, Any]


def tiny_settings(world: Path) -> Settings:
    """Give the settings of `examples/tiny.toml` on a world, smaller where that saves time; outputs beside the file."""
    settings = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    settings["sources"]["aef"]["root"] = str(world / "aef/v1")
    settings["sources"]["eg"]["root"] = str(world / "earthgenome/earthindexembeddings")
    settings["labels"]["worldcover"]["path"] = str(world / "worldcover/*_Map.tif")
    # 0.5 x 0.5 km across the zone edge, the row of blocks and two of the four squares
    settings["keep"] = {"sample": 0.03, "windows": [{"name": "seam", "bbox": [101.9977, 12.645, 102.0023, 12.6496]}]}
    settings["evaluate"] |= {"schemes": ["block"], "max_train_units": 3000}
    settings["warehouse"]["root"] = "warehouse"
    settings["dagster"]["instance"] = "dagster"
    settings["limits"] = {"min_free_mb": 100}
    return settings


def quick_settings(world: Path, years: tuple[int, ...] = (2024,)) -> Settings:
    """Ingest and derive only, in the two squares north of the corner, one in each zone."""
    settings = tiny_settings(world) | {"years": list(years)}
    settings["area"]["bbox"] = [101.99, 12.65, 102.01, 12.66]
    return {name: value for name, value in settings.items() if name not in ("labels", "evaluate")}


def write_settings(path: Path, settings: Settings) -> Path:
    """Write settings as TOML."""
    lines = [f"{key} = {_literal(value)}" for key, value in settings.items() if not isinstance(value, dict)]
    for name, section in settings.items():
        if isinstance(section, dict):
            lines += _section(name, section)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _section(name: str, values: Mapping[str, Any]) -> list[str]:
    lines = [f"[{name}]", *(f"{k} = {_literal(v)}" for k, v in values.items() if not isinstance(v, dict))]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _section(f"{name}.{key}", value)
    return lines


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_literal(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return json.dumps(value)


def copy_world(world: Path, target: Path) -> Path:
    """Copy a world by hard links; a file to damage is to be replaced, never written into."""
    shutil.copytree(world, target, copy_function=os.link)
    return target


def replace_file(path: Path, content: bytes) -> None:
    """Give a hard-linked file another content without touching the original."""
    path.unlink()
    path.write_bytes(content)


@contextmanager
def clean_environment() -> Iterator[None]:
    """Hide the user's Isthmus and Dagster variables, and forget what a run sets."""
    saved = {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT) and name != _KEPT}
    for name in saved:
        del os.environ[name]
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith(_ENVIRONMENT) and name != _KEPT]:
            del os.environ[name]
        os.environ.update(saved)


@dataclass(frozen=True)
class Outcome:
    """How a step of a pipeline ended, in plain values.

    Attributes:
        step: e.g. ``ingest[2024|47PRQ]``.
        ok: it ran and went well.
        skipped: it was not run.
        problems: messages.
        done_before: it was not run, because what is stored is current.
    """

    step: str
    ok: bool
    skipped: bool
    problems: tuple[str, ...]
    done_before: bool = False


def run_pipeline(config: Path, *, force: bool = False) -> list[Outcome]:
    """Run a settings file through Dagster, as `isthmus run` does."""
    from orchestration.pipeline import Pipeline

    outcomes = Pipeline(config, force=force).run(lambda _step: None)
    return [Outcome(str(o.step), o.ok, o.skipped, tuple(o.problems), o.done_before) for o in outcomes]


def stored_files(warehouse: Path) -> list[str]:
    """List the Parquet files that readers see, relative to the warehouse."""
    names = (path.relative_to(warehouse).as_posix() for path in warehouse.rglob("*.parquet"))
    return sorted(name for name in names if not name.rpartition("/")[2].startswith("."))


def hidden_files(warehouse: Path) -> list[str]:
    """List unfinished files."""
    return sorted(path.relative_to(warehouse).as_posix() for path in warehouse.rglob(".*") if path.is_file())


def digest_rows(warehouse: Path) -> dict[str, str]:
    """Give a hash of the rows of every stored file, bit by bit, without the columns that say when."""
    return {name: _digest(pq.ParquetFile(warehouse / name).read()) for name in stored_files(warehouse)}


def _digest(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name not in VOLATILE:
            digest.update(f"{name} {column.type}".encode())
            _add_array(digest, pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type))
    return digest.hexdigest()[:16]


def _add_array(digest: Any, array: pa.Array) -> None:
    """Add validity and valid values: what lies below a NULL is nobody's."""
    digest.update(np.asarray(array.is_valid()).tobytes())
    valid = array.drop_null()
    if pa.types.is_struct(array.type):
        for child in valid.flatten():
            _add_array(digest, child)
    elif pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type):
        digest.update(np.asarray(valid.value_lengths()).tobytes())
        _add_array(digest, valid.flatten())
    elif pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        digest.update(repr(valid.to_pylist()).encode())
    else:
        digest.update(valid.to_numpy(zero_copy_only=False).tobytes())
