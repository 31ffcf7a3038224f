"""Where stored rows come from: the record in every file's footer.

Belongs here: what is recorded and how it is spelled. Does not: reading or writing the tables.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from warehouse.fingerprints import Fingerprint

#: Key of the record in the Parquet footer.
FOOTER_KEY = b"isthmus"


@dataclass(frozen=True)
class SourceFile:
    """One published file that was read.

    Attributes:
        path: as the index gives it.
        etag: identity of its bytes; empty where the source has none.
    """

    path: str
    etag: str


@dataclass(frozen=True)
class Provenance:
    """What a partition derives from.

    Attributes:
        product: registry name of the product, or the label source.
        release: model and grid version, or the title of the label source.
        licence: of the data.
        attribution: texts that must travel with derived data.
        is_simulated: True if any input is simulated.
        sources: published files that were read.
        inputs: tables that were read.
        notes: what a reader of the rows must know: repairs, values that were left out, a score that proves little.
    """

    product: str
    release: str
    licence: str
    attribution: tuple[str, ...]
    is_simulated: bool
    sources: tuple[SourceFile, ...] = ()
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def code_version() -> str:
    """Give the version of this code: the package's, with the git commit where there is one."""
    package = version("isthmus")
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return package
    answer = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{package}+{answer.stdout.strip()}" if answer.returncode == 0 else package


def encode_footer(
    table: str, schema_version: int, provenance: Provenance, fingerprint: Fingerprint | None = None
) -> bytes:
    """Spell the footer record as JSON; `fingerprint` is null where nobody can say what the rows follow from."""
    record = {
        "table": table,
        "schema_version": schema_version,
        "code_version": code_version(),
        "fingerprint": fingerprint.record() if fingerprint is not None else None,
        **asdict(provenance),
    }
    return json.dumps(record, sort_keys=True).encode()


def decode_footer(metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    """Read the footer record; empty where the file has none."""
    return dict(json.loads((metadata or {}).get(FOOTER_KEY, b"{}")))


def merge_attributions(texts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Join attribution texts without repeats, in order of first appearance."""
    return tuple(dict.fromkeys(text for group in texts for text in group if text))
