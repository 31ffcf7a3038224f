"""`isthmus pool`: the pixel product of a settings file pooled over a user's own polygons.

Belongs here: which files and zones a polygon needs, batches, the file that comes out. Does not: reading the polygons
(`sources/user_geometries.py`), the arithmetic (`transforms/pooling/polygons.py`).

Pixels are read straight from the product's rasters, so no warehouse need exist. Polygons are pooled in batches of near
ones; rows wait in a temporary file, so memory is that of one batch and one block, whatever the number of polygons.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.area import area_of_boxes
from transforms.errors import IsthmusError
from transforms.pooling.operators import PooledPatches, column_dims, find_operator, stored_columns
from transforms.pooling.pixels import PoolingParameters
from transforms.pooling.polygons import PolygonPooler, check_polygon_sizes
from transforms.pooling.sums import ADDITIVE_COLUMNS
from warehouse.errors import SourceFormatError
from warehouse.polygon_zones import cut_batches, find_zones, project_home
from warehouse.products import RASTER_LAYOUTS
from warehouse.sections import PoolSettings
from warehouse.sources import open_pixel_source
from warehouse.sources.raster_source import RasterSource
from warehouse.sources.read_ahead import read_ahead
from warehouse.sources.user_geometries import UserGeometries, read_user_geometries
from warehouse.store import Warehouse
from warehouse.table_spec import TableSpec, vector_type
from warehouse.writer import ROW_GROUP_ROWS, open_partition
from warehouse.year_files import choose_pixel_product, list_year_files

Geometries = npt.NDArray[np.object_]
Int64Array = npt.NDArray[np.int64]
Progress = Callable[[float, str], None]

#: Pixels of a batch that are held at once, where operators need all pixels of a polygon together.
_BATCH_PIXELS = 2_000_000


class FittedOperatorError(IsthmusError):
    """An operator needs a codebook that was fitted on training data, which this command does not have. Permanent."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"operators: found {', '.join(names)}, which are fitted inside the training fold of an evaluation, "
            "expected operators without fitting. Leave them out, or evaluate them with `isthmus run`."
        )


@dataclass(frozen=True)
class PoolRequest:
    """What is asked for.

    Attributes:
        geometries: file with polygons.
        year: of the product.
        operators: names of `POOLING_OPERATORS`; joined ones become the columns that they join. None = those of the
            settings.
        product: pixel product; None = the compared one of the settings.
        min_coverage: least valid share of a polygon that gets vectors; None = that of the settings.
        id_column: column kept beside the row number; None = `id` or `fid`.
        output: file to write; None = `<name>_pooled_<year>.parquet` beside the geometries.
    """

    geometries: Path
    year: int
    operators: tuple[str, ...] | None
    product: str | None
    min_coverage: float | None
    id_column: str | None
    output: Path | None


@dataclass(frozen=True)
class PoolSummary:
    """What came out.

    Attributes:
        output: the file.
        rows: polygons.
        columns: pooled columns.
        min_coverage: that was asked for.
        without_pixels: polygons without any valid pixel.
        too_little_coverage: polygons with some, but below `min_coverage`.
        product: product name.
        year: its year.
        is_simulated: True if any raster was simulated.
    """

    output: Path
    rows: int
    columns: tuple[str, ...]
    min_coverage: float
    without_pixels: int
    too_little_coverage: int
    product: str
    year: int
    is_simulated: bool


