"""One warehouse: its settings, products and tables, opened for reading and writing by name and key.

Belongs here: looking up specs, products and paths for a name. Does not: file encoding (`writer.py`),
SQL (`catalog.py`), partitions of Dagster.
"""

from __future__ import annotations

import functools
import operator
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from transforms.area import Area, Bbox, split_bbox
from transforms.area_grids import touched_boxes
from transforms.fold_plan import Scheme
from transforms.keeping import KeepRule, OwnerRule
from transforms.labels import ClassMap
from transforms.places import CLUSTER_M, PixelPlaces, pixel_places_from_table
from transforms.shards import Shard, cut_regions
from transforms.tasks import TASKS, Task
from transforms.upsampling.operators import find_upsampler
from transforms.utm import UtmBox, project_bbox
from warehouse import reader, writer
from warehouse.area_of_interest import read_area
from warehouse.cell_seals import list_cell_files, slot_of
from warehouse.derived_schemas import fitted_columns
from warehouse.errors import DiskSpaceError, SourceMissingError
from warehouse.file_access import open_input, remove_files
from warehouse.file_paths import FilePath
from warehouse.fingerprints import Fingerprint
from warehouse.label_settings import LabelSettings
from warehouse.label_versions import list_label_versions
from warehouse.layout import ALL, PartitionKey, cell_path, partition_path
from warehouse.lineage import Lineage, read_fingerprint
from warehouse.products import Product, find_product, join_releases
from warehouse.provenance import Provenance, SourceFile, merge_attributions
from warehouse.schemas import build_specs
from warehouse.sections import EvaluateSettings
from warehouse.settings import Settings
from warehouse.source_settings import SourceSettings
from warehouse.sources.files import is_simulated_glob, is_simulated_root
from warehouse.table_spec import TableSpec
from warehouse.unfinished import writing_folder


