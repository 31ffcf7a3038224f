"""A settings file for an area that was planned, ready to run.

Belongs here: its text, writing it. Does not: what settings mean (`sections.py`), reading them (`settings.py`).
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

from transforms.errors import IsthmusError
from warehouse.area_of_interest import describe_area
from warehouse.errors import SettingsError
from warehouse.file_paths import FilePath, RemotePath
from warehouse.plan import Plan
from warehouse.plan_request import PlanRequest
from warehouse.products import Product
from warehouse.sections import AreaSettings
from warehouse.settings import load_settings
from warehouse.source_settings import SourceSettings

_HEAD = """# {title}, planned by `isthmus plan`. Run it with: isthmus run --config {file}
"""
_LABELS = """# Labels and [evaluate] are yours to add: docs/sources.md, docs/evidence.md.
"""
_BASE = """# Everything else is as in the file that was planned with.
extends = {base}
"""
_YEARS = """name = "{name}"
years = {years}
"""
_AREA = """
[area]
{area}
shard_rule = "mgrs" # 100 km squares
"""
_KEEP = """
[keep]
sample = {sample} # share of the pixels that is stored, about {kept:,}; pooling reads all of them
"""
_TAIL = """
[warehouse]
root = {warehouse}

[dagster]
instance = {instance}
"""


def check_output(file: Path, base: Path | None) -> None:
    """Refuse a place for a settings file before anything is counted for it.

    Args:
        file: where the text will stand.
        base: the settings file that it will extend, or None.

    Raises:
        SettingsError: there is a file already, or the base stands elsewhere.
    """
    if file.exists():
        raise SettingsError(str(file), ["found a file, expected a new name: nothing is overwritten"])
    if base is not None and file.resolve().parent != base.resolve().parent:
        raise SettingsError(
            str(file),
            [f"found another folder than that of {base}, which it extends: expected {base.parent / file.name}"],
        )


def write_settings(file: Path, text: str) -> None:
    """Write a settings file and read it back, so that it is known to be ready; one that is not is removed again.

    Raises:
        SettingsError: what the file says together with what it extends cannot be.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    try:
        load_settings(file)
    except IsthmusError:
        file.unlink()
        raise


def make_settings_text(area: AreaSettings, request: PlanRequest, found: Plan, file: Path) -> str:
    """Give the text of a settings file.

    Args:
        area: where the area is, by one key.
        request: years, products and where they are.
        found: the plan of it.
        file: where the text will stand; paths in it are relative to that.
    """
    text = _HEAD.format(title=describe_area(area), file=file.name) + _LABELS + _years(request, file)
    text += _AREA.format(area=_area_lines(area, file.parent))
    for product in request.products:
        text += _source_lines(product, request.sources.get(product.name), file.parent)
    text += "\n[compare]\n"
    for product in request.products:
        text += f'{"pixels" if product.grain == "pixel" else "patches"} = "{product.name}"\n'
    return text + _KEEP.format(sample=found.sample, kept=found.kept) + _tail(file)


def make_extending_text(area: AreaSettings, planned: AreaSettings, request: PlanRequest, file: Path, base: Path) -> str:
    """Give the text of a settings file that takes all but area, years and warehouse from the one planned with.

    Args:
        area: where the area is.
        planned: the area of the base; it is said anew only where the other differs.
        request: the years.
        file: where the text will stand.
        base: the settings file beside it.
    """
    text = _HEAD.format(title=describe_area(area), file=file.name) + _BASE.format(base=json.dumps(base.name))
    text += _years(request, file)
    if area != planned:
        text += _AREA.format(area=_area_lines(area, file.parent))
    return text + _tail(file, load_settings(base).warehouse.root)


def name_settings(file: Path) -> str:
    """Give a name for settings after their file: letters, digits and underscores, beginning with a letter."""
    decomposed = unicodedata.normalize("NFKD", file.stem)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c)).lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return name if re.match(r"[a-z]", name) else f"area_{name}".rstrip("_")


def _years(request: PlanRequest, file: Path) -> str:
    return _YEARS.format(name=name_settings(file), years=json.dumps(list(request.years)))


def _tail(file: Path, base: FilePath | None = None) -> str:
    """Say where the tables go: to a place named as the file is, so that two files beside each other share none.

    Args:
        file: the settings file.
        base: root of the warehouse of the file that it extends: if that is in a bucket, so is this one.
    """
    root = f"{base.parent}/{file.stem}" if isinstance(base, RemotePath) else f"{file.stem}/warehouse"
    places = [json.dumps(place, ensure_ascii=False) for place in (root, f"{file.stem}/dagster")]
    return _TAIL.format(warehouse=places[0], instance=places[1])


def _area_lines(area: AreaSettings, folder: Path) -> str:
    lines = []
    for key in ("country", "tiles", "bbox"):
        value = getattr(area, key)
        if value:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    for key in ("geometry", "boundaries"):
        path = getattr(area, key)
        if path is not None:
            lines.append(f"{key} = {_quote_path(path, folder)}")
    return "\n".join(lines)


def _source_lines(product: Product, source: SourceSettings | None, folder: Path) -> str:
    """Say where a product is: as in the settings that were planned with, else where it is published, else a folder."""
    head = f"\n[sources.{product.name}]"
    if source is None and product.published is not None:
        return head + ' # read where it is published; root = "folder" for your own copy\n'
    if source is None:
        return head + f'\nroot = "data/{product.name}" # the folder with its files\n'
    given = source.model_dump(exclude_defaults=True)
    lines = [
        f"{key} = {_quote_path(value, folder) if key in ('root', 'index') else json.dumps(value)}"
        for key, value in given.items()
    ]
    return "\n".join([head, *lines, ""])


def _quote_path(path: Path | str, folder: Path) -> str:
    """Write a path relative to a folder, a URL as it is."""
    text = str(path)
    if "://" not in text:
        text = Path(os.path.relpath(Path(text).resolve(), folder.resolve())).as_posix()
    return json.dumps(text, ensure_ascii=False)