def pool_geometries(warehouse: Warehouse, request: PoolRequest, progress: Progress) -> PoolSummary:
    """Pool pixels over polygons and write one row per polygon; nothing is written unless all went well.

    Args:
        warehouse: its settings say where the product is; its tables are not used.
        request: what is asked for.
        progress: called with the share done and a text.

    Raises:
        IsthmusError: anything that is wrong with the request, the polygons or the rasters.
    """
    product = choose_pixel_product(warehouse, request.product, RASTER_LAYOUTS)
    pool = warehouse.settings.pool
    min_coverage = pool.min_coverage if request.min_coverage is None else request.min_coverage
    columns = _choose_columns(request.operators or pool.operators)
    parameters = pool.parameters()
    geometries = read_user_geometries(request.geometries, request.id_column)
    spec = _output_spec(geometries, columns, product.dims, parameters)
    output = _choose_output(request)
    bounds = geometries.bbox()
    index = list_year_files(warehouse, product, request.year, area_of_boxes([bounds]) if bounds else None)
    zones = find_zones(geometries.lonlat, index)
    source = open_pixel_source(product, warehouse.source(product.name), index)
    assert isinstance(source, RasterSource)  # tables were refused above
    polygons = project_home(geometries.lonlat, zones.home)
    assert product.pixel_m is not None  # the registry demands it of pixel products
    check_polygon_sizes(polygons, product.pixel_m**2, columns, geometries.names())
    max_pixels = np.inf if set(columns) <= set(ADDITIVE_COLUMNS) else _BATCH_PIXELS
    output.parent.mkdir(parents=True, exist_ok=True)
    with _Rows(len(geometries), columns, product.dims, parameters, output.parent) as rows:
        done = 0
        for batch in cut_batches(polygons, zones.home, max_pixels * product.pixel_m**2):
            pooler = PolygonPooler(
                polygons[batch], int(zones.home[batch[0]]), product.dims, columns, parameters,
                min_coverage=min_coverage, continued=np.array([bool(zones.others[k]) for k in batch]),
            )  # fmt: skip
            others = [zones.others[k] for k in batch]
            for text in _read_batch(source, request.year, pooler, others, warehouse.settings.limits.block_px):
                progress(done / len(geometries), text)
            rows.put(batch, pooler.finish())
            done += len(batch)
        used = index.take(zones.touched)
        is_simulated = warehouse.is_simulated(product, used if len(used) else index)
        provenance = warehouse.product_provenance(
            product, warehouse.source_files(used), is_simulated=is_simulated, inputs=[geometries.path.name]
        )
        progress(1.0, f"writing {output.name}")
        with open_partition(output, spec, provenance) as writer:
            geo, shapes = _encode_geometry(geometries)
            labels = {"product": product.name, "year": request.year, "is_simulated": is_simulated}
            for table in _tables(rows, geometries, shapes, labels, spec):
                writer.write(table)
            writer.file.add_key_value_metadata({"geo": geo, "isthmus_pool": _encode_parameters(pool, min_coverage)})
        fraction = np.asarray(rows.valid_fraction)
    return PoolSummary(
        output, len(geometries), columns, min_coverage, int((fraction == 0).sum()),
        int(((fraction > 0) & (fraction < min_coverage)).sum()), product.name, request.year, is_simulated,
    )  # fmt: skip


def _choose_columns(operators: Sequence[str]) -> tuple[str, ...]:
    """Give the stored columns of the operators."""
    columns = stored_columns(operators)
    fitted = [name for name in columns if find_operator(name).is_fitted]
    if fitted:
        raise FittedOperatorError(fitted)
    return columns


def _encode_parameters(pool: PoolSettings, min_coverage: float) -> str:
    """Say, for the footer, what the columns do not: coverage rule and parameters of operators."""
    return json.dumps({"min_coverage": min_coverage, "gem_p": pool.gem_p, "percentiles": pool.percentiles})


def _choose_output(request: PoolRequest) -> Path:
    source = request.geometries
    output = request.output or source.with_name(f"{source.stem}_pooled_{request.year}.parquet")
    if output.resolve() == source.resolve():
        raise SourceFormatError(str(output), "output", "the file of the polygons", "another file", "Choose --output.")
    if output.is_dir():
        raise SourceFormatError(str(output), "output", "a folder", "a file name", "Choose --output.")
    return output


def _read_batch(
    source: RasterSource, year: int, pooler: PolygonPooler, others: Sequence[tuple[int, ...]], block_px: int
) -> Iterator[str]:
    """Read what a batch needs into its pooler: its own zone, then each zone that may continue it.

    Yields:
        What was just read.
    """
    steps: list[tuple[int, Int64Array]] = [
        (epsg, np.flatnonzero([epsg in zones for zones in others])) for epsg in sorted({e for z in others for e in z})
    ]
    for window in read_ahead(source.iter_blocks(year, pooler.boxes(), block_px)):
        pooler.add(window)
        yield Path(window.source).name
    for epsg, chosen in steps:
        pooler.move_to(epsg, chosen)
        for window in read_ahead(source.iter_blocks(year, pooler.boxes(), block_px)):
            pooler.add(window)
            yield Path(window.source).name


