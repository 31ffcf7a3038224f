"""Borders of countries: found by any name, taken in from the package, refused with the nearest names."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
import shapely

from transforms.shards import area_km2
from warehouse import boundaries
from warehouse.area import cut_squares
from warehouse.area_of_interest import read_area
from warehouse.boundaries import find_boundaries, install_boundaries, installed_path, read_country
from warehouse.errors import SourceFormatError, SourceMissingError, UnknownCountryError
from warehouse.sections import AreaSettings

BOXES = {
    ("116", "Cambodia"): shapely.box(102.3, 10.4, 107.6, 14.7),
    ("384", "Côte d'Ivoire"): shapely.box(-8.6, 4.3, -2.5, 10.7),
    ("180", "Dem. Rep. Congo"): shapely.box(12.2, -13.5, 31.3, 5.4),
    ("178", "Congo"): shapely.box(11.1, -5.0, 18.6, 3.7),
    ("036", "Ashmore and Cartier Is."): shapely.box(123.0, -12.3, 123.1, -12.2),
    ("036", "Australia"): shapely.box(113.2, -43.6, 153.6, -10.7),
    ("410", "South Korea"): shapely.box(125.9, 33.2, 129.6, 38.6),
    (None, "Kosovo"): shapely.box(20.0, 41.9, 21.8, 43.3),
    ("336", "Vatican"): shapely.Polygon(),
    ("116", "Cambodian islet"): None,
    ("384", "Ivorian islet"): shapely.Polygon(),
}


@pytest.fixture
def countries(tmp_path: Path) -> Path:
    """A file as GDAL reads the package's: `id` is the ISO number, `name` the name."""
    features = [
        {
            "type": "Feature",
            "properties": {"id": number, "name": name},
            "geometry": shape if shape is None else shapely.geometry.mapping(shape),
        }
        for (number, name), shape in BOXES.items()
    ]
    path = tmp_path / "countries.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    """Two countries with a common border as TopoJSON: quantised arcs, one used backwards, two layers."""
    arcs = [[[0, 0], [0, 4], [4, 0], [0, -4]], [[4, 0], [-4, 0]], [[4, 0], [4, 0], [0, 4], [-4, 0]]]
    west = {"type": "Polygon", "id": "116", "properties": {"name": "Cambodia"}, "arcs": [[0, 1]]}
    # its west side is the last edge of the west country, which stands in no arc of its own here
    east = {"type": "Polygon", "id": "704", "properties": {"name": "Vietnam"}, "arcs": [[2, 3]]}
    arcs.append([[4, 4], [0, -4]])
    topology = {
        "type": "Topology",
        "transform": {"scale": [0.5, 0.25], "translate": [100.0, 10.0]},
        "objects": {
            "land": {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "arcs": [[0, 1]]}]},
            "countries": {"type": "GeometryCollection", "geometries": [west, east]},
        },
        "arcs": arcs,
    }
    path = tmp_path / "topology.json"
    path.write_text(json.dumps(topology), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("Cambodia", "Cambodia"),
        ("cambodia", "Cambodia"),
        ("KH", "Cambodia"),
        ("khm", "Cambodia"),
        ("116", "Cambodia"),
        ("Cote d'Ivoire", "Côte d'Ivoire"),
        ("Ivory Coast", "Côte d'Ivoire"),
        ("Congo", "Congo"),
        ("Democratic Republic of the Congo", "Dem. Rep. Congo"),
        ("Dem Rep Congo", "Dem. Rep. Congo"),
        ("Korea, Republic of", "South Korea"),
        ("KOR", "South Korea"),
        ("AU", "Australia"),
        ("Kosovo", "Kosovo"),
    ],
)
def test_countries_are_found_by_name_and_code(countries: Path, asked: str, meant: str) -> None:
    expected = next(shape for (_, name), shape in BOXES.items() if name == meant)
    assert read_country(countries, asked).equals(expected)


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("Camboda", "Cambodia"),
        ("Austalia", "Australia"),
        ("Kongo", "Congo"),
        ("Ashmore", "Ashmore"),
        ("Republic of Korea", "South Korea"),
    ],
)
def test_the_nearest_names_are_said(countries: Path, asked: str, nearest: str) -> None:
    with pytest.raises(UnknownCountryError, match=f"country '{asked}': found none.*expected one such as.*{nearest}"):
        read_country(countries, asked)


def test_a_word_like_no_country_says_what_is_expected(countries: Path) -> None:
    with pytest.raises(UnknownCountryError, match=r"among 11 in .*expected a name or an ISO 3166 code.*area\.geometry"):
        read_country(countries, "xyzzy")


def test_a_country_without_ground_at_this_scale_is_refused(countries: Path) -> None:
    with pytest.raises(SourceFormatError, match=r"'Vatican City': found no ground: it is too small.*area\.geometry"):
        read_country(countries, "Vatican City")


def test_topologies_are_read_as_countries(topology: Path) -> None:
    assert read_country(topology, "Cambodia").equals(shapely.box(100.0, 10.0, 102.0, 11.0))
    assert read_country(topology, "VNM").equals(shapely.box(102.0, 10.0, 104.0, 11.0))


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    feature = {"type": "Feature", "properties": {"a": 1}, "geometry": shapely.geometry.mapping(shapely.box(0, 0, 1, 1))}
    path = tmp_path / "nameless.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8")
    with pytest.raises(SourceFormatError, match=r"found \['a', 'geometry'\].*Rename the column"):
        read_country(path, "Cambodia")


def test_countries_of_natural_earth_itself(real_data: Path) -> None:
    file = real_data / "natural_earth" / "ne_110m_admin_0_countries.json"
    for name in ("Cambodia", "KH", "KHM", "Kingdom of Cambodia"):
        assert read_country(file, name).bounds == pytest.approx((102.3, 10.5, 107.6, 14.6), abs=0.1)
    assert read_country(file, "FR").intersects(shapely.Point(2.3, 48.9))  # Natural Earth gives France no ISO code


@pytest.mark.parametrize(
    ("name", "km2", "zones", "crosses"),
    [
        ("Cambodia", 181_000, 1, False),
        ("Singapore", 510, 1, False),
        ("Fiji", 18_700, 2, True),
        ("New Zealand", 268_500, 4, False),
        ("RU", 16_980_000, 29, True),
    ],
)
def test_countries_of_the_set_up(name: str, km2: float, zones: int, crosses: bool) -> None:
    if not installed_path().is_file():
        pytest.skip(f"found no borders of countries at {installed_path()}. Run `make boundaries` (needs npm).")
    area = read_area(AreaSettings(country=name))
    assert area is not None
    assert shapely.is_valid(area.geometry)
    assert area.crosses_antimeridian == crosses
    shards = cut_squares(area)
    assert len({shard.key for shard in shards}) == len(shards)
    assert len({shard.epsg for shard in shards}) >= zones
    # known areas, with lakes; borders are those of a map of 1:10 million
    assert sum(area_km2(shard) for shard in shards) == pytest.approx(km2, rel=0.02)


def make_package(path: Path, text: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(boundaries.MEMBER)
        member.size = len(text.encode())
        archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_a_package_is_taken_in_after_its_bytes_are_checked(
    tmp_path: Path, topology: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boundaries.sys, "prefix", str(tmp_path / "env"))
    package = make_package(tmp_path / "world-atlas.tgz", topology.read_text())
    with pytest.raises(SourceMissingError, match=r"make boundaries.*isthmus boundaries"):
        find_boundaries()
    with pytest.raises(SourceFormatError, match=r"SHA-256: found .* expected 032e7765"):
        install_boundaries(package)
    assert not installed_path().exists()
    monkeypatch.setattr(boundaries, "PACKAGE_SHA256", hashlib.sha256(package.read_bytes()).hexdigest())
    assert install_boundaries(package) == installed_path() == find_boundaries()
    assert read_country(find_boundaries(), "Vietnam").area > 0
    with pytest.raises(SourceMissingError, match="Correct the path"):
        install_boundaries(tmp_path / "gone.tgz")


def test_iso_codes_are_whole_and_unique() -> None:
    rows = boundaries._read_iso()
    assert len(rows) == 249
    for column, length in (("number", 3), ("alpha2", 2), ("alpha3", 3)):
        codes = [row[column] for row in rows]
        assert {len(code) for code in codes} == {length}
        assert len(set(codes)) == len(codes)
    assert next(row for row in rows if row["alpha2"] == "KH") == {
        "number": "116", "alpha2": "KH", "alpha3": "KHM", "name": "Cambodia", "also": "Kingdom of Cambodia",
    }  # fmt: skip
