from __future__ import annotations

import pytest
from pydantic import ValidationError

from warehouse.errors import UnknownProductError
from warehouse.products import PATCH_LAYOUTS, PIXEL_LAYOUTS, Product, find_product, load_registry

IDENTITY = dict.fromkeys(("name", "title", "producer", "model", "grid_version", "licence", "attribution"), "x")
PATCH = {**IDENTITY, "grain": "patch", "layout": "patch_geoparquet", "dims": 768, "patch_m": 160.0}
PIXEL = {**IDENTITY, "grain": "pixel", "layout": "pixel_table", "dims": 128, "pixel_m": 10.0}


def test_alphaearth_is_as_published() -> None:
    aef = load_registry()["aef"]
    assert (aef.grain, aef.layout, aef.dims, aef.pixel_m, aef.nodata) == ("pixel", "aef_cog", 64, 10.0, -128)
    assert (aef.quantisation, aef.is_quantised, aef.pixel_column) == ("signed_square_127.5", True, "embedding_q")
    assert aef.years == tuple(range(2017, 2026))
    assert aef.attribution == (
        "The AlphaEarth Foundations Satellite Embedding dataset is produced by Google and Google DeepMind."
    )


def test_earth_genome_is_as_published() -> None:
    eg = load_registry()["eg"]
    assert (eg.grain, eg.layout, eg.dims, eg.patch_m, eg.years) == ("patch", "eg_geoparquet", 384, 320.0, (2024,))
    assert "softcon" in eg.model.lower()
    assert "pre-1.0" in eg.grid_version
    assert eg.halo_m == 640.0
    assert not eg.is_quantised
    assert eg.pixel_column == "embedding"


def test_bytes_per_square_kilometre() -> None:
    registry = load_registry()
    # evidence.md: 65,536 B of pixels and 1,536 B of one patch vector per 320 m patch
    patches_per_km2 = 1 / 0.32**2
    assert registry["aef"].bytes_per_km2 == pytest.approx(65_536 * patches_per_km2)
    assert registry["eg"].bytes_per_km2 == pytest.approx(2 * 1536 * patches_per_km2)  # two lattices
    assert Product(**PATCH).bytes_per_km2 == pytest.approx(768 * 4 / 0.16**2)
    assert Product(**PIXEL).bytes_per_km2 == pytest.approx(128 * 4 * 1e4)


def test_every_entry_is_complete_and_named_by_its_key() -> None:
    registry = load_registry()
    assert {"aef", "aef_table", "eg"} <= set(registry)
    for name, product in registry.items():
        assert product.name == name
        assert product.layout in (PIXEL_LAYOUTS if product.grain == "pixel" else PATCH_LAYOUTS)
        assert product.attribution
        assert product.licence


def test_entries_of_the_settings_are_added_and_win() -> None:
    entry = {key: value for key, value in PATCH.items() if key != "name"}
    registry = load_registry({"mine": entry, "eg": {**entry, "dims": 7}})
    assert registry["mine"].name == "mine"
    assert registry["eg"].dims == 7
    side = load_registry({"dofa_base": {"patch_m": 1200.0}})["dofa_base"]
    assert side == load_registry()["dofa_base"].model_copy(update={"patch_m": 1200.0})
    assert registry["aef"] == load_registry()["aef"]
    assert load_registry()["eg"].dims == 384


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({**PATCH, "layout": "aef_cog"}, "layout 'aef_cog' does not serve grain 'patch'"),
        ({**PIXEL, "layout": "eg_geoparquet"}, "layout 'eg_geoparquet' does not serve grain 'pixel'"),
        ({**PATCH, "layout": "eg_geoparquet"}, "reads ids of grid_version 'major-tom-320m-pre-1.0' alone, found 'x'"),
        ({**PATCH, "patch_m": None}, "needs patch_m"),
        ({**PIXEL, "pixel_m": None}, "needs pixel_m"),
        ({**PATCH, "dims": 0}, "greater than 0"),
        ({**PATCH, "grain": "tile"}, "'patch' or 'pixel'"),
        ({**PATCH, "layout": "netcdf"}, "'patch_geoparquet'"),
        ({**PATCH, "quantisation": "int8"}, "'signed_square_127.5' or 'none'"),
        ({**PATCH, "colour": 1}, "colour"),
        ({key: value for key, value in PATCH.items() if key != "licence"}, "licence"),
    ],
)
def test_impossible_entries_are_refused(entry: dict, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Product(**entry)


def test_products_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_registry()["eg"].dims = 3


def test_unknown_products_are_named_with_those_that_exist() -> None:
    registry = load_registry()
    assert find_product(registry, "eg") is registry["eg"]
    with pytest.raises(UnknownProductError, match=r"product 'clay': found no entry, expected one of \['aef', .*'eg'\]"):
        find_product(registry, "clay")
