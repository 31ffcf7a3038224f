from __future__ import annotations

import tomllib

import pytest

from warehouse.products import Product, load_registry
from warehouse.release_products import UNKNOWN, identify_product, propose_entry
from warehouse.sources.traits import FileTraits

SUCCESSOR = {
    "title": "Earth Index embeddings (2025)", "producer": "Earth Genome", "model": "SSL4EO DINO ViT-S/16",
    "grid_version": "major-tom-320m-pre-1.0", "grain": "patch", "layout": "eg_geoparquet", "dims": 384,
    "patch_m": 320.0, "years": [2025], "licence": "CC-BY-4.0", "attribution": "Earth Index embeddings by Earth Genome.",
}  # fmt: skip


@pytest.fixture
def registry() -> dict[str, Product]:
    return load_registry()


def test_the_years_of_an_entry_are_that_product(registry: dict[str, Product]) -> None:
    assert identify_product(registry, registry["eg"], 2024, FileTraits()).product == "eg"
    assert identify_product(registry, registry["aef"], 2019, FileTraits(dims=64, dtype="int8")).product == "aef"


def test_a_later_year_is_the_same_product_only_where_the_entry_says_so(registry: dict[str, Product]) -> None:
    assert identify_product(registry, registry["aef"], 2026, FileTraits(dims=64, dtype="int8")).product == "aef"
    unknown = identify_product(registry, registry["eg"], 2025, FileTraits("x/48PTU.parquet", 384))
    assert unknown.product is None
    assert "its years are [2024]" in unknown.advice
    assert "48PTU.parquet" in unknown.advice


@pytest.mark.parametrize(
    ("name", "year", "traits", "words"),
    [
        ("eg", 2024, FileTraits("f", dims=512), "it has 384 dimensions, the files have 512"),
        ("eg", 2024, FileTraits("f", model="SSL4EO DINO"), "the files say 'SSL4EO DINO'"),
        ("eg", 2024, FileTraits("f", is_on_grid=False), "stand on another one"),
        ("aef", 2026, FileTraits("f", dims=128, dtype="int8"), "it has 64 dimensions, the files have 128"),
        ("aef", 2026, FileTraits("f", dims=64, dtype="float32"), "it is int8, the files are float32"),
    ],
)
def test_files_that_differ_are_no_known_product(
    registry: dict[str, Product], name: str, year: int, traits: FileTraits, words: str
) -> None:
    identity = identify_product(registry, registry[name], year, traits)
    assert identity.product is None
    assert words in identity.advice


def test_a_model_may_be_named_shorter_in_the_files(registry: dict[str, Product]) -> None:
    traits = FileTraits("f", 384, "dinov2_vits14_softcon")
    assert identify_product(registry, registry["eg"], 2024, traits).product == "eg"


def test_a_registered_successor_is_found(registry: dict[str, Product]) -> None:
    registry = load_registry({"eg_2025": SUCCESSOR})
    assert identify_product(registry, registry["eg"], 2025, FileTraits("f", 384)).product == "eg_2025"
    assert identify_product(registry, registry["eg_2025"], 2024, FileTraits("f", 384)).product == "eg"


def test_the_entry_that_is_printed_registers_the_files(registry: dict[str, Product]) -> None:
    traits = FileTraits("f", 512, "New ViT")
    printed = propose_entry(registry["eg"], 2025, traits, registry)
    entries = tomllib.loads(printed)["products"]
    assert list(entries) == ["eg_2025"]
    assert (entries["eg_2025"]["dims"], entries["eg_2025"]["model"]) == (512, "New ViT")
    extended = load_registry(entries)
    assert identify_product(extended, extended["eg"], 2025, traits).product == "eg_2025"


def test_the_entry_leaves_open_what_files_do_not_say(registry: dict[str, Product]) -> None:
    entry = tomllib.loads(propose_entry(registry["eg"], 2025, FileTraits("f", 384, None, True), registry))
    assert entry["products"]["eg_2025"]["model"] == UNKNOWN
    assert entry["products"]["eg_2025"]["grid_version"] == registry["eg"].grid_version


def test_files_of_another_grid_are_registered_by_their_footprints(registry: dict[str, Product]) -> None:
    traits = FileTraits("f", 384, None, False)
    advice = identify_product(registry, registry["eg"], 2025, traits).advice
    printed = tomllib.loads(advice[advice.index("[products.eg_2025]") :])
    assert printed["sources"]["eg_2025"] == {"root": UNKNOWN, "files": "*.parquet", "year": 2025}
    entry = printed["products"]["eg_2025"]
    assert (entry["layout"], entry["grid_version"], entry["id_column"]) == ("patch_geoparquet", UNKNOWN, "id")
    entry |= {"model": "SSL4EO DINO ViT-S/16", "grid_version": "major-tom-320m-1.0"}
    extended = load_registry({"eg_2025": entry})
    assert identify_product(extended, extended["eg"], 2025, traits).product == "eg_2025"
    assert identify_product(extended, extended["eg"], 2025, FileTraits()).product == "eg_2025"  # files as before
    assert identify_product(extended, extended["eg"], 2025, FileTraits("f", 384, None, True)).product is None
    assert identify_product(extended, extended["eg"], 2026, traits).product is None


def test_a_printed_name_is_free(registry: dict[str, Product]) -> None:
    taken = load_registry({"eg_2025": SUCCESSOR})
    assert propose_entry(taken["eg_2025"], 2026, FileTraits(), taken).startswith("[products.eg_2026]")
    assert propose_entry(taken["eg"], 2025, FileTraits(), taken).startswith("[products.eg_2025_new]")
