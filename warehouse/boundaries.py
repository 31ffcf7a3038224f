"""Borders of countries: the file that the set-up brings, and how a country is found in it by name or code.

Belongs here: taking the file in, reading it, names and ISO codes. Does not: what is done with a border
(`area_of_interest.py`).

The borders are Natural Earth's (public domain), 1:10 million, in the npm package `world-atlas`. Any other file of
countries does as well, if GDAL reads it and it has a column `name` (or Natural Earth's `NAME`, `ISO_A2`, ...).
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import re
import sys
import tarfile
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import geopandas
import numpy as np
import shapely

from warehouse.errors import SourceFormatError, SourceMissingError, UnknownCountryError
from warehouse.sources.vector_files import read_vector_file
from warehouse.unfinished import replace_file

#: The package, the one file of it that is used, and what the package's bytes must be.
PACKAGE = "world-atlas@2.0.2"
PACKAGE_SHA256 = "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97"
MEMBER = "package/countries-10m.json"
#: Layer of countries in a file of several.
_LAYER = "countries"
#: Columns that a file of countries may name them by; the first that is there also names them in messages.
_NAME_COLUMNS = (
    "name",
    "NAME",
    "NAME_LONG",
    "ADMIN",
    "NAME_EN",
    "ISO_A2",
    "ISO_A2_EH",
    "ISO_A3",
    "ISO_A3_EH",
    "ADM0_A3",
)
#: Columns with the ISO 3166 number, which leads to the other codes and the ISO name.
_NUMBER_COLUMNS = ("id", "ISO_N3")
#: How many near names are told, how like they must be, and how long a word is that counts by itself.
_N_CLOSE, _LIKENESS, _WORD = 4, 0.6, 4


@dataclass(frozen=True)
class Countries:
    """A file of countries.

    Attributes:
        titles: name of each, as the file has it.
        shapes: its ground, in degrees.
        rows: which row a normalised name or code means.
    """

    titles: tuple[str, ...]
    shapes: tuple[shapely.Geometry, ...]
    rows: Mapping[str, int]


def installed_path() -> Path:
    """Where the set-up puts the borders: in the environment that runs this."""
    return Path(sys.prefix) / "share" / "isthmus" / "countries-10m.json"


def find_boundaries() -> Path:
    """Give the file of borders that the set-up brought.

    Raises:
        SourceMissingError: it did not, because npm was missing.
    """
    path = installed_path()
    if not path.is_file():
        raise SourceMissingError(
            "borders of countries", f"no file {path}", "Natural Earth, which `make setup` brings where npm is",
            f"Install npm and run `make boundaries`; or fetch the npm package {PACKAGE} elsewhere and run "
            "`isthmus boundaries FILE.tgz`; or name a file of your own: area.boundaries for a file of countries, "
            "area.geometry for one of polygons.",
        )  # fmt: skip
    return path


def install_boundaries(package: Path) -> Path:
    """Take the borders out of the npm package, after a check that it is the known one.

    Args:
        package: the `.tgz` of the package, from wherever it came.

    Returns:
        The file that was written.

    Raises:
        SourceMissingError: there is no such file.
        SourceFormatError: its bytes are not those of the known package.
    """
    if not package.is_file():
        raise SourceMissingError(str(package), "no such file", f"the npm package {PACKAGE}", "Correct the path.")
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    if found != PACKAGE_SHA256:
        raise SourceFormatError(
            str(package), "SHA-256", found, f"{PACKAGE_SHA256} ({PACKAGE})", "Is it another version, or cut off?"
        )
    target = installed_path()
    with tarfile.open(package) as archive, replace_file(target, "borders of countries") as temporary:
        member = archive.extractfile(MEMBER)
        assert member is not None  # the bytes are those of the known package
        temporary.write_bytes(member.read())
    return target


def read_country(file: Path, country: str) -> shapely.Geometry:
    """Give the ground of a country.

    Args:
        file: of countries.
        country: name or ISO 3166 code (two letters, three letters or the number); case and accents do not matter.

    Returns:
        Polygon or multipolygon in degrees, as the file has it: it may go over the antimeridian.

    Raises:
        UnknownCountryError: no country has this name or code; the message names the nearest.
        SourceMissingError, SourceFormatError: the file cannot be used.
    """
    countries = _read_countries(file, file.stat().st_mtime_ns if file.is_file() else 0)
    row = countries.rows.get(_normalise(country))
    if row is None:
        raise UnknownCountryError(country, nearest_names(country, countries), len(countries.titles), str(file))
    shape = countries.shapes[row]
    if shape is None or shape.is_empty:
        raise SourceFormatError(
            str(file), f"country '{country}'", "no ground: it is too small for the scale of these borders", "a polygon",
            "Set area.geometry to a file with its outline, or area.bbox.",
        )  # fmt: skip
    return shape


def nearest_names(country: str, countries: Countries) -> list[str]:
    """List the countries whose names or codes are most like a word, best first."""
    wanted = _normalise(country)
    close = difflib.get_close_matches(wanted, countries.rows, n=2 * _N_CLOSE, cutoff=_LIKENESS)
    words = {word for word in wanted.split() if len(word) >= _WORD}
    close += [name for name in countries.rows if (len(wanted) >= _WORD and wanted in name) or words & set(name.split())]
    titles = [countries.titles[countries.rows[name]] for name in close]
    return list(dict.fromkeys(titles))[:_N_CLOSE]


@lru_cache(maxsize=2)
def _read_countries(file: Path, _mtime_ns: int) -> Countries:
    frame = read_vector_file(file, layer=_LAYER, default_epsg=4326)  # TopoJSON has no word for a CRS
    named = [column for column in _NAME_COLUMNS if column in frame.columns]
    if not named:
        raise SourceFormatError(
            str(file), "columns", list(frame.columns), f"one of {list(_NAME_COLUMNS)}",
            "Rename the column with the names of countries to 'name'.",
        )  # fmt: skip
    rows: dict[str, int] = {}
    for column in named:  # a name of one country wins over a code or a longer name of another
        _add_names(rows, frame[column])
    _add_iso(rows, frame)
    rows.pop("", None)
    titles = tuple(str(title) for title in frame[named[0]])
    return Countries(titles, tuple(frame.geometry.to_crs(4326)), rows)


def _add_names(rows: dict[str, int], names: Iterable[object]) -> None:
    for row, name in enumerate(names):
        key = _normalise(str(name)) if name is not None else ""
        if key and not key.startswith("99"):  # Natural Earth's -99 is no code
            rows.setdefault(key, row)


def _add_iso(rows: dict[str, int], frame: geopandas.GeoDataFrame) -> None:
    """Add codes and ISO names of the countries whose ISO number the file has."""
    column = next((name for name in _NUMBER_COLUMNS if name in frame.columns), None)
    if column is None:
        return
    # territories may carry the number of their state, so the largest of a number is the country; no ground is no area
    areas = np.nan_to_num(shapely.area(np.asarray(frame.geometry.array)))
    order = np.argsort(areas, kind="stable")
    numbers = frame[column].to_numpy()
    by_number = {str(numbers[row]).zfill(3): int(row) for row in order if numbers[row] is not None}
    for entry in _read_iso():
        row = by_number.get(entry["number"])
        if row is not None:
            for key in (*entry.values(), *entry["also"].split(";")):
                rows.setdefault(_normalise(key), row)


@lru_cache(maxsize=1)
def _read_iso() -> tuple[dict[str, str], ...]:
    with (Path(__file__).parent / "iso_countries.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def _normalise(name: str) -> str:
    """Write a name without case, accents, points and articles."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
    words = re.sub(r"[^\w]+", " ", plain).split()
    return " ".join(word for word in words if word not in ("the", "of", "and"))
