from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.fake_rows import CLASSES, demo_specs
from tests.warehouse.fake_tables import PROVENANCE, SPECS, declared_rows, sort_rows
from warehouse.cell_files import CELL_TABLES
from warehouse.errors import SchemaError
from warehouse.fingerprints import hash_of
from warehouse.layout import PartitionKey, cell_path, partition_path
from warehouse.products import Product, load_registry
from warehouse.reader import read_cells, read_partition
from warehouse.schemas import build_specs
from warehouse.sections import PoolSettings
from warehouse.table_spec import TableSpec, vector_type
from warehouse.writer import stored_schema, write_table

IDENTITY = dict.fromkeys(("name", "title", "producer", "model", "grid_version", "licence", "attribution"), "x")
CLAY = Product(
    **{**IDENTITY, "name": "clay", "grain": "patch", "layout": "patch_geoparquet", "dims": 12, "patch_m": 160.0}
)
PRESTO = Product(
    **{**IDENTITY, "name": "presto", "grain": "pixel", "layout": "pixel_table", "dims": 5, "pixel_m": 10.0}
)
OTHER = build_specs({"clay": CLAY, "presto": PRESTO}, labels={"a": 2, "b_c": 5}, pixels="presto", patches="clay")

ALL = build_specs({}, labels={}, pixels=None, patches=None, has_adapter=True)


@pytest.fixture(params=[*SPECS.values(), *OTHER.values()], ids=lambda spec: spec.name)
def spec(request: pytest.FixtureRequest) -> TableSpec:
    return request.param


def key_of(spec: TableSpec) -> PartitionKey:
    return PartitionKey(
        2024 if "year" in spec.partition_by else None, "47PQQ" if "shard" in spec.partition_by else None
    )


@pytest.mark.parametrize("n_rows", [0, 1, 60])
def test_every_table_is_read_back_as_it_was_written(spec: TableSpec, n_rows: int, tmp_path: Path) -> None:
    rows = declared_rows(spec, n_rows, np.random.default_rng(n_rows))
    if spec.is_cells:
        path = cell_path(tmp_path, spec.name, 2024, "ab")
    else:
        path = partition_path(tmp_path, spec.name, key_of(spec))
    written = write_table(path, spec, rows, PROVENANCE)
    assert (written.path, written.rows, written.bytes) == (path, n_rows, path.stat().st_size)
    found = read_cells(tmp_path, spec, 2024) if spec.is_cells else read_partition(tmp_path, spec, key_of(spec))
    assert found.schema.equals(spec.schema)
    expected = sort_rows(spec, rows)
    keys = list(spec.sort_by)
    assert found.select(keys).equals(expected.select(keys))
    # keys of evidence tables repeat here, so rows are compared as a set
    assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, expected.to_pylist()))


def test_tables_of_a_cell_are_raised_together() -> None:
    sealed = {spec.name: spec.sealed_by for spec in ALL.values() if spec.sealed_by is not None}
    assert set(sealed.values()) == {"out_probe__metrics", "out_probe__adapter_confusions"}
    assert {name: ALL[name].schema_version for name in sealed} == {
        name: ALL[seal].schema_version for name, seal in sealed.items()
    }


@pytest.mark.parametrize(
    ("tables", "pinned"),
    [(CELL_TABLES, "e9a49f52bb634f3b"), (("out_probe__adapters", "out_probe__adapter_confusions"), "faa850154334b170")],
)
def test_other_columns_of_cells_raise_their_version(tables: tuple[str, ...], pinned: str) -> None:
    """Cells are known by what they were scored on, so nothing else would notice that their columns were changed."""
    columns = [(name, [(column.name, str(column.type)) for column in ALL[name].schema]) for name in tables]
    found = hash_of([columns, [ALL[name].schema_version for name in tables]])
    assert found == pinned, "raise the schema_version of all these tables, then pin the new hash here"


def test_declarations_agree_with_themselves(spec: TableSpec) -> None:
    names = spec.schema.names
    assert len(set(names)) == len(names)
    assert set(spec.sort_by) <= set(names)
    assert (spec.geometry is not None) == ("geometry" in names)
    assert "year" not in (names if "year" in spec.partition_by else [])
    assert "shard" not in (names if "shard" in spec.partition_by else [])
    assert spec.description.endswith(".")
    assert names[-1] == ("geometry" if spec.geometry else "is_simulated")


def test_every_table_says_whether_it_is_simulated(spec: TableSpec) -> None:
    assert spec.schema.field("is_simulated").type == pa.bool_()


