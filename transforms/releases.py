"""What a producer has published, look by look: the values that decide whether a release is ready.

Belongs here: one look at a source, what is remembered from look to look, and how that is spelled as JSON. Does not:
looking (`warehouse/release_looks.py`), deciding (`transforms/release_decisions.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from transforms.errors import ShapeError

#: Of the JSON form; raise it when the meaning of a field changes.
STATE_FORMAT = 1
_DIGEST_LENGTH = 12
Versions = Mapping[str, str]


@dataclass(frozen=True)
class PublishedFile:
    """One file that a producer lists for the area of interest.

    Attributes:
        ground: what it covers, named alike in every year: the tile, with the corner where a zone has many tiles.
        path: below the source root; the same ground can have another path every year.
        etag: identity of its bytes; None where the source gives none.
        size_bytes: length; None where it is listed but not there.
        shards: shards of the area that it touches.
    """

    ground: str
    path: str
    etag: str | None
    size_bytes: int | None
    shards: tuple[str, ...] = ()

    @property
    def is_there(self) -> bool:
        """Tell whether there is a file behind the listing."""
        return self.size_bytes is not None


@dataclass(frozen=True)
class YearLook:
    """What one look found of one year.

    Attributes:
        year: calendar year of the files.
        files: those that touch the area.
        n_published: rows of the index in the zones of the area, inside the area or not; None without an index.
        belongs_to: registered product that these files are; None = no entry describes them.
        advice: where there is no entry, how to write one.
    """

    year: int
    files: tuple[PublishedFile, ...]
    n_published: int | None = None
    belongs_to: str | None = None
    advice: str = ""


@dataclass(frozen=True)
class Look:
    """One look at the source of a product.

    Attributes:
        product: whose source it is.
        years: what is there, by year.
        index_tag: identity of the release index; empty for products that are listed.
    """

    product: str
    years: tuple[YearLook, ...]
    index_tag: str = ""


@dataclass(frozen=True)
class YearState:
    """What is remembered of one year.

    Attributes:
        year: calendar year.
        seen: versions by ground at the last look.
        asked: versions by ground that a run was asked for; empty = none yet.
        said: kind of the last finding, so that news are told once.
    """

    year: int
    seen: Versions = field(default_factory=dict)
    asked: Versions = field(default_factory=dict)
    said: str = ""


@dataclass(frozen=True)
class ReleaseState:
    """What is remembered of one product between two looks.

    Attributes:
        years: by year, ascending.
        index_tag: of the last look.
        n_asked: how many runs were asked for; part of their keys.
        failures: looks in a row that failed.
        retry_at: seconds since 1970 before which a failing source is left alone.
        problem: why the last look failed.
    """

    years: tuple[YearState, ...] = ()
    index_tag: str = ""
    n_asked: int = 0
    failures: int = 0
    retry_at: float = 0.0
    problem: str = ""

    def of(self, year: int) -> YearState:
        """Give what is remembered of a year; an empty record where it was never seen."""
        return next((one for one in self.years if one.year == year), YearState(year))

    def is_due(self, now: float) -> bool:
        """Tell whether the source may be looked at again."""
        return now >= self.retry_at

    def to_json(self) -> str:
        """Spell it as JSON; the same state always gives the same text."""
        return json.dumps({"format": STATE_FORMAT, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ReleaseState:
        """Read what `to_json` wrote.

        Raises:
            ShapeError: the text is not JSON, or of another form.
        """
        try:
            record: dict[str, Any] = json.loads(text)
            if record.pop("format") != STATE_FORMAT:
                raise ValueError(f"another form than {STATE_FORMAT}")
            years = tuple(YearState(**year) for year in record.pop("years"))
            return cls(years=years, **record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ShapeError(
                "state of the release watch",
                f"{text[:80]!r} ({error})",
                f"what format {STATE_FORMAT} of Isthmus wrote",
                "Reset the cursor of the sensor, or remove releases.json of the warehouse: the next look starts anew.",
            ) from error

    def remember(self, year: YearState) -> ReleaseState:
        """Give the state with another record of one year."""
        others = [one for one in self.years if one.year != year.year]
        return replace(self, years=tuple(sorted([*others, year], key=lambda one: one.year)))


def versions_of(files: Iterable[PublishedFile]) -> dict[str, str]:
    """Give a short digest of what lies on each ground.

    Args:
        files: of one year; those that are not there are left out.

    Returns:
        Ground -> digest of path, length and ETag of its file, or of all its files where there are several.
    """
    by_ground: dict[str, list[list[Any]]] = {}
    for file in files:
        if file.is_there:
            by_ground.setdefault(file.ground, []).append([file.path, file.size_bytes, file.etag])
    return {ground: digest(sorted(parts, key=str)) for ground, parts in sorted(by_ground.items())}


def digest(value: Any) -> str:
    """Give a short hash of something that JSON can spell."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGEST_LENGTH]
