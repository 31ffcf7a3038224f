from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.fake_tables import PROVENANCE, SPECS, declared_rows, sort_rows, with_geometry
from warehouse.errors import SchemaError
from warehouse.layout import ALL, partition_path
from warehouse.reader import read_partition
from warehouse.table_spec import TableSpec
from warehouse.writer import check_schema, open_partition, write_table

SPINE = SPECS["core_grid__patches"]
PIXELS = SPECS["core_aef__pixels"]
PLAIN = SPECS["raw_aef__index"]
PROJECT = Path(__file__).resolve().parents[2]


def rows_of(spec: TableSpec, n: int = 20, seed: int = 0) -> pa.Table:
    return declared_rows(spec, n, np.random.default_rng(seed))


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def geo_record(path: Path) -> dict:
    return json.loads(pq.read_metadata(path).metadata[b"geo"])


# -- schema ------------------------------------------------------------------------------------------------


def test_all_differences_are_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    rows = rows_of(SPINE).drop_columns(["row", "side_m"]).append_column("colour", pa.array(["red"] * 20))
    rows = rows.set_column(0, "patch_id", rows["patch_id"].cast(pa.int64()))
    path = tmp_path / "table" / "part.parquet"
    with pytest.raises(SchemaError) as caught:
        write_table(path, SPINE, rows, PROVENANCE)
    message = str(caught.value)
    assert message.startswith("core_grid__patches: ")
    for problem in (
        "column 'patch_id': found int64, expected uint64",
        "column 'row' is missing, expected int32",
        "column 'side_m' is missing, expected double",
        "found unknown columns ['colour']",
        "Declare the change in warehouse/schemas.py",
    ):
        assert problem in message
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("column", "kind"),
    [("lon", pa.float32()), ("lattice", pa.large_string()), ("is_simulated", pa.int8()), ("h3_r5", pa.int64())],
)
def test_types_that_are_nearly_right_are_refused(column: str, kind: pa.DataType) -> None:
    rows = rows_of(SPINE)
    position = rows.schema.get_field_index(column)
    values = pa.nulls(20, kind)
    with pytest.raises(SchemaError, match=f"column '{column}': found {kind}"):
        check_schema(SPINE, rows.set_column(position, column, values))


def test_vectors_of_another_length_are_refused() -> None:
    rows = rows_of(PIXELS)
    position = rows.schema.get_field_index("embedding_q")
    short = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(20 * 63, np.int8)), 63)
    with pytest.raises(SchemaError, match=r"embedding_q': found fixed_size_list.*\[63\], expected .*\[64\]"):
        check_schema(PIXELS, rows.set_column(position, "embedding_q", short))


def test_doubled_columns_are_refused() -> None:
    rows = rows_of(PLAIN)
    with pytest.raises(SchemaError, match="'tile'"):
        check_schema(PLAIN, rows.append_column("tile", rows["tile"]))


def test_the_order_of_columns_is_the_declared_one(tmp_path: Path) -> None:
    rows = rows_of(PLAIN)
    path = tmp_path / "part.parquet"
    write_table(path, PLAIN, rows.select(rows.column_names[::-1]), PROVENANCE)
    assert pq.read_schema(path).names == PLAIN.schema.names


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (SPINE, shapely.points(np.arange(20.0), 1.0)),
        (PIXELS, shapely.box(np.arange(20.0), 0, np.arange(20.0) + 1, 1)),
        (SPINE, np.array([shapely.box(0, 0, 1, 1), *shapely.points(np.arange(19.0), 1.0)])),
    ],
    ids=["points as polygons", "polygons as points", "both"],
)
def test_geometry_of_another_type_is_refused(spec: TableSpec, shapes: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="geometry"):
        write_table(tmp_path / "part.parquet", spec, with_geometry(rows_of(spec), shapes), PROVENANCE)


