"""Settings that tables depend on, one small function each.

Belongs here: what of the settings file decides the rows of a table, for the product or label in its name and a key.
Does not: source files (`files.py`), stored partitions (`inputs.py`), which table depends on what (`table.py`).

A part holds what matters and nothing else: what it leaves out can change without anything being redone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import shapely

from transforms.area import Area, Bbox, boxes_touch, grow, split_bbox
from transforms.keeping import OwnerRule
from transforms.shards import Shard
from transforms.upsampled_rows import stored_methods
from transforms.upsampling.operators import UPSAMPLERS
from warehouse.derived_schemas import fitted_columns, pooled_columns
from warehouse.layout import PartitionKey
from warehouse.recipes.scope import list_labels_of, list_pair

if TYPE_CHECKING:  # the store writes fingerprints, so it imports this module
    from warehouse.store import Warehouse

#: Of a product: what reports say about it, and what no stored vector depends on.
_NOT_IN_ROWS = {"title", "producer", "years", "context_m", "bytes_per_value", "trained_on"}
#: The area of interest cuts a shard if its border comes so near; the shard's own box is rounded by less.
_CUT_M = 1_000.0
#: Of the box in which the border of the area is looked at.
_STEP_DEG = 0.01
#: Of that border: a tenth of a millimetre.
_ROUNDING_DEG = 1e-9


def listing(warehouse: Warehouse, name: str, _key: PartitionKey) -> Any:
    """Give what an index is asked: which files, years and area. Where the root lies does not matter."""
    source = warehouse.source(name)
    return [source.files, source.year, sorted(warehouse.settings.years), area_of_interest(warehouse, name, _key)]


def area_of_interest(warehouse: Warehouse, _name: str, _key: PartitionKey) -> Any:
    """Give the area of interest and how it is cut: its ground, whatever file or name it comes from."""
    settings, area = warehouse.settings.area, warehouse.area
    ground = None if area is None else shapely.to_wkb(shapely.normalize(area.geometry)).hex()
    return [settings.shard_rule, list(settings.regions.items()), ground]


def ground(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """Give what decides which places a shard owns: not the shards far away, so that an area can grow."""
    owner = warehouse.owner_rule(str(key.shard))
    shard = owner.shard
    limit = None if warehouse.area is None else _limit(warehouse.area, shard)
    if shard.rule == "mgrs":
        return [shard.key, shard.rule, shard.epsg, limit]
    return [shard.key, shard.rule, shard.epsg, limit, shard.bbox, _earlier_boxes(owner)]


def _limit(area: Area, shard: Shard) -> Any:
    """Give where the area of interest ends in and around a shard; `whole` where it does not end there."""
    if area.tiles:
        return sorted(area.tiles) if shard.rule != "mgrs" else shard.key in area.tiles
    boxes = [shapely.box(*part) for part in split_bbox(_snap(grow(shard.bbox, _CUT_M)))]
    if all(area.geometry.covers(box) for box in boxes):
        return "whole"
    inside = [shapely.intersection(area.geometry, box) for box in boxes]
    return [shapely.to_wkb(shapely.normalize(shapely.set_precision(part, _ROUNDING_DEG))).hex() for part in inside]


def _snap(bbox: Bbox) -> Bbox:
    """Widen a box to whole steps: that of a shard changes by rounding with the rest of the area."""
    west, south, east, north = (side / _STEP_DEG for side in bbox)
    return (
        math.floor(west) * _STEP_DEG, math.floor(south) * _STEP_DEG,
        math.ceil(east) * _STEP_DEG, math.ceil(north) * _STEP_DEG,
    )  # fmt: skip


def _earlier_boxes(owner: OwnerRule) -> list[Bbox]:
    """Give the boxes that take ground from a shard: those of earlier shards that overlap it."""
    names = [shard.key for shard in owner.shards]
    earlier = owner.shards[: names.index(owner.key)]
    return [shard.bbox for shard in earlier if boxes_touch(shard.bbox, owner.shard.bbox)]


def product(warehouse: Warehouse, name: str, _key: PartitionKey) -> Any:
    """Give what the registry says of the product, as far as rows or their footer depend on it."""
    return warehouse.products[name].model_dump(mode="json", exclude=_NOT_IN_ROWS)


def keep(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """Give which pixels stay in a shard: of the windows, those that reach into it."""
    settings = warehouse.settings.keep
    bbox = grow(warehouse.owner_rule(str(key.shard)).shard.bbox, _CUT_M)
    windows = [(window.name, window.bbox) for window in settings.windows if boxes_touch(window.bbox, bbox)]
    return [settings.all, 1.0 if settings.all else settings.sample, windows]


def label(warehouse: Warehouse, name: str, key: PartitionKey) -> Any:
    """Give a label source, the embedding years that a label year serves, and which products have seen it."""
    settings = warehouse.label(name)
    return {
        "label": settings.model_dump(mode="json", exclude={"path", "lists", "years", "title"}),
        "years": warehouse.embedding_years(name, key.year),
        "seen_by": [one.name for one in list_pair(warehouse) if (settings.dataset or name) in one.trained_on],
        "table": product(warehouse, settings.product, key) if settings.product is not None else None,
    }


def basis_width(warehouse: Warehouse, name: str, _key: PartitionKey) -> Any:
    """Give the dimensions of the basis."""
    return min(warehouse.settings.upsample.basis_dims, warehouse.products[name].dims)


def codebook_size(warehouse: Warehouse, _name: str, _key: PartitionKey) -> Any:
    """Give the number of centres of a codebook."""
    return warehouse.settings.pool.codebook_size


def fitted_operators(warehouse: Warehouse, _name: str, _key: PartitionKey) -> Any:
    """Give the operators that have a codebook, each its own."""
    return fitted_columns(warehouse.settings.pool)


def pooling(warehouse: Warehouse, _name: str, _key: PartitionKey) -> Any:
    """Give the parameters of pooling, and the side of the footprints."""
    patches = warehouse.patch_product
    parameters = warehouse.settings.pool.model_dump(exclude={"operators"})
    return [parameters, patches.halo_m if patches is not None else None]


def pooled_operators(warehouse: Warehouse, _name: str, _key: PartitionKey) -> Any:
    """Give the columns that are stored."""
    return pooled_columns(warehouse.settings.pool)


def upsampled_operators(warehouse: Warehouse, _name: str, _key: PartitionKey) -> Any:
    """Give the methods that are stored."""
    return stored_methods(warehouse.settings.upsample.operators)


def folds(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """Give what folds are planned by: sizes, schemes, the label, and how far products and operators look."""
    settings = warehouse.settings
    assert settings.evaluate is not None  # the table exists only with it
    evaluate = settings.evaluate
    names = {"label", "block_edge_m", "buffer_m", "n_folds", "seed"}
    groups = settings.study.cells if settings.study is not None else ()
    return {
        "evaluate": evaluate.model_dump(include=names),
        "schemes": list(dict.fromkeys([*evaluate.schemes, *(one for group in groups for one in group.schemes)])),
        "may_undercut": bool(evaluate.diagnostic),
        "label": label(
            warehouse, evaluate.label, PartitionKey(warehouse.label(evaluate.label).years.get(key.require_year()))
        ),
        "context_m": [one.context_m for one in list_pair(warehouse)],
        "reach": max((UPSAMPLERS[name].reach for name in ("bilinear", *settings.upsample.operators)), default=0.0),
        "patch_m": [one.patch_m for one in list_pair(warehouse)],
    }


def cells(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """Give what all cells of a year share; which cells are asked for is seen by their files."""
    windows = [window.model_dump() for window in warehouse.settings.keep.windows]
    return {**scoring(warehouse, key.require_year()), "windows": windows}


def scoring(warehouse: Warehouse, year: int) -> dict[str, Any]:
    """Give what decides the scores of every cell of a year: not the titles, other years or other products."""
    settings = warehouse.settings
    assert settings.evaluate is not None  # cells exist only with it
    label = warehouse.label(settings.evaluate.label)
    return {
        "evaluate": settings.evaluate.model_dump(exclude={"tasks", "schemes"}),
        "compare": settings.compare.model_dump(),
        "pool": settings.pool.model_dump(exclude={"operators"}),
        "label": label.model_dump(mode="json", exclude={"path", "lists", "title", "years"}),
        "label_year": label.years.get(year),
        "products": [one.model_dump(mode="json", exclude={"title", "years"}) for one in list_pair(warehouse)],
        "year": year,
    }


def verdicts(warehouse: Warehouse, _name: str, _key: PartitionKey) -> Any:
    """Give what is asked of the cells."""
    settings = warehouse.settings
    assert settings.evaluate is not None  # the table exists only with it
    return [settings.evaluate.model_dump(), settings.study.model_dump() if settings.study is not None else None]


def adapter(warehouse: Warehouse, name: str, key: PartitionKey) -> Any:
    """Give how the adapter is studied."""
    settings = warehouse.settings.adapter
    return [settings.model_dump() if settings is not None else None, cells(warehouse, name, key)]


def oracles(warehouse: Warehouse, _name: str, key: PartitionKey) -> Any:
    """Give the label sources of an embedding year, the edge of blocks, and the windows that are mapped."""
    settings = warehouse.settings
    return {
        "labels": {name: label(warehouse, name, PartitionKey(year)) for name, year in list_labels_of(warehouse, key)},
        "edge_m": settings.evaluate.block_edge_m if settings.evaluate is not None else None,
        "windows": [window.model_dump() for window in settings.keep.windows],
        "patches": [one.patch_m for one in list_pair(warehouse)],
    }