def test_places_are_spelled_alike_everywhere() -> None:
    kinds: dict[str, set] = {}
    for spec in [*SPECS.values(), *OTHER.values()]:
        for column in spec.schema:
            kinds.setdefault(column.name, set()).add(column.type)
    for name in ("lon", "lat", "patch_id", "pixel_id", "h3_r5", "h3_r7", "h3_r9", "h3_r12", "epsg", "geometry", "x_m"):
        assert len(kinds[name]) == 1, name
    assert kinds["patch_id"] == kinds["pixel_id"] == kinds["h3_r9"] == {pa.uint64()}


def test_the_tables_of_a_warehouse() -> None:
    assert set(SPECS) == {
        "core_grid__shards", "core_grid__patches", "raw_aef__index", "raw_eg__index", "core_aef__pixels",
        "core_eg__patches", "core_label_cover__pixels", "core_label_cover__patches", "out_patch__aef_pooled",
        "out_patch__eg_basis", "out_pixel__eg_upsampled", "out_probe__folds", "out_probe__metrics",
        "out_probe__confusions", "out_probe__sums", "out_probe__predictions", "out_probe__contrasts",
        "out_probe__oracles", "out_probe__oracle_confusions", "out_probe__fold_rules", "out_probe__fold_audit",
    }  # fmt: skip
    assert {name for name, spec in SPECS.items() if spec.is_cells} == {
        "out_probe__metrics", "out_probe__confusions", "out_probe__sums", "out_probe__predictions",
    }  # fmt: skip
    assert set(OTHER) >= {
        "core_clay__patches",
        "core_presto__pixels",
        "out_patch__presto_pooled",
        "core_label_b_c__pixels",
    }


def test_absent_sides_have_no_derived_tables() -> None:
    assert "out_patch__aef_pooled" not in demo_specs(pixels=None)
    assert "out_pixel__eg_upsampled" not in demo_specs(patches=None)
    assert "core_aef__pixels" not in demo_specs(pixels=None)


def test_vectors_have_the_width_and_type_of_their_product() -> None:
    assert SPECS["core_aef__pixels"].schema.field("embedding_q").type == pa.list_(pa.int8(), 64)
    assert "embedding" not in SPECS["core_aef__pixels"].schema.names
    assert SPECS["core_eg__patches"].schema.field("embedding").type == pa.list_(pa.float32(), 384)
    assert SPECS["out_patch__aef_pooled"].schema.field("mean").type == pa.list_(pa.float32(), 64)
    assert SPECS["out_pixel__eg_upsampled"].schema.field("embedding").type == pa.list_(pa.float32(), 384)
    assert OTHER["core_presto__pixels"].schema.field("embedding").type == pa.list_(pa.float32(), 5)
    assert SPECS["core_label_cover__patches"].schema.field("fractions").type == vector_type(len(CLASSES))


def test_operators_of_the_settings_become_columns_of_their_width() -> None:
    products = {"aef": load_registry()["aef"]}
    names = ("gem", "percentiles", "covariance", "pyramid_2x2", "vlad", "bow")
    pool = PoolSettings(operators=names, percentiles=(25.0, 75.0), codebook_size=8)
    specs = build_specs(products, labels={}, pixels="aef", patches=None, pool=pool)
    schema = specs["out_patch__aef_pooled"].schema
    widths = {name: schema.field(name).type.list_size for name in names}
    expected = {"gem": 64, "percentiles": 128, "covariance": 2080, "pyramid_2x2": 320, "vlad": 8 * 64, "bow": 8}
    assert widths == expected
    assert {"mean", "std", "min", "max", "mean_length"} <= set(schema.names)
    assert "stats" not in schema.names
    assert "out_pixel__aef_codebook" in specs
    assert "out_pixel__aef_codebook" not in SPECS


def test_codes_of_windows_are_no_wider_than_the_patches() -> None:
    assert SPECS["out_pixel__eg_upsampled"].schema.field("embedding_q").type == pa.list_(pa.int8(), 64)
    assert OTHER["out_pixel__clay_upsampled"].schema.field("embedding_q").type.list_size == min(64, CLAY.dims)


def test_polygons_get_a_bbox_on_disk(spec: TableSpec) -> None:
    has_bbox = "bbox" in stored_schema(spec).names
    assert has_bbox == (spec.geometry in ("Polygon", "MultiPolygon"))
    assert "bbox" not in spec.schema.names


def test_products_cannot_take_the_name_of_another_table() -> None:
    grid = CLAY.model_copy(update={"name": "grid"})  # its patches would replace the spine
    with pytest.raises(SchemaError, match="core_grid__patches"):
        build_specs({"grid": grid}, labels={}, pixels=None, patches="grid")


def test_registry_products_can_all_be_declared() -> None:
    registry = load_registry()
    specs = build_specs(registry, labels={}, pixels=None, patches=None)
    for name, product in registry.items():
        assert f"raw_{name}__index" in specs
        assert f"core_{name}__{'patches' if product.grain == 'patch' else 'pixels'}" in specs