def test_rows_without_geometry_do_not_spoil_the_footer(tmp_path: Path) -> None:
    shapes = np.array([shapely.box(0, 0, 1, 1), None, *shapely.box(np.arange(18.0), 0, np.arange(18.0) + 1, 1)])
    path = tmp_path / "part.parquet"
    write_table(path, SPINE, with_geometry(rows_of(SPINE), shapes), PROVENANCE)
    assert geo_record(path)["columns"]["geometry"]["bbox"] == [0, 0, 18, 1]


# -- atomicity ---------------------------------------------------------------------------------------------


class StopError(RuntimeError):
    pass


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
@pytest.mark.parametrize("spec", [SPINE, PLAIN], ids=lambda spec: spec.name)
def test_an_error_half_way_leaves_the_old_file(spec: TableSpec, error: type, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_table(path, spec, rows_of(spec), PROVENANCE)
    before = path.read_bytes()

    def write_half() -> None:
        with open_partition(path, spec, PROVENANCE) as writer:
            writer.write(rows_of(spec, 50, seed=1))
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == before
    assert list_names(tmp_path) == ["part.parquet"]


def test_an_error_half_way_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    path = tmp_path / "table" / "part.parquet"

    def write_good_then_bad() -> None:
        with open_partition(path, PLAIN, PROVENANCE) as writer:
            writer.write(rows_of(PLAIN))
            writer.write(rows_of(PLAIN).drop_columns(["tile"]))

    with pytest.raises(SchemaError):
        write_good_then_bad()
    assert list_names(path.parent) == []


def test_nothing_is_visible_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    with open_partition(path, PLAIN, PROVENANCE) as writer:
        writer.write(rows_of(PLAIN))
        assert not path.exists()
        assert not list(tmp_path.glob("*.parquet"))
        assert not list(tmp_path.glob("[!.]*"))  # what DuckDB's and the readers' globs see
    assert list_names(tmp_path) == ["part.parquet"]


def test_who_reads_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_table(path, PLAIN, rows_of(PLAIN), PROVENANCE)
    before = path.read_bytes()
    with path.open("rb") as reader:
        write_table(path, PLAIN, rows_of(PLAIN, 50, seed=1), PROVENANCE)
        assert reader.read() == before
    assert path.read_bytes() != before


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.warehouse.fake_tables import PROVENANCE, SPECS
from tests.warehouse.test_writer import rows_of
from warehouse.writer import open_partition
with open_partition(Path(sys.argv[1]), SPECS["core_grid__patches"], PROVENANCE) as writer:
    writer.write(rows_of(SPECS["core_grid__patches"], 500, seed=1))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_the_old_partition_and_a_restart_gives_the_new_one(tmp_path: Path) -> None:
    path = partition_path(tmp_path, SPINE.name, ALL)
    write_table(path, SPINE, rows_of(SPINE), PROVENANCE)
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=PROJECT, env={**os.environ}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert read_partition(tmp_path, SPINE, ALL).num_rows == 20
    new = rows_of(SPINE, 500, seed=1)
    write_table(path, SPINE, new, PROVENANCE)
    assert read_partition(tmp_path, SPINE, ALL).equals(sort_rows(SPINE, new))


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    for spec in (SPINE, PIXELS, PLAIN):
        paths = [tmp_path / spec.name / name for name in ("a.parquet", "b.parquet")]
        for path in paths:
            write_table(path, spec, rows_of(spec), PROVENANCE)
        assert paths[0].read_bytes() == paths[1].read_bytes()


# -- order and pieces --------------------------------------------------------------------------------------


def test_rows_are_sorted_by_the_key(tmp_path: Path) -> None:
    rows = rows_of(SPINE, 200)
    keys = rows["patch_id"].to_numpy()
    assert (np.diff(keys.astype(np.int64)) < 0).any()
    path = partition_path(tmp_path, SPINE.name, ALL)
    write_table(path, SPINE, rows, PROVENANCE)
    found = read_partition(tmp_path, SPINE, ALL)
    assert found["patch_id"].to_pylist() == sorted(keys.tolist())
    assert found.equals(sort_rows(SPINE, rows))  # whole rows move, not the key alone


def test_pieces_are_appended_in_their_own_order(tmp_path: Path) -> None:
    path = partition_path(tmp_path, SPINE.name, ALL)
    pieces = [rows_of(SPINE, n, seed) for seed, n in enumerate((30, 0, 5, 17))]
    with open_partition(path, SPINE, PROVENANCE) as writer:
        for piece in pieces:
            writer.write(piece)
    written = writer.written()
    assert (written.rows, written.bytes) == (52, path.stat().st_size)
    found = read_partition(tmp_path, SPINE, ALL)
    assert found.equals(pa.concat_tables([sort_rows(SPINE, piece) for piece in pieces]))
    bounds = np.concatenate([shapely.bounds(shapely.from_wkb(p["geometry"].to_pylist())) for p in pieces])
    expected = [*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)]
    assert geo_record(path)["columns"]["geometry"]["bbox"] == pytest.approx(expected)


