"""Stored partitions that tables are made from, one small function each.

Belongs here: which partitions of which tables, for the product or label in a table's name and a key. Does not: settings
(`settings.py`), source files (`files.py`), which table is made from what (`table.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transforms.area import Bbox, boxes_touch, grow
from transforms.upsampled_rows import stored_methods
from transforms.upsampling.operators import find_upsampler
from warehouse.layout import PartitionKey
from warehouse.products import Product
from warehouse.recipes.scope import list_labels_of, list_pair

if TYPE_CHECKING:  # the store writes fingerprints, so it imports this module
    from warehouse.store import Warehouse


@dataclass(frozen=True)
class Selection:
    """Partitions of one table that another one is made from.

    Attributes:
        table: their table.
        years: of the partitions; None = whatever they have.
        shards: of the partitions; None = whatever they have.
        only_values: True where columns that are added or dropped do not matter.
    """

    table: str
    years: tuple[int | None, ...] | None = None
    shards: tuple[str | None, ...] | None = None
    only_values: bool = False

    def holds(self, key: PartitionKey) -> bool:
        """Tell whether a partition is among them."""
        return (self.years is None or key.year in self.years) and (self.shards is None or key.shard in self.shards)


def places(_warehouse: Warehouse, _name: str, key: PartitionKey) -> Iterable[Selection]:
    """The patch places of the shard."""
    return [Selection("core_grid__patches", shards=(key.shard,))]


def labelled_pixels(warehouse: Warehouse, name: str, key: PartitionKey) -> Iterable[Selection]:
    """The pixels that the shard keeps in the embedding years of a label year."""
    years = tuple(warehouse.embedding_years(name, key.year))
    return [Selection(f"core_{warehouse.settings.compare.pixels}__pixels", years, (key.shard,))]


def labelled_patches(warehouse: Warehouse, name: str, key: PartitionKey) -> Iterable[Selection]:
    """The patch places of the shard; for BigEarthNet, the names of all patches too."""
    if warehouse.label(name).kind != "bigearthnet":
        return places(warehouse, name, key)
    return [*places(warehouse, name, key), Selection(f"core_{warehouse.settings.compare.patches}__patches")]


def patches_of_year(_warehouse: Warehouse, name: str, key: PartitionKey) -> Iterable[Selection]:
    """The patch vectors of all shards."""
    return [Selection(f"core_{name}__patches", (key.year,))]


def pixels_of_year(_warehouse: Warehouse, name: str, key: PartitionKey) -> Iterable[Selection]:
    """The kept pixels of all shards."""
    return [Selection(f"core_{name}__pixels", (key.year,))]


def pooled_from(warehouse: Warehouse, name: str, key: PartitionKey) -> Iterable[Selection]:
    """The places of the shard, and listed pixels where those are pooled."""
    is_listed = warehouse.products[name].layout == "pixel_table"
    return [*places(warehouse, name, key), *(pixels_of_year(warehouse, name, key) if is_listed else [])]


def codebooks_of_year(warehouse: Warehouse, name: str, key: PartitionKey) -> Iterable[Selection]:
    """The codebooks of the year, where a stored operator needs one."""
    return [Selection(f"out_pixel__{name}_codebook", (key.year,))] if warehouse.needs_codebook else []


def upsampled_from(warehouse: Warehouse, name: str, key: PartitionKey) -> Iterable[Selection]:
    """The basis, the shard's pixels, and the patches of all shards that its operators reach."""
    methods = stored_methods(warehouse.settings.upsample.operators)
    bbox = warehouse.owner_rule(str(key.shard)).shard.bbox
    near = tuple(shards_near(warehouse, grow(bbox, reading_margin_m(warehouse.products[name], methods))))
    return [
        Selection(f"core_{name}__patches", (key.year,), near),
        Selection("core_grid__patches", shards=near),
        Selection(f"out_patch__{name}_basis", (key.year,)),
        Selection(f"core_{warehouse.settings.compare.pixels}__pixels", (key.year,), (key.shard,)),
    ]


