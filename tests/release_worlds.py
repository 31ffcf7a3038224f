"""What producers do to a source tree: publish a year, part of one, files again, another model; or vanish.

Belongs here: changes of a copied tiny world. Does not: assertions, fixtures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.tiny import copy_world, replace_file

AEF = Path("aef/v1/annual")
EG = Path("earthgenome/earthindexembeddings")
TILES = ("47PRP", "47PRQ", "48PSU", "48PSV")
Change = Callable[[pa.Table], pa.Table]


class Producers:
    """The producers of one world; files are replaced, never written into, since the copy is made of hard links.

    Args:
        world: a tiny world.
        root: where its copy goes.
    """

    def __init__(self, world: Path, root: Path) -> None:
        self.root = copy_world(world, root)

    def publish_aef(self, year: int, like: int = 2024, zones: Collection[str] = ("47N", "48N")) -> None:
        """Publish the rasters of a year under other names, then the index with their rows."""
        index = self.root / AEF / "aef_index.parquet"
        table = pq.read_table(index)
        rows = [row for row in table.to_pylist() if row["year"] == like and row["utm_zone"] in zones]
        for row in rows:
            old = self._raster(row["path"])
            row["path"] = re.sub(r"annual/\d{4}/(\d+N)/x", rf"annual/{year}/\1/y{year}", row["path"])
            row["year"] = year
            new = self._raster(row["path"])
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(old.read_bytes())
        self._write_index(pa.concat_tables([table, pa.Table.from_pylist(rows, schema=table.schema)]))

    def list_aef(self, year: int, like: int = 2024) -> None:
        """Publish the rows of a year before its rasters."""
        index = self.root / AEF / "aef_index.parquet"
        table = pq.read_table(index)
        rows = [row | {"year": year} for row in table.to_pylist() if row["year"] == like]
        for row in rows:
            row["path"] = row["path"].replace(f"annual/{like}/", f"annual/{year}/")
        self._write_index(pa.concat_tables([table, pa.Table.from_pylist(rows, schema=table.schema)]))

    def publish_eg(self, year: int, tiles: Collection[str] = TILES, change: Change | None = None) -> None:
        """Publish the files of a year, as those of 2024 or with something changed."""
        for tile in tiles:
            table = pq.read_table(self.eg_file(tile, 2024))
            path = self.eg_file(tile, year)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(change(table) if change is not None else table, path)

    def reissue_eg(self, tile: str, year: int = 2024, change: Change | None = None) -> None:
        """Publish one file again: another length, so another ETag whatever the clock says."""
        path = self.eg_file(tile, year)
        table = pq.read_table(path)
        table = change(table) if change is not None else table
        building = path.with_suffix(".new")
        pq.write_table(table, building, compression="gzip")
        replace_file(path, building.read_bytes())
        building.unlink()

    def eg_file(self, tile: str, year: int) -> Path:
        """Give the file of a tile."""
        return self.root / EG / str(year) / f"{tile}_{year}-01-01_{year + 1}-01-01.parquet"

    def vanish(self, folder: Path) -> None:
        """Take a tree off the net."""
        (self.root / folder).rename(self.root / folder.with_name(f"{folder.name}.away"))

    def come_back(self, folder: Path) -> None:
        """Put it back."""
        (self.root / folder.with_name(f"{folder.name}.away")).rename(self.root / folder)

    def _raster(self, link: str) -> Path:
        return self.root / AEF / link.rpartition("annual/")[2]

    def _write_index(self, table: pa.Table) -> None:
        building = self.root / "index.new"
        pq.write_table(table, building)
        replace_file(self.root / AEF / "aef_index.parquet", building.read_bytes())
        building.unlink()


def name_model(model: str) -> Change:
    """Give a change that names a model in the footer, in the form of the 2023 files."""
    return lambda table: table.replace_schema_metadata(
        {**(table.schema.metadata or {}), b"emb": json.dumps({"version": "0.0.1", "model": {"id": model}}).encode()}
    )


def cut_vectors(dims: int) -> Change:
    """Give a change that shortens every vector."""

    def cut(table: pa.Table) -> pa.Table:
        vectors = [vector[:dims] for vector in table["embedding"].to_pylist()]
        position = table.column_names.index("embedding")
        return table.set_column(position, "embedding", pa.array(vectors, pa.list_(pa.float32())))

    return cut