@pytest.mark.parametrize("spec", [SPINE, PIXELS, PLAIN], ids=lambda spec: spec.name)
def test_empty_tables_keep_their_schema(spec: TableSpec, tmp_path: Path) -> None:
    path = partition_path(tmp_path, spec.name, ALL)
    assert write_table(path, spec, spec.schema.empty_table(), PROVENANCE).rows == 0
    found = read_partition(tmp_path, spec, ALL)
    assert found.num_rows == 0
    assert found.schema.equals(spec.schema)
    if spec.geometry is not None:
        frame = geopandas.read_parquet(path)
        assert len(frame) == 0
        assert frame.crs.to_epsg() == 4326


# -- write then read is the identity ------------------------------------------------------------------------

FLOATS32 = st.floats(width=32)
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy]] = {
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "int32": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "int16": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "float64": (pa.float64(), st.floats()),
    "float32": (pa.float32(), FLOATS32),
    "flag": (pa.bool_(), st.booleans()),
    "text": (pa.string(), st.text(max_size=5)),
    "blob": (pa.binary(), st.binary(max_size=5)),
    "vector": (pa.list_(pa.float32(), 3), st.lists(FLOATS32, min_size=3, max_size=3)),
    "codes": (pa.list_(pa.int8(), 4), st.lists(st.integers(-128, 127), min_size=4, max_size=4)),
    "flags": (pa.list_(pa.bool_(), 2), st.lists(st.booleans(), min_size=2, max_size=2)),
    "numbers": (pa.list_(pa.int16()), st.lists(st.integers(-5, 5), max_size=4)),
}
EVERY_TYPE = TableSpec(
    name="core_x__every",
    schema=pa.schema([("key", pa.uint64()), *((name, kind) for name, (kind, _) in COLUMNS.items())]),
    partition_by=(),
    sort_by=("key",),
    geometry=None,
    description="Every type that a declared table uses.",
)


@st.composite
def tables_any(draw: st.DrawFn) -> pa.Table:
    keys = draw(st.lists(st.integers(0, 2**64 - 1), max_size=12, unique=True))
    columns = {"key": pa.array(keys, pa.uint64())}
    for name, (kind, values) in COLUMNS.items():
        column = draw(st.lists(st.none() | values, min_size=len(keys), max_size=len(keys)))
        columns[name] = pa.array(column, kind)
    return pa.table(columns)