@dataclass(frozen=True)
class Warehouse:
    """A warehouse as its settings describe it. Opening it touches no file."""

    settings: Settings

    @property
    def root(self) -> FilePath:
        """Folder of the tables, or its URL."""
        return self.settings.warehouse.root

    @property
    def is_begun(self) -> bool:
        """Whether there is a folder, or behind a URL a plan, to read from."""
        if isinstance(self.root, Path):
            return self.root.is_dir()
        return reader.has_partition(self.root, "core_grid__shards", ALL)

    @cached_property
    def products(self) -> dict[str, Product]:
        """Products that have a source, by name."""
        registry = self.settings.registry()
        return {name: find_product(registry, name) for name in self.settings.sources}

    @cached_property
    def specs(self) -> dict[str, TableSpec]:
        """Declared tables by name."""
        settings = self.settings
        return build_specs(
            self.products,
            labels={name: len(label.classes) for name, label in settings.labels.items() if not label.columns},
            values={name: len(label.columns) for name, label in settings.labels.items() if label.columns},
            pixels=settings.compare.pixels,
            patches=settings.compare.patches,
            pool=settings.pool,
            upsample=settings.upsample,
            has_adapter=settings.adapter is not None,
        )

    @property
    def pixel_product(self) -> Product | None:
        """The compared pixel product."""
        name = self.settings.compare.pixels
        return self.products[name] if name is not None else None

    @property
    def patch_product(self) -> Product | None:
        """The compared patch product."""
        name = self.settings.compare.patches
        return self.products[name] if name is not None else None

    @cached_property
    def area(self) -> Area | None:
        """The area of interest; None = wherever the sources have data. Reads the file that the settings name."""
        return read_area(self.settings.area)

    def source(self, product: str) -> SourceSettings:
        """Where a product's files are."""
        return self.settings.sources[product]

    def years_of(self, product: Product) -> tuple[int, ...]:
        """List the years of the settings that are taken of a product: those that its registry entry describes."""
        years = self.source(product.name).years or self.settings.years
        return tuple(year for year in years if product.takes(year))

    def label(self, name: str) -> LabelSettings:
        """Settings of a label source."""
        return self.settings.labels[name]

    def class_map(self, name: str) -> ClassMap:
        """Classes of a raster label source, ids in the order of the settings."""
        classes = self.label(name).classes
        return ClassMap(codes=tuple(int(code) for code in classes.values()), names=tuple(classes))

    def labels_pixels(self, name: str) -> bool:
        """Tell whether a label source can label pixels: rasters and geometries do, columns only a pixel product's."""
        label = self.label(name)
        if label.kind == "bigearthnet":
            return False
        return label.product is None or self.products[label.product].grain == "pixel"

    def labels_patches(self, name: str) -> bool:
        """Tell whether a label source can label patches: all do, but columns only those of a patch product."""
        label = self.label(name)
        return label.product is None or self.products[label.product].grain == "patch"

    def asks(self, task: Task) -> bool:
        """Tell whether a task is evaluated (without [evaluate], both are prepared)."""
        return self.settings.evaluate is None or task in list_tasks(self)

    @property
    def pools(self) -> bool:
        """Tell whether pixels are pooled: question 1 is asked, or an upsampler is guided by pooled pixels."""
        tasks = [task for task, rule in TASKS.items() if rule.unit == "patch"]
        return any(self.asks(task) for task in tasks) or any(
            find_upsampler(name).uses_guide for name in self.settings.upsample.operators
        )

    @property
    def needs_codebook(self) -> bool:
        """Tell whether a stored pooling operator needs a codebook."""
        return bool(fitted_columns(self.settings.pool))

    @property
    def report_path(self) -> FilePath:
        """File of the report, beside the tables."""
        return self.root / "report.html"

    # -- tables ---------------------------------------------------------------------------------------------

    def stored_partitions(self, table: str) -> list[PartitionKey]:
        """List all stored partitions, those of earlier areas too."""
        return reader.list_partitions(self.root, table)

    def partitions(self, table: str, *, year: int | None = None, shard: str | None = None) -> list[PartitionKey]:
        """List the stored partitions of the area of interest, of one year or shard if given."""
        keys = self.stored_partitions(table)
        if "shard" in self.specs[table].partition_by:
            current = {one.key for one in self.shards()}
            keys = [key for key in keys if key.shard in current]
        return [key for key in keys if year in (None, key.year) and shard in (None, key.shard)]

    def read(self, table: str, key: PartitionKey = ALL, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one partition (see `reader.read_partition`).

        Indexes and shards are read once: what a body reads by them and what its fingerprint says stay the same, though
        somebody else may replace them meanwhile.
        """
        if self.specs[table].partition_by:
            self._note(table, key)
            return reader.read_partition(self.root, self.specs[table], key, columns)
        if table not in self._plans:
            self._plans[table] = reader.read_partition(self.root, self.specs[table], key)
        return self._plans[table] if columns is None else self._plans[table].select(columns)

    def read_many(
        self,
        table: str,
        keys: Iterable[PartitionKey],
        columns: Sequence[str] | None = None,
        where: Mapping[str, str] | None = None,
    ) -> pa.Table:
        """Read partitions with their `year` and `shard` (see `reader.read_partitions`)."""
        chosen = list(keys)
        for key in chosen:
            self._note(table, key)
        return reader.read_partitions(self.root, self.specs[table], chosen, columns, where)

    def read_cells(self, table: str, year: int) -> pa.Table:
        """Read all evidence cells of a year."""
        return reader.read_cells(self.root, self.specs[table], year)

    def iterate_cells(self, table: str, year: int) -> Iterator[pa.Table]:
        """Read the evidence cells of a year, one after the other."""
        return reader.iterate_cells(self.root, self.specs[table], year)

    def write(self, table: str, key: PartitionKey, rows: pa.Table, provenance: Provenance) -> writer.WrittenPartition:
        """Replace one partition atomically (see `writer.write_table`)."""
        self._check_space()
        path = partition_path(self.root, table, key)
        written = writer.write_table(path, self.specs[table], rows, provenance, self._fingerprint(table, key))
        self._plans.pop(table, None)
        if table == "core_grid__shards":
            self.__dict__.pop("_shards", None)
        return written

    def open(
        self, table: str, key: PartitionKey, provenance: Provenance
    ) -> AbstractContextManager[writer.PartitionWriter]:
        """Replace one partition atomically, in pieces (see `writer.open_partition`)."""
        self._check_space()
        path = partition_path(self.root, table, key)
        return writer.open_partition(path, self.specs[table], provenance, self._fingerprint(table, key))

    def cell(self, table: str, year: int, cell: str) -> FilePath:
        """Give the file of an evidence cell."""
        return cell_path(self.root, table, year, cell)

    def write_cell(
        self, table: str, year: int, cell: str, rows: pa.Table, provenance: Provenance
    ) -> writer.WrittenPartition:
        """Replace one evidence cell atomically."""
        self._check_space()
        return writer.write_table(self.cell(table, year, cell), self.specs[table], rows, provenance)

    def drop_cells(self, table: str, year: int, *, keep: Collection[str]) -> None:
        """Remove the evidence cells of a year that are not among those to keep."""
        stored = list_cell_files(self.root, table, PartitionKey(year))
        remove_files(path for path in stored if slot_of(path) not in keep)

    def count_cell_rows(self, table: str, year: int) -> int:
        """Count the rows of the evidence cells of a year, without reading them."""
        stored = list_cell_files(self.root, table, PartitionKey(year))
        return sum(pq.read_metadata(open_input(path)).num_rows for path in stored)

    # -- fingerprints ---------------------------------------------------------------------------------------

    def label_versions(self, name: str) -> list[tuple[str, str]]:
        """List the files of a label source and what identifies their bytes, as they were at the first look.

        Sources are looked at before they are opened: rows of a file that is replaced meanwhile count as stale.
        """
        if name not in self._label_versions:
            self._label_versions[name] = list_label_versions(self.label(name))
        return self._label_versions[name]

    @cached_property
    def _label_versions(self) -> dict[str, list[tuple[str, str]]]:
        return {}

    @cached_property
    def _plans(self) -> dict[str, pa.Table]:
        """Indexes and shards that were read, by table."""
        return {}

    @cached_property
    def reads(self) -> dict[tuple[str, PartitionKey], Fingerprint | None]:
        """Partitions that were read, with the fingerprint that each had then."""
        return {}

    def fingerprint_read(self, table: str, key: PartitionKey) -> Fingerprint | None:
        """Give the fingerprint that a partition had when it was read; if it was not, the one that it has."""
        if (table, key) not in self.reads:
            return read_fingerprint(self, table, key)
        return self.reads[table, key]

    def _note(self, table: str, key: PartitionKey) -> None:
        """Keep the fingerprint of a partition before its rows are read.

        Somebody may replace the partition in between: then rows newer than their fingerprint are read, and what is
        written from them counts as stale. The other way round it would count as current.
        """
        self.reads[table, key] = read_fingerprint(self, table, key)

    def _fingerprint(self, table: str, key: PartitionKey) -> Fingerprint | None:
        """Give the fingerprint of what is written now."""
        return Lineage(self).written(table, key)

    # -- shards and rules -----------------------------------------------------------------------------------

    def shards(self) -> tuple[Shard, ...]:
        """Give the shards of the area of interest, in the order that decides ownership."""
        return self._shards

    @cached_property
    def _shards(self) -> tuple[Shard, ...]:
        """The same, put together once: every partition of every table asks for them."""
        table = self.read("core_grid__shards")
        boxes = self._boxes(table)
        rows = zip(table["shard"].to_pylist(), table["epsg"].to_pylist(), boxes, strict=True)
        rule = self.settings.area.shard_rule
        by_key = {key: Shard(key, rule, epsg, box) for key, epsg, box in rows}
        order = [shard.key for shard in cut_regions(self.settings.area.regions)] if rule == "region" else []
        ranked = sorted(by_key, key=lambda key: (order.index(key) if key in order else len(order), key))
        return tuple(by_key[key] for key in ranked)

    def owner_rule(self, shard: str, *, by_zone: bool = False) -> OwnerRule:
        """Give the rule that says which places a shard owns."""
        rule = OwnerRule(shard, self.shards(), self.area, by_zone)
        return rule if self.area is None else replace(rule, area=self.area.near(rule.shard.reading_box()))

    def keep_rule(self) -> KeepRule:
        """Give the rule that says which pixels are kept."""
        keep = self.settings.keep
        return KeepRule(keep.all, tuple((w.name, w.bbox) for w in keep.windows), keep.sample)

    # -- rows that several assets need -----------------------------------------------------------------------

    def index_rows(self, product: Product, year: int | None, bbox: Bbox) -> pa.Table:
        """Read the index rows of one product and year whose files touch a box."""
        index = self.read(f"raw_{product.name}__index")
        of_year = index.filter(pc.field("year") == year)
        near = functools.reduce(operator.or_, (_touches(part) for part in split_bbox(bbox)))
        return of_year.filter(near)

    def source_files(self, index: pa.Table) -> list[SourceFile]:
        """Give the files of index rows, for the footer."""
        rows = zip(index["path"].to_pylist(), index["etag"].to_pylist(), strict=True)
        return [SourceFile(path, etag or "") for path, etag in rows]

    def is_simulated(self, product: Product, rows: pa.Table) -> bool:
        """Tell whether any of some rows of a product, or of its files, is simulated.

        Where there are none, as where a mosaic stores no shard, the whole product decides: that nothing is there is
        what its source says.

        Args:
            product: a product with a source.
            rows: with column `is_simulated`.
        """
        if len(rows):
            return any(rows["is_simulated"].to_pylist())
        table = f"raw_{product.name}__index"
        index = self.read(table) if self.stored_partitions(table) else rows
        return (
            any(index["is_simulated"].to_pylist()) if len(index) else is_simulated_root(self.source(product.name).root)
        )

    def shard_index(self, product: Product, year: int | None, shard: Shard) -> pa.Table:
        """Read the index rows of one product and year whose files may hold pixels that a shard owns.

        A product that is tiled by zone is owned by zone too, so a square needs the files of its own zone only: a
        bad file across the zone edge does not spoil it.
        """
        index = self.index_rows(product, year, shard.bbox)
        if product.layout == "aef_cog" and shard.rule == "mgrs":
            return index.filter(pc.field("epsg") == shard.epsg)
        return index

    def shard_boxes(self, product: Product, index: pa.Table, shard: Shard) -> list[UtmBox]:
        """Give the ground of a shard in each zone that files of an index are in, as boxes that cover it.

        The files of a mosaic are in no zone: it is read in those of the ground.
        """
        zones = shard.zones() if product.layout == "aef_zarr" else sorted(set(index["epsg"].to_pylist()))
        boxes = [project_bbox(shard.reading_box(), epsg) for epsg in zones]
        if self.area is None or self.area.boxes:
            return boxes
        near = self.area.near(shard.reading_box())
        return [part for box in boxes for part in touched_boxes(near, box, CLUSTER_M)]

    def embedding_years(self, label: str, label_year: int | None) -> list[int]:
        """Give the embedding years that the settings map to a label year."""
        return sorted(year for year, of_label in self.label(label).years.items() if of_label == label_year)

    def require_label_year(self, label: str, label_year: int | None) -> None:
        """Refuse a label year that a source does not have.

        Raises:
            SourceMissingError: no embedding year of the settings is mapped to it.
        """
        if not self.embedding_years(label, label_year):
            raise SourceMissingError(
                f"labels.{label}.years", f"no embedding year for label year {label_year}", "one", "Map one to it."
            )

    def pixel_places(
        self, product: Product, shard: str | None, years: Sequence[int | None], *, sample_only: bool = False
    ) -> PixelPlaces:
        """Read the places of the pixels that one shard keeps in some years, each place once."""
        table = f"core_{product.name}__pixels"
        keys = [key for key in self.partitions(table, shard=shard) if key.year in years]
        columns = [*(field.name for field in fields(PixelPlaces)), "in_sample"]
        rows = self.read_many(table, keys, columns)
        return pixel_places_from_table(rows.filter(rows["in_sample"]) if sample_only else rows)

    # -- provenance -----------------------------------------------------------------------------------------

    def product_provenance(
        self,
        product: Product,
        sources: Sequence[SourceFile],
        *,
        is_simulated: bool,
        inputs: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> Provenance:
        """Describe rows that derive from one product."""
        return Provenance(
            product=product.name,
            release=product.release,
            licence=product.licence,
            attribution=(product.attribution,),
            is_simulated=is_simulated,
            sources=tuple(sources),
            inputs=tuple(inputs),
            notes=tuple(notes),
        )

    def derived_provenance(self, inputs: Sequence[str], *, is_simulated: bool) -> Provenance:
        """Describe rows that derive from the compared pair and the labels."""
        pair = [p for p in (self.pixel_product, self.patch_product) if p is not None]
        labels = [label.attribution for label in self.settings.labels.values()]
        return Provenance(
            product="+".join(p.name for p in pair),
            release=join_releases(pair),
            licence="; ".join(dict.fromkeys(p.licence for p in pair)),
            attribution=merge_attributions([[p.attribution for p in pair], labels]),
            is_simulated=is_simulated,
            inputs=tuple(inputs),
        )

    def _boxes(self, table: pa.Table) -> list[Bbox]:
        shapes = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
        return [(float(w), float(s), float(e), float(n)) for w, s, e, n in shapely.bounds(shapes)]

    def _check_space(self) -> None:
        """Refuse to write onto a nearly full disk.

        Raises:
            DiskSpaceError: less than `limits.min_free_mb` is free.
        """
        folder = writing_folder(self.root)
        _, free_mb = measure_disk(folder)
        if free_mb < self.settings.limits.min_free_mb:
            raise DiskSpaceError(str(folder), free_mb, self.settings.limits.min_free_mb)


def measure_disk(folder: Path) -> tuple[Path, int]:
    """Give the nearest folder that is there, and the free room on its disk in MB."""
    present = next(place for place in (folder, *folder.parents) if place.exists())
    return present, shutil.disk_usage(present).free // 2**20


def _touches(bbox: Bbox) -> pc.Expression:
    """Say which index rows share ground with a box; files across the antimeridian have west > east."""
    west, south, east, north = bbox
    file_west, file_east = pc.field("west_deg"), pc.field("east_deg")
    across = (file_west > file_east) & ((file_west <= east) | (file_east >= west))
    along = ((file_west <= file_east) & (file_west <= east) & (file_east >= west)) | across
    return along & (pc.field("south_deg") <= north) & (pc.field("north_deg") >= south)


def evaluate_settings(warehouse: Warehouse) -> EvaluateSettings:
    """Give the evaluation settings.

    Raises:
        SourceMissingError: the settings file has none.
    """
    if warehouse.settings.evaluate is None:
        raise SourceMissingError(
            f"settings '{warehouse.settings.name}'", "no [evaluate]", "one", "Add [evaluate] label = ..."
        )
    return warehouse.settings.evaluate


def list_tasks(warehouse: Warehouse) -> tuple[Task, ...]:
    """List the tasks of the evaluation, then those that only a study asks for."""
    study = warehouse.settings.study
    asked = [task for group in study.cells for task in group.tasks] if study is not None else []
    return tuple(dict.fromkeys([*evaluate_settings(warehouse).tasks, *asked]))


def list_schemes(warehouse: Warehouse) -> tuple[Scheme, ...]:
    """List the fold schemes of the evaluation, then those that only a study asks for."""
    study = warehouse.settings.study
    asked = [scheme for group in study.cells for scheme in group.schemes] if study is not None else []
    return tuple(dict.fromkeys([*evaluate_settings(warehouse).schemes, *asked]))


def any_simulated(warehouse: Warehouse) -> bool:
    """Tell whether any source of the compared pair or of labels is simulated."""
    compare, labels = warehouse.settings.compare, warehouse.settings.labels.values()
    names = {compare.pixels, compare.patches, *(label.product for label in labels)} - {None}
    return any(
        warehouse.is_simulated(warehouse.products[str(name)], warehouse.read(f"raw_{name}__index")) for name in names
    ) or any(is_simulated_glob(label.path) for label in labels if label.path is not None)
