"""What every table is made of: the one place that says what must be redone when something changes.

Belongs here: one recipe a table. Does not: the parts themselves (`scope.py`, `settings.py`, `files.py`, `inputs.py`).

Read a recipe as: there is such a table for each of `names`, with partitions `keys`; its rows follow from `settings`,
the source `files` and the stored `inputs`. `choice` says which columns or methods are stored, and changes none of the
others; `choice_inputs` are read for some of the columns alone.

Raise `logic` when the same settings, files and inputs give other rows than before: a bug was fixed, a default inside
the code was changed. What follows from the table is redone by itself. A commit that changes no rows needs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.layout import PartitionKey
from warehouse.recipes import files, inputs, scope, settings

if TYPE_CHECKING:  # the store writes fingerprints, so it imports this module
    from warehouse.store import Warehouse

Part = Callable[["Warehouse", str, PartitionKey], Any]
Inputs = Callable[["Warehouse", str, PartitionKey], Iterable[inputs.Selection]]


@dataclass(frozen=True)
class Recipe:
    """What one table, or one per product or label source, is made of.

    Attributes:
        table: its name; `{}` stands for the product or label source.
        logic: version of what the code does.
        names: for which products or label sources the settings ask for it.
        keys: which partitions they ask for.
        settings: what of the settings decides values.
        choice: what of the settings decides which columns or methods are stored.
        choice_inputs: stored partitions that change some of the columns and leave the others alone.
        files: source files that are read.
        inputs: stored partitions that are read.
    """

    table: str
    logic: int
    names: Callable[[Warehouse], Sequence[str]]
    keys: Callable[[Warehouse, str], list[PartitionKey]]
    settings: tuple[Part, ...] = ()
    choice: tuple[Part, ...] = ()
    choice_inputs: tuple[Inputs, ...] = ()
    files: tuple[Part, ...] = ()
    inputs: tuple[Inputs, ...] = ()


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "raw_{}__index", logic=1, names=scope.every_product, keys=scope.once,
        settings=(settings.listing, settings.product),
    ),
    Recipe(
        "core_grid__shards", logic=1, names=scope.always, keys=scope.once,
        settings=(settings.area_of_interest,), files=(files.of_pair,),
    ),
    Recipe(
        "core_grid__patches", logic=1, names=scope.spine_product, keys=scope.each_shard,
        settings=(settings.ground, settings.product), files=(files.of_places,),
    ),
    Recipe(
        "core_{}__patches", logic=1, names=scope.patch_products, keys=scope.with_files,
        settings=(settings.ground, settings.product), files=(files.of_patches,), inputs=(inputs.places,),
    ),
    Recipe(
        "core_{}__pixels", logic=1, names=scope.pixel_products, keys=scope.with_files,
        settings=(settings.ground, settings.product, settings.keep), files=(files.of_pixels,),
    ),
    Recipe(
        "core_label_{}__pixels", logic=1, names=scope.labels_of_pixels, keys=scope.label_years,
        settings=(settings.label,), files=(files.of_label,), inputs=(inputs.labelled_pixels,),
    ),
    Recipe(
        "core_label_{}__patches", logic=1, names=scope.labels_of_patches, keys=scope.label_years,
        settings=(settings.label,), files=(files.of_label,), inputs=(inputs.labelled_patches,),
    ),
    *(
        Recipe(
            table, logic=1, names=scope.with_patch_labels, keys=scope.years_with_labels,
            settings=(settings.oracles,), files=(files.of_labels, files.are_pair_simulated),
            inputs=(inputs.labels_and_places,),
        )
        for table in ("out_probe__oracles", "out_probe__oracle_confusions")
    ),
    Recipe(
        "out_patch__{}_basis", logic=1, names=scope.upsampled_product, keys=scope.years_with_files,
        settings=(settings.product, settings.basis_width), inputs=(inputs.patches_of_year,),
    ),
    Recipe(
        "out_pixel__{}_codebook", logic=1, names=scope.product_with_codebook, keys=scope.years_with_files,
        settings=(settings.product, settings.codebook_size), choice=(settings.fitted_operators,),
        files=(files.are_simulated,), inputs=(inputs.pixels_of_year,),
    ),
    Recipe(
        "out_patch__{}_pooled", logic=1, names=scope.pooled_product, keys=scope.with_files,
        settings=(settings.product, settings.pooling), choice=(settings.pooled_operators,),
        choice_inputs=(inputs.codebooks_of_year,), files=(files.around,), inputs=(inputs.pooled_from,),
    ),
    Recipe(
        "out_pixel__{}_upsampled", logic=1, names=scope.upsampled_product, keys=scope.with_files_of_both,
        settings=(settings.product,), choice=(settings.upsampled_operators,), inputs=(inputs.upsampled_from,),
    ),
    *(
        Recipe(
            table, logic=1, names=scope.with_evaluation, keys=scope.evaluated_years,
            settings=(settings.folds,), files=(files.are_pair_simulated,), inputs=(inputs.units_and_vectors,),
        )
        for table in ("out_probe__folds", "out_probe__fold_rules")
    ),
    Recipe(
        "out_probe__fold_audit", logic=1, names=scope.with_evaluation, keys=scope.evaluated_years,
        settings=(settings.folds,), inputs=(inputs.folds_and_vectors,),
    ),
    *(
        Recipe(
            table, logic=2, names=scope.with_evaluation, keys=scope.evaluated_years,
            settings=(settings.cells,), files=(files.are_pair_simulated,), inputs=(inputs.features,),
        )
        for table in ("out_probe__metrics", "out_probe__confusions", "out_probe__sums", "out_probe__predictions")
    ),
    Recipe(
        "out_probe__contrasts", logic=1, names=scope.with_evaluation, keys=scope.evaluated_years,
        settings=(settings.verdicts,), files=(files.scored_cells,), inputs=(inputs.cells_of_year,),
    ),
    *(
        Recipe(
            table, logic=1, names=scope.with_adapter, keys=scope.evaluated_years,
            settings=(settings.adapter,), files=(files.of_pair,), inputs=(inputs.features,),
        )
        for table in ("out_probe__adapters", "out_probe__adapter_confusions")
    ),
    Recipe(
        "out_probe__adapter_gains", logic=1, names=scope.with_adapter, keys=scope.evaluated_years,
        settings=(settings.adapter,), files=(files.adapter_cells,), inputs=(inputs.adapters_of_year,),
    ),
)  # fmt: skip


def logic_of(table: str) -> int:
    """Give the version of a table's logic, for cells that keep fingerprints of their own.

    Args:
        table: as `RECIPES` names it.
    """
    return next(recipe.logic for recipe in RECIPES if recipe.table == table)