def reading_margin_m(product: Product, operators: Sequence[str]) -> float:
    """Give how far around a box patches are read: the product's halo, or more where an operator looks farther."""
    sides = max((find_upsampler(name).margin for name in operators), default=0.0)
    return max(product.halo_m, sides * (product.patch_m or 0.0))


def shards_near(warehouse: Warehouse, bbox: Bbox) -> list[str]:
    """List the shards whose box a box touches."""
    return [shard.key for shard in warehouse.shards() if boxes_touch(shard.bbox, bbox)]


def labels_and_places(warehouse: Warehouse, _name: str, key: PartitionKey) -> Iterable[Selection]:
    """All patch places, and the patch labels of the sources of an embedding year."""
    labels = [Selection(f"core_label_{name}__patches", (year,)) for name, year in list_labels_of(warehouse, key)]
    return [Selection("core_grid__patches"), *labels]


def units_and_vectors(warehouse: Warehouse, _name: str, key: PartitionKey) -> Iterable[Selection]:
    """The labels that the evaluation is about, and the native vectors of its year."""
    assert warehouse.settings.evaluate is not None  # the table exists only with it
    name = warehouse.settings.evaluate.label
    years = (warehouse.label(name).years.get(key.require_year()),)
    labels = [Selection(f"core_label_{name}__{grain}", years) for grain in ("pixels", "patches")]
    return [*labels, *_native(warehouse, (key.year,))]


def folds_and_vectors(warehouse: Warehouse, name: str, key: PartitionKey) -> Iterable[Selection]:
    """The folds, and what they were planned on."""
    found = [Selection(f"out_probe__{table}", (key.year,)) for table in ("folds", "fold_rules")]
    return [*found, *units_and_vectors(warehouse, name, key)]


def features(warehouse: Warehouse, _name: str, key: PartitionKey) -> Iterable[Selection]:
    """The folds, and the labels and vectors that cells are scored on: of all years where changes are asked for."""
    settings = warehouse.settings
    assert settings.evaluate is not None  # the table exists only with it
    groups = settings.study.cells if settings.study is not None else ()
    has_changes = "T7" in {*settings.evaluate.tasks, *(task for group in groups for task in group.tasks)}
    years = None if has_changes else (key.year,)
    names = [name for name in (settings.evaluate.label, settings.evaluate.values) if name is not None]
    found = [Selection("out_probe__folds", (key.year,)), *_native(warehouse, years)]
    for name in names:
        of_year = None if has_changes else (warehouse.label(name).years.get(key.require_year()),)
        found += [Selection(f"core_label_{name}__{grain}", of_year) for grain in ("pixels", "patches")]
    pixels, patches = warehouse.pixel_product, warehouse.patch_product
    if pixels is not None and patches is not None:
        found.append(Selection(f"out_patch__{pixels.name}_pooled", years, only_values=True))
        found += codebooks_of_year(warehouse, pixels.name, key)  # maps of fitted operators have their colours from it
        found.append(Selection(f"out_pixel__{patches.name}_upsampled", years, only_values=True))
    return found


def _native(warehouse: Warehouse, years: tuple[int | None, ...] | None) -> list[Selection]:
    """Give the native vectors of the compared products, and the patch places."""
    tables = [f"core_{one.name}__{'patches' if one.grain == 'patch' else 'pixels'}" for one in list_pair(warehouse)]
    found = [Selection(table, years, only_values=True) for table in tables]
    return [*found, *([Selection("core_grid__patches")] if warehouse.patch_product is not None else [])]


def cells_of_year(_warehouse: Warehouse, _name: str, key: PartitionKey) -> Iterable[Selection]:
    """What the cells of the year are scored on."""
    return [Selection("out_probe__metrics", (key.year,))]


def adapters_of_year(_warehouse: Warehouse, _name: str, key: PartitionKey) -> Iterable[Selection]:
    """What the adapter's cells of the year are trained on."""
    return [Selection("out_probe__adapters", (key.year,))]
