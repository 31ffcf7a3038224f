"""Years and products that were taken without a person: `followed.json` beside the tables of a warehouse.

Belongs here: reading and extending that record, and adding it to the settings. Does not: deciding what is taken
(`transforms/release_decisions.py`). It is read only where `automation.follow` is on.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import StoredRecordError
from warehouse.file_access import read_bytes, read_versioned
from warehouse.file_paths import FilePath, RemotePath
from warehouse.objects import fetch_loop
from warehouse.objects.client import open_client
from warehouse.source_settings import SourceSettings
from warehouse.unfinished import replace_file
from warehouse.write_errors import write_errors

FOLLOWED_FILE = "followed.json"
#: Held while the record is changed; it stays there.
_LOCK_FILE = ".followed.lock"


@dataclass(frozen=True)
class Followed:
    """One product that was extended or added.

    Attributes:
        years: beyond those of the settings file.
        like: product whose source it shares; None where the settings have a source for it.
    """

    years: tuple[int, ...]
    like: str | None = None


def read_followed(root: FilePath) -> dict[str, Followed]:
    """Read what was taken, by product; empty where nothing was.

    Raises:
        StoredRecordError: the file is not what `add_followed` wrote.
    """
    return _decode(root / FOLLOWED_FILE, read_bytes(root / FOLLOWED_FILE))


def _decode(path: FilePath, content: bytes | None) -> dict[str, Followed]:
    if content is None:
        return {}
    try:
        record = json.loads(content)
        return {name: Followed(tuple(map(int, one["years"])), one["like"]) for name, one in record.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoredRecordError(str(path), f"{type(error).__name__}: {error}") from error


def add_followed(root: FilePath, product: str, year: int, like: str | None = None) -> None:
    """Take one more year of a product; safe to repeat. The file is replaced whole.

    Args:
        root: the warehouse.
        product: registered product.
        year: calendar year.
        like: product whose source it shares, for a product that the settings have no source for.

    Raises:
        StoredRecordError: the file that is there is not one of ours.
        DiskFullError: there is no room.
        NotWritableError: this user may not write there.
    """
    path = root / FOLLOWED_FILE
    if isinstance(path, RemotePath):
        _replace_object(path, product, year, like)
    else:
        with _hold_record(path.parent):
            content = _extend(path, read_bytes(path), product, year, like)
            with replace_file(path, FOLLOWED_FILE) as temporary, write_errors(FOLLOWED_FILE, path):
                temporary.write_bytes(content)


def _extend(path: FilePath, content: bytes | None, product: str, year: int, like: str | None) -> bytes:
    """Spell the record with one more year of a product."""
    followed = _decode(path, content)
    known = followed.get(product, Followed(()))
    followed[product] = Followed(tuple(sorted({*known.years, year})), like or known.like)
    record = {name: {"years": list(one.years), "like": one.like} for name, one in sorted(followed.items())}
    return (json.dumps(record, indent=1) + "\n").encode()


def _replace_object(path: RemotePath, product: str, year: int, like: str | None) -> None:
    """Replace the record in a store; from its beginning where somebody else was faster."""
    while True:
        facts, content = read_versioned(path) or (None, None)
        changed = _extend(path, content, product, year, like)
        if changed == content or fetch_loop.wait(open_client(path).swap(path.key, changed, facts)) is not None:
            return


@contextlib.contextmanager
def _hold_record(root: Path) -> Iterator[None]:
    """Keep others from changing the record meanwhile: two products may have news at once. Readers need not wait."""
    with write_errors(FOLLOWED_FILE, root):
        root.mkdir(parents=True, exist_ok=True)
        opened = (root / _LOCK_FILE).open("a")
    with opened as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # dropped with the file
        yield


def extend_sources(
    sources: Mapping[str, SourceSettings], years: tuple[int, ...], followed: Mapping[str, Followed]
) -> dict[str, SourceSettings]:
    """Give the sources with what was followed; each has its own years then, since products differ in theirs.

    Args:
        sources: of the settings file.
        years: of the settings file.
        followed: by product.

    Returns:
        Source by product; of a product without a source, that of the product that it is like.
    """
    extended = {}
    for name, source in sources.items():
        more = followed[name].years if name in followed else ()
        extended[name] = source.model_copy(update={"years": tuple(sorted({*(source.years or years), *more}))})
    for name, one in followed.items():
        if name not in sources and one.like is not None and one.like in sources:
            extended[name] = sources[one.like].model_copy(update={"years": one.years})
    return extended
