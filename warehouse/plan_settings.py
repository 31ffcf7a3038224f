"""A settings file for an area that was planned, ready to run.

Belongs here: its text. Does not: what settings mean (`sections.py`), reading them (`settings.py`).
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

from warehouse.area_of_interest import describe_area
from warehouse.plan import Plan, PlanRequest
from warehouse.products import Product
from warehouse.sections import AreaSettings
from warehouse.source_settings import SourceSettings

_HEAD = """# {title}, planned by `isthmus plan`. Run it with: isthmus run --config {file}
# Labels and [evaluate] are yours to add: docs/sources.md, docs/evidence.md.
name = "{name}"
years = {years}

[area]
{area}
shard_rule = "mgrs" # 100 km squares
"""
_TAIL = """
[keep]
sample = {sample} # share of the pixels that is stored, about {kept:,}; pooling reads all of them

[warehouse]
root = "{name}/warehouse"

[dagster]
instance = "{name}/dagster"
"""


def write_settings_text(area: AreaSettings, request: PlanRequest, found: Plan, file: Path) -> str:
    """Give the text of a settings file.

    Args:
        area: where the area is, by one key.
        request: years, products and where they are.
        found: the plan of it.
        file: where the text will stand; paths in it are relative to that.
    """
    name = name_area(area)
    years = json.dumps(list(request.years))
    text = _HEAD.format(
        title=describe_area(area), file=file.name, name=name, years=years, area=_area_lines(area, file.parent)
    )
    for product in request.products:
        text += _source_lines(product, request.sources.get(product.name), file.parent)
    text += "\n[compare]\n"
    for product in request.products:
        text += f'{"pixels" if product.grain == "pixel" else "patches"} = "{product.name}"\n'
    return text + _TAIL.format(sample=found.sample, kept=round(found.sample * found.pixels), name=name)


def name_area(area: AreaSettings) -> str:
    """Give a name for settings: letters, digits and underscores, beginning with a letter."""
    words = area.country or (area.geometry.stem if area.geometry else "_".join(("tiles", *area.tiles[:2])))
    words = "area" if area.bbox is not None else words
    plain = "".join(c for c in unicodedata.normalize("NFKD", words) if not unicodedata.combining(c)).lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return name if re.match(r"[a-z]", name) else f"area_{name}".rstrip("_")


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
    if source is None and getattr(product, "published", None) is not None:
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
