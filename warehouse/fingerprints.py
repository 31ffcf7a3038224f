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

#: Key of the record within the footer record.
_FOOTER_FIELD = "fingerprint"
#: What each part is called where a user is told why a partition is stale.
_WORDS = {
    "logic": "its logic was changed",
    "schema": "its columns were changed",
    "settings": "settings were changed",
    "choice": "other columns or rows are asked for",
    "files": "source files were changed",
    "inputs": "what it is made from was changed",
}


def hash_of(content: Any) -> str:
    """Hash something that JSON can spell, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Fingerprint:
    """What decided the rows of a partition.

    Attributes:
        logic: version of the table's logic; raised by hand when the same inputs give other rows.
        schema: hash of the declared columns.
        settings: hash of the settings that matter.
        choice: hash of the settings that say which columns or rows are stored, but not their values.
        files: hash of the source files that are read.
        inputs: hash of the fingerprints of the partitions that are read.
    """

    logic: int
    schema: str
    settings: str
    choice: str
    files: str
    inputs: str

    @property
    def value(self) -> str:
        """Hash of all: equal where the rows would be."""
        return hash_of(asdict(self))

    @property
    def values(self) -> str:
        """Hash of what decides values: equal where columns that both partitions have hold the same."""
        return hash_of([self.logic, self.settings, self.files, self.inputs])

    def record(self) -> dict[str, Any]:
        """Spell it for a footer; readers of the footer need no Isthmus to compare the `value`."""
        return {**asdict(self), "value": self.value}


def fingerprint_in(footer: Mapping[str, Any]) -> Fingerprint | None:
    """Read the fingerprint of a footer record; None where it has none, or one of another make."""
    record = footer.get(_FOOTER_FIELD)
    names = set(Fingerprint.__dataclass_fields__)
    if not isinstance(record, dict) or set(record) != {*names, "value"}:
        return None
    return Fingerprint(**{name: record[name] for name in names})


def describe_changes(stored: Fingerprint | None, expected: Fingerprint) -> tuple[str, ...]:
    """Say in words why a stored partition is stale; nothing where it is current."""
    if stored is None:
        return ("it was written without a fingerprint",)
    return tuple(text for name, text in _WORDS.items() if getattr(stored, name) != getattr(expected, name))