class _Rows:
    """Pooled rows of all polygons in their order, in a temporary file until they are written.

    Args:
        count: polygons.
        columns: stored columns.
        dims: length of a pixel vector.
        parameters: of the operators.
        folder: where the temporary file is.
    """

    def __init__(
        self, count: int, columns: Sequence[str], dims: int, parameters: PoolingParameters, folder: Path
    ) -> None:
        widths = [column_dims(name, dims, parameters) for name in columns]
        ends = np.cumsum([max(width, 1) for width in widths]).tolist()
        self._slices = {
            name: (slice(end - max(width, 1), end), width)
            for name, end, width in zip(columns, ends, widths, strict=True)
        }
        # no name in the folder: it is gone when the process is
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # `with` on this class closes it
        self._values = np.memmap(self._file, np.float32, "w+", shape=(count, ends[-1]))
        self.valid_fraction = np.zeros(count, np.float32)
        self.n_pixels = np.zeros(count, np.int32)

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, at: Int64Array, pooled: PooledPatches) -> None:
        """Store the rows of some polygons."""
        for name, (where, width) in self._slices.items():
            self._values[at, where] = pooled.columns[name].reshape(len(at), max(width, 1))
        self.valid_fraction[at] = pooled.valid_fraction
        self.n_pixels[at] = pooled.n_pixels

    def columns(self, start: int, stop: int) -> dict[str, pa.Array]:
        """Give the pooled columns of rows [start, stop) as Arrow arrays."""
        arrays: dict[str, pa.Array] = {
            "n_pixels": pa.array(self.n_pixels[start:stop]),
            "valid_fraction": pa.array(self.valid_fraction[start:stop]),
        }
        for name, (where, width) in self._slices.items():
            values = pa.array(np.asarray(self._values[start:stop, where]).ravel())
            arrays[name] = pa.FixedSizeListArray.from_arrays(values, type=vector_type(width)) if width else values
        return arrays


def _output_spec(
    geometries: UserGeometries, columns: Sequence[str], dims: int, parameters: PoolingParameters
) -> TableSpec:
    """Declare the file: row number, id, product, pooled columns, geometry with its bounds.

    Raises:
        SourceFormatError: the id column has the name of another column.
    """
    corner = pa.struct([pa.field(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
    widths = {name: column_dims(name, dims, parameters) for name in columns}
    fields = [
        pa.field("row", pa.int64()),
        *([pa.field(geometries.id_name, geometries.ids.type)] if geometries.ids is not None else []),
        pa.field("product", pa.string()),
        pa.field("year", pa.int32()),
        pa.field("n_pixels", pa.int32()),
        pa.field("valid_fraction", pa.float32()),
        *(pa.field(name, vector_type(width) if width else pa.float32()) for name, width in widths.items()),
        pa.field("is_simulated", pa.bool_()),
        pa.field("geometry", pa.binary()),
        pa.field("bbox", corner),
    ]
    names = [field.name for field in fields]
    if len(set(names)) < len(names):
        raise SourceFormatError(
            str(geometries.path), "id column", f"'{geometries.id_name}', which is a column of the output",
            f"none of {sorted(set(names) - {geometries.id_name})}", "Rename it, or choose --id-column.",
        )  # fmt: skip
    return TableSpec("pooled_geometries", pa.schema(fields), (), ("row",), None, "Pixels pooled over polygons.")


def _encode_geometry(geometries: UserGeometries) -> tuple[str, pa.Table]:
    """Let geopandas spell the geometries in their own CRS: (the GeoParquet record, columns `geometry` and `bbox`)."""
    frame = geopandas.GeoDataFrame(geometry=geopandas.GeoSeries(geometries.geometry, crs=geometries.crs))
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, schema_version="1.1.0", write_covering_bbox=True)
    table = pq.read_table(buffer)
    return table.schema.metadata[b"geo"].decode(), table


def _tables(
    rows: _Rows, geometries: UserGeometries, shapes: pa.Table, labels: Mapping[str, object], spec: TableSpec
) -> Iterator[pa.Table]:
    """Give the output, a row group at a time."""
    for start in range(0, len(geometries), ROW_GROUP_ROWS):
        stop = min(start + ROW_GROUP_ROWS, len(geometries))
        shape = shapes.slice(start, stop - start)
        columns = {
            "row": pa.array(np.arange(start, stop)),
            **{
                name: pa.array([value] * (stop - start), spec.schema.field(name).type) for name, value in labels.items()
            },
            **rows.columns(start, stop),
            "geometry": _storage(shape["geometry"]),
            "bbox": shape["bbox"].cast(spec.schema.field("bbox").type),
        }
        if geometries.ids is not None:
            columns[geometries.id_name] = geometries.ids.slice(start, stop - start)
        yield pa.table({name: columns[name] for name in spec.schema.names}, schema=spec.schema)


def _storage(column: pa.ChunkedArray) -> pa.Array:
    """Give plain WKB, whether or not geoarrow is imported."""
    array = column.combine_chunks()
    return array.storage if isinstance(array.type, pa.BaseExtensionType) else array
