"""The raster files of one product and year, straight from its source: what commands without a warehouse read.

Belongs here: choosing the product, listing its files, saying which years there are. Does not: the index of a warehouse
(`store.py`), the forms that an index has (`sources/index.py`).
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from transforms.area import Area
from warehouse.errors import SourceMissingError
from warehouse.products import Layout, Product
from warehouse.sources.index import count_unregistered_years, list_years, read_index
from warehouse.store import Warehouse

#: Any year that an index could list, to say which it has.
_ALL_YEARS = range(1980, 2101)


def choose_pixel_product(warehouse: Warehouse, wanted: str | None, layouts: Collection[Layout]) -> Product:
    """Give the pixel product that is asked for, or the compared one of the settings.

    Raises:
        SourceMissingError: the settings have no source of that name in one of the layouts.
    """
    name = wanted or warehouse.settings.compare.pixels
    usable = sorted(product.name for product in warehouse.products.values() if product.layout in layouts)
    if name not in usable:
        found = "no pixel product in compare.pixels" if name is None else f"'{name}'"
        raise SourceMissingError(
            f"product of settings '{warehouse.settings.name}'", found,
            f"one of {usable}: a product with a [sources.<name>] and layout {' or '.join(sorted(layouts))}",
            "Choose one with --product, or add its source to the settings.",
        )  # fmt: skip
    return warehouse.products[name]


def list_year_files(warehouse: Warehouse, product: Product, year: int, area: Area | None) -> pa.Table:
    """List the product's files of a year that touch an area; empty where there are none just there.

    Args:
        warehouse: its settings say where the product is.
        product: a product with a source.
        year: calendar year.
        area: which ground; None = everywhere.

    Returns:
        Rows of `raw_{product}__index`.

    Raises:
        SourceMissingError: the product has no file of this year anywhere.
    """
    source = warehouse.source(product.name)
    index = read_index(product, source, [year], area)
    if len(index):
        return index
    years = list_years(product, source, _ALL_YEARS)
    if year in years:
        return index
    raise SourceMissingError(
        f"raw_{product.name}__index[{year}]", "no file of this year", f"one of the years {years}",
        "Choose another --year, or add its files to the source root.",
    )  # fmt: skip


def note_years_left_out(warehouse: Warehouse, product: Product) -> tuple[str, ...]:
    """Say which years of the settings are published below a product's root and read as no product at all.

    Args:
        warehouse: its settings say which years are wanted and which products share a root.
        product: a product with a source.
    """
    source = warehouse.source(product.name)
    found = count_unregistered_years(product, source, source.years or warehouse.settings.years, warehouse.area)
    sharing = [p for name, p in warehouse.products.items() if warehouse.source(name).root == source.root]
    return tuple(
        f"{count} files of {year} are left out: {product.name} is registered for {list(product.years)}"
        for year, count in found.items()
        if not any(other.takes(year) for other in sharing)
    )