@settings(max_examples=60, deadline=None)
@given(tables_any())
def test_every_value_of_every_type_comes_back(table: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_table(partition_path(root, EVERY_TYPE.name, ALL), EVERY_TYPE, table, PROVENANCE)
        found = read_partition(root, EVERY_TYPE, ALL)
    assert found.schema.equals(EVERY_TYPE.schema)
    # repr tells NaN, infinities, -0.0 and None apart
    assert repr(found.to_pylist()) == repr(sort_rows(EVERY_TYPE, table).to_pylist())


# -- GeoParquet ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPINE, PIXELS], ids=lambda spec: spec.name)
def test_geopandas_reads_the_shapes_with_their_crs(spec: TableSpec, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    rows = rows_of(spec)
    write_table(path, spec, rows, PROVENANCE)
    frame = geopandas.read_parquet(path)
    assert frame.crs.to_epsg() == 4326
    assert set(frame.geom_type) == {spec.geometry}
    expected = shapely.from_wkb(sort_rows(spec, rows)["geometry"].to_pylist())
    assert shapely.equals(frame.geometry.to_numpy(), expected).all()
    record = geo_record(path)
    assert record["version"] == "1.1.0"
    assert record["columns"]["geometry"]["encoding"] == "WKB"
    assert record["columns"]["geometry"]["geometry_types"] == [spec.geometry]
    assert record["columns"]["geometry"]["bbox"] == pytest.approx(frame.total_bounds.tolist())


def test_geopandas_filters_by_the_bbox_column(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    rows = rows_of(SPINE, 300)
    write_table(path, SPINE, rows, PROVENANCE)
    box = (101.5, 12.2, 102.0, 12.6)
    found = geopandas.read_parquet(path, bbox=box)
    shapes = shapely.from_wkb(rows["geometry"].to_pylist())
    hit = shapely.intersects(shapely.box(*shapely.bounds(shapes).T), shapely.box(*box))
    assert 0 < hit.sum() < 300
    assert set(found["patch_id"]) == set(rows["patch_id"].to_numpy()[hit])


def test_the_bbox_column_holds_the_bounds(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_table(path, SPINE, rows_of(SPINE), PROVENANCE)
    table = pq.read_table(path)
    boxes = np.array([list(box.values()) for box in table["bbox"].to_pylist()])
    np.testing.assert_array_equal(boxes, shapely.bounds(shapely.from_wkb(table["geometry"].to_pylist())))
    assert list(table["bbox"][0].as_py()) == ["xmin", "ymin", "xmax", "ymax"]


@pytest.mark.parametrize("spec", [SPINE, PIXELS], ids=lambda spec: spec.name)
def test_duckdb_sees_geometry_without_an_extension(spec: TableSpec, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    rows = rows_of(spec)
    write_table(path, spec, rows, PROVENANCE)
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    (kind,) = connection.execute(
        "select any_value(typeof(geometry)) from read_parquet($path)", {"path": str(path)}
    ).fetchone()
    assert kind.startswith("GEOMETRY")
    assert '"code":4326' in kind
    wkt = connection.execute("select geometry::varchar from read_parquet($path)", {"path": str(path)}).fetchall()
    expected = shapely.from_wkb(sort_rows(spec, rows)["geometry"].to_pylist())
    assert shapely.equals_exact(shapely.from_wkt([row[0] for row in wkt]), expected, tolerance=1e-9).all()


def test_duckdb_filters_by_the_bbox_column(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    rows = rows_of(SPINE, 300)
    write_table(path, SPINE, rows, PROVENANCE)
    query = "select count(*) from read_parquet($path) where bbox.xmax >= 101.5 and bbox.xmin <= 102.0"
    (count,) = duckdb.execute(query, {"path": str(path)}).fetchone()
    bounds = shapely.bounds(shapely.from_wkb(rows["geometry"].to_pylist()))
    assert count == ((bounds[:, 2] >= 101.5) & (bounds[:, 0] <= 102.0)).sum() > 0


def test_tables_without_geometry_have_no_geo_record(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_table(path, PLAIN, rows_of(PLAIN), PROVENANCE)
    assert b"geo" not in pq.read_metadata(path).metadata
    with pytest.raises(ValueError, match="geo"):
        geopandas.read_parquet(path)
