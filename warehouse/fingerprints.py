"""Fingerprints: what decides the rows of a partition, as a few hashes that its footer keeps.

Belongs here: the record, its spelling in a footer, how two of them differ. Does not: what each table depends on
(`recipes.py`), which partitions are current (`partition_states.py`).

A fingerprint names its inputs by their fingerprints, as a Merkle tree does: what follows from a changed file is stale,
and nothing else is. The git commit is no part of it: a commit to a document must not redo a country.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: Keys of the record, and of the version of the stored form, within the footer record.
_FOOTER_FIELD = "fingerprint"
_FOOTER_VERSION = "schema_version"
#: What each part is called where a user is told why a partition is stale.
_WORDS = {
    "logic": "its logic was changed",
    "schema": "its columns were changed",
    "settings": "settings were changed",
    "choice": "other columns or rows are asked for, or the codebook of some was changed",
    "files": "source files were changed",
    "inputs": "what it is made from was changed",
    "schema_version": "the form that it is stored in was changed",
}


def hash_of(content: Any) -> str:
    """Hash something that JSON can spell, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Fingerprint:
    """What decided the rows of a partition, and the form that they are stored in.

    Attributes:
        logic: version of the table's logic; raised by hand when the same inputs give other rows.
        schema: hash of the declared columns.
        settings: hash of the settings that matter.
        choice: hash of what says which columns or rows are stored, and of what decides the values of some of them
            alone: columns with a codebook carry its version.
        files: hash of the source files that are read.
        inputs: hash of the fingerprints of the partitions that are read.
        schema_version: of the table; the footer has it beside the fingerprint. No part of `value`: a partition of an
            older form is stale, what was made from it is not.
    """

    logic: int
    schema: str
    settings: str
    choice: str
    files: str
    inputs: str
    schema_version: int

    @property
    def value(self) -> str:
        """Hash of what decides the rows: equal where they would be."""
        return hash_of(self._decisive())

    @property
    def values(self) -> str:
        """Hash of what decides values: equal where columns that both have hold the same, codebooks aside."""
        return hash_of([self.logic, self.settings, self.files, self.inputs])

    def record(self) -> dict[str, Any]:
        """Spell it for a footer; readers of the footer need no Isthmus to compare the `value`."""
        return {**self._decisive(), "value": self.value}

    def _decisive(self) -> dict[str, Any]:
        return {name: part for name, part in asdict(self).items() if name != _FOOTER_VERSION}


def fingerprint_in(footer: Mapping[str, Any]) -> Fingerprint | None:
    """Read the fingerprint of a footer record; None where it has none, or one of another make."""
    record, version = footer.get(_FOOTER_FIELD), footer.get(_FOOTER_VERSION)
    names = set(Fingerprint.__dataclass_fields__) - {_FOOTER_VERSION}
    if not isinstance(record, dict) or set(record) != {*names, "value"} or not isinstance(version, int):
        return None
    return Fingerprint(**{name: record[name] for name in names}, schema_version=version)


def describe_changes(stored: Fingerprint | None, expected: Fingerprint) -> tuple[str, ...]:
    """Say in words why a stored partition is stale; nothing where it is current."""
    if stored is None:
        return ("it was written without a fingerprint",)
    return tuple(text for name, text in _WORDS.items() if getattr(stored, name) != getattr(expected, name))
