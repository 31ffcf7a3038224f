"""Fingerprints of a warehouse's partitions: as they should be now, and as they would be written.

Belongs here: following recipes (`recipes/`) through the tables. Does not: what a table is made of (`recipes/table.py`),
comparing with what is stored (`partition_states.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.errors import PartitionMissingError, SourceChangedError, SourceMissingError
from warehouse.fingerprints import Fingerprint, fingerprint_in, hash_of
from warehouse.layout import PartitionKey, partition_path
from warehouse.reader import read_footer
from warehouse.recipes.inputs import Selection
from warehouse.recipes.scope import FROM_FILES
from warehouse.recipes.table import RECIPES, Inputs, Recipe
from warehouse.table_spec import FIRST_SCHEMA_VERSION, TableSpec

if TYPE_CHECKING:  # the store writes fingerprints, so it imports this module
    from warehouse.store import Warehouse

#: Gives the fingerprint of an input; None where it is not there.
FindInput = Callable[[str, PartitionKey], Fingerprint | None]


class Lineage:
    """What the partitions of a warehouse follow from, by its settings, indexes and shards as they are now.

    Indexes, shards and lists of stored partitions are looked up once: make a new one after any of them has changed.

    Args:
        warehouse: the warehouse; its indexes and shards are stored.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._keys: dict[str, list[PartitionKey]] = {}
        self._listed: dict[str, list[PartitionKey]] = {}
        self._expected: dict[tuple[str, PartitionKey], Fingerprint] = {}

    @cached_property
    def recipes(self) -> dict[str, tuple[Recipe, str]]:
        """Recipe, and the product or label that it is for, of every table that the settings ask for."""
        return {
            recipe.table.format(name): (recipe, name) for recipe in RECIPES for name in recipe.names(self._warehouse)
        }

    def keys(self, table: str) -> list[PartitionKey]:
        """List the partitions of a table that the settings ask for, in the order in which they are written.

        Raises:
            PartitionMissingError: indexes or shards are not stored yet.
        """
        if table not in self._keys:
            recipe, name = self.recipes[table]
            self._keys[table] = recipe.keys(self._warehouse, name)
        return self._keys[table]

    def is_asked(self, table: str, key: PartitionKey) -> bool:
        """Tell whether the settings ask for a partition."""
        return table in self.recipes and key in self.keys(table)

    def is_wanted(self, table: str, key: PartitionKey) -> bool:
        """Tell whether the settings ask for a partition, or would if its source files were still there."""
        if table not in self.recipes or self.recipes[table][0].keys not in FROM_FILES:
            return self.is_asked(table, key)
        shards = {shard.key for shard in self._warehouse.shards()}
        return key.year in self._warehouse.settings.years and (key.shard is None or key.shard in shards)

    def expected(self, table: str, key: PartitionKey) -> Fingerprint:
        """Give the fingerprint that a partition has if it and all that it is made from are current."""
        if (table, key) not in self._expected:
            self._expected[table, key] = self._make(table, key, self._expect_input)
        return self._expected[table, key]

    def written(self, table: str, key: PartitionKey) -> Fingerprint | None:
        """Give the fingerprint of a partition that is written now, from the inputs as they were read.

        An input that is stale makes the new partition stale as well, though it was written last.

        Returns:
            None where the settings do not ask for it, or indexes and shards are not stored: nobody can say then what it
            follows from.
        """
        try:
            return self._make(table, key, self._find_input) if self.is_asked(table, key) else None
        except PartitionMissingError:
            return None

    def inputs(self, table: str, key: PartitionKey) -> list[Selection]:
        """List the stored partitions that a partition is made from."""
        recipe, name = self.recipes[table]
        parts = (*recipe.inputs, *recipe.choice_inputs)
        return [selection for part in parts for selection in part(self._warehouse, name, key)]

    def _make(self, table: str, key: PartitionKey, find: FindInput) -> Fingerprint:
        recipe, name = self.recipes[table]
        warehouse = self._warehouse

        def describe(parts: Iterable[Inputs]) -> list[list[list[str]]]:
            return [self._describe(selection, find) for part in parts for selection in part(warehouse, name, key)]

        return Fingerprint(
            logic=recipe.logic,
            schema=_hash_spec(warehouse.specs[table]),
            settings=hash_of([part(warehouse, name, key) for part in recipe.settings]),
            choice=hash_of([*(part(warehouse, name, key) for part in recipe.choice), *describe(recipe.choice_inputs)]),
            files=hash_of([part(warehouse, name, key) for part in recipe.files]),
            inputs=hash_of(describe(recipe.inputs)),
            schema_version=warehouse.specs[table].schema_version,
        )

    def _describe(self, selection: Selection, find: FindInput) -> list[list[str]]:
        """Spell the partitions of a selection with their fingerprints."""
        described = []
        for key in self._select(selection):
            found = find(selection.table, key)
            digest = "absent" if found is None else found.values if selection.only_values else found.value
            described.append([selection.table, str(key), digest])
        return described

    def _select(self, selection: Selection) -> list[PartitionKey]:
        """List the partitions of a selection that are asked for, or that are stored and so would be read."""
        table = selection.table
        if table not in self._warehouse.specs:
            return []
        if table not in self._listed:
            self._listed[table] = self._warehouse.partitions(table)
        asked = self.keys(table) if table in self.recipes else []
        return sorted({key for key in (*asked, *self._listed[table]) if selection.holds(key)}, key=str)

    def _expect_input(self, table: str, key: PartitionKey) -> Fingerprint | None:
        return self.expected(table, key) if self.is_asked(table, key) else read_fingerprint(self._warehouse, table, key)

    def _find_input(self, table: str, key: PartitionKey) -> Fingerprint | None:
        if self._warehouse.specs[table].is_cells:  # each cell has its own fingerprint: what all share is made anew
            return self._make(table, key, self._find_input)
        return self._warehouse.fingerprint_read(table, key)


def read_fingerprint(warehouse: Warehouse, table: str, key: PartitionKey) -> Fingerprint | None:
    """Read the fingerprint of a stored partition; None where there is none, or no file that can be read."""
    return fingerprint_in(read_record(warehouse, table, key))


def read_record(warehouse: Warehouse, table: str, key: PartitionKey) -> dict[str, Any]:
    """Read the footer record of a stored partition; empty where there is none, or no file that can be read."""
    try:
        return read_footer(partition_path(warehouse.root, table, key))
    except (OSError, pa.ArrowInvalid, SourceMissingError, SourceChangedError):
        return {}


def _hash_spec(spec: TableSpec) -> str:
    columns = [(field.name, str(field.type)) for field in spec.schema]
    # the number says nothing; without it every partition of older warehouses would be stale
    return hash_of([FIRST_SCHEMA_VERSION, columns, spec.partition_by, spec.sort_by, spec.geometry])
