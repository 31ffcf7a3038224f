"""Which registered product the files of a year are, and how to write an entry where none describes them.

A changed model or grid is a product of its own, never an update of the old one. Belongs here: that rule. Does not:
reading files (`sources/traits.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from warehouse.products import LATTICE_VERSION, Product, spell_entry
from warehouse.sources.traits import FileTraits

#: Stands in a proposed entry for what nobody but the producer can say.
UNKNOWN = "?"
_YEAR = re.compile(r"_\d{4}$")


@dataclass(frozen=True)
class Identity:
    """What the files of a year are.

    Attributes:
        product: registered product; None where no entry fits.
        advice: why none fits, and the entry to add; empty where one does.
    """

    product: str | None
    advice: str = ""


def identify_product(registry: Mapping[str, Product], watched: Product, year: int, traits: FileTraits) -> Identity:
    """Find the registered product that the files of a year are.

    Args:
        registry: all products.
        watched: product whose source was looked at; it is asked first, then others of its producer: those with its
            layout, and those that name the year and bring their footprints along, as files of another grid must.
        year: calendar year of the files.
        traits: what one of the files says.

    Returns:
        The product whose years, dimensions, model and grid agree with the files.
    """
    others = [
        product
        for product in registry.values()
        if product.producer == watched.producer and product.name != watched.name
        and (product.layout == watched.layout or (product.layout == "patch_geoparquet" and year in product.years))
    ]  # fmt: skip
    for product in [watched, *others]:
        if not _find_differences(product, year, traits):
            return Identity(product.name)
    return Identity(None, _advise(watched, year, traits, registry))


def _find_differences(product: Product, year: int, traits: FileTraits) -> list[str]:
    """Say what of an entry disagrees with the files."""
    found = [] if product.takes(year) else [f"its years are {list(product.years)}"]
    if traits.dims not in (None, product.dims):
        found.append(f"it has {product.dims} dimensions, the files have {traits.dims}")
    if traits.dtype is not None and product.is_quantised and traits.dtype != "int8":
        found.append(f"it is int8, the files are {traits.dtype}")
    if traits.model is not None and not product.names_model(traits.model):
        found.append(f"its model is '{product.model}', the files say '{traits.model}'")
    if traits.is_on_grid is not None and traits.is_on_grid != (product.grid_version == LATTICE_VERSION):
        found.append(f"its grid is '{product.grid_version}', the ids of the files stand on another one")
    return found


def _advise(watched: Product, year: int, traits: FileTraits, registry: Mapping[str, Product]) -> str:
    reasons = "; ".join(_find_differences(watched, year, traits))
    seen = f" (seen in {PurePath(traits.path).name})" if traits.path else ""
    return (
        f"No registered product describes the files of {year}{seen}. Product '{watched.name}' does not: {reasons}. "
        "Vectors of two models are never mixed, so nothing is read. Look up model and grid at the producer, replace "
        f"every '{UNKNOWN}', and add this to the settings file (in warehouse/products.toml without 'products.'):\n"
        f"{propose_entry(watched, year, traits, registry)}"
    )


def propose_entry(watched: Product, year: int, traits: FileTraits, registry: Mapping[str, Product]) -> str:
    """Spell the registry entry of a new product, as far as the files tell.

    Args:
        watched: product whose successor it is.
        year: calendar year of its files.
        traits: what one of the files says.
        registry: all products, for a name that is free.

    Returns:
        A TOML table; `?` stands for what the files do not say. Files of another grid are read by their footprints, and
        need a source of their own: its table follows.
    """
    name = f"{_YEAR.sub('', watched.name)}_{year}"
    while name in registry:
        name += "_new"
    entry: dict[str, Any] = {
        "title": f"{re.sub(r' [(].*[)]$', '', watched.title)} ({year})",
        "years": [year],
        "model": traits.model or UNKNOWN,
        "dims": traits.dims or watched.dims,
    }
    if traits.is_on_grid is not False:
        return spell_entry(watched, name, **entry)
    entry |= {"grid_version": UNKNOWN, "layout": "patch_geoparquet", "id_column": "id"}
    source = [
        f"[sources.{name}]",
        f'root = "{UNKNOWN}"  # the folder of the year',
        'files = "*.parquet"',
        f"year = {year}",
    ]
    return "\n".join([spell_entry(watched, name, **entry), *source])
