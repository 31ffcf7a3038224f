"""A warehouse of patches with several classes each, labelled as BigEarthNet is: no single class, a published split.

Belongs here: sources, settings, and the study that was run on them. Does not: assertions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.warehouse.fake_tables import PROVENANCE, declared_rows
from tests.warehouse.labels.label_worlds import EPSG, IDENTITY, YEAR, write_index
from transforms import geohash
from transforms.bigearthnet import CLASSES_19
from transforms.label_rows import patch_label_table
from transforms.places import PatchPlaces
from transforms.utm import unproject
from warehouse.label_sources import open_patch_labels
from warehouse.layout import PartitionKey
from warehouse.settings import Settings
from warehouse.store import Warehouse
from warehouse.study import run_study
from warehouse.study_audit import make_fold_audit
from warehouse.study_folds import make_folds
from warehouse.table_spec import TableSpec

SIDE_M, N_SIDE, DIMS = 1200.0, 18, 12
PRODUCT = {
    **IDENTITY, "grain": "patch", "layout": "patch_geoparquet", "dims": DIMS, "patch_m": SIDE_M, "id_column": "name",
}  # fmt: skip
#: Classes that occur, and their shares; the last one is rare.
SHARES = {"Arable land": 0.6, "Pastures": 0.4, "Marine waters": 0.25, "Urban fabric": 0.08}


def open_world(root: Path) -> Warehouse:
    """Open the warehouse, written or not."""
    label = {"kind": "bigearthnet", "path": root / "metadata.parquet", "years": {YEAR: 2018}, "title": "BigEarthNet"}
    settings = Settings(
        name="archive",
        years=(YEAR,),
        area={"shard_rule": "file"},
        sources={"chips": {"root": root / "chips"}},
        compare={"patches": "chips"},
        labels={"ben": label},
        evaluate={
            "label": "ben",
            "tasks": ["T1", "T2"],
            "schemes": ["given", "block"],
            "n_folds": 3,
            "block_edge_m": 3600,
            "buffer_m": 0,
            "diagnostic": "Blocks are smaller than the labels' range.",
        },
        study={"cells": [{"tasks": ["T2"], "arms": ["native_patch"], "probes": ["random_forest"]}]},
        warehouse={"root": root / "wh"},
        dagster={"instance": root / "dagster"},
        products={"chips": PRODUCT},
        limits={"min_free_mb": 0},
    )
    return Warehouse(settings)


def write_world(root: Path, *, run: bool = True) -> None:
    """Write patches, labels and folds, and run the study."""
    warehouse = open_world(root)
    rng = np.random.default_rng(5)
    latent, places, names = rng.normal(size=(N_SIDE**2, len(SHARES))), _places(), _names()
    flags = latent > np.quantile(latent, 1 - np.array(list(SHARES.values())), axis=0).diagonal()
    _write_labels(root, names, flags)
    _write_patches(warehouse, places, names, latent, rng)
    source = open_patch_labels(warehouse, "ben")
    labels, split = source.label_patches(places)
    rows = patch_label_table(places, labels, split, "ben", source.class_names, is_simulated=True)
    warehouse.write("core_label_ben__patches", PartitionKey(2018, "here"), rows, source.provenance([]))
    if run:
        _run(warehouse)


def _run(warehouse: Warehouse) -> None:
    key = PartitionKey(YEAR)
    made = make_folds(warehouse, YEAR)
    warehouse.write("out_probe__folds", key, made.folds, PROVENANCE)
    warehouse.write("out_probe__fold_rules", key, made.rules, PROVENANCE)
    warehouse.write("out_probe__fold_audit", key, make_fold_audit(warehouse, YEAR), PROVENANCE)
    run_study(warehouse, YEAR, lambda _line: None)


def _names() -> list[str]:
    return [f"patch_{number:03d}" for number in range(N_SIDE**2)]


def _places() -> PatchPlaces:
    row, col = np.divmod(np.arange(N_SIDE**2), N_SIDE)
    x, y = 600_600 + SIDE_M * col, 1_400_600 + SIDE_M * row
    lon, lat = (np.asarray(values) for values in unproject(x, y, EPSG))
    n = len(x)
    nowhere, codes = np.full(n, -1, np.int32), np.full(n, EPSG, np.int32)
    own = np.full(n, "own")
    return PatchPlaces(geohash.encode(lon, lat), own, nowhere, nowhere, lon, lat, codes, x, y, np.full(n, SIDE_M))


def _write_labels(root: Path, names: list[str], flags: np.ndarray) -> None:
    """Write the metadata file: the southern rows are the test part, a patch without any class stays one."""
    part = np.where(np.arange(len(names)) < len(names) // 3, "test", "train").astype(object)
    part[-N_SIDE:] = "validation"
    classes = [[name for name, flag in zip(SHARES, row, strict=True) if flag] for row in flags]
    assert set(SHARES) <= set(CLASSES_19)
    pq.write_table(
        pa.table(
            {
                "patch_id": names,
                "labels": pa.array(classes, pa.list_(pa.string())),
                "split": part.tolist(),
                "country": ["Austria"] * len(names),
                "s1_name": names,
                "s2v1_name": [f"v1_{name}" for name in names],
                "contains_seasonal_snow": [False] * len(names),
                "contains_cloud_or_shadow": [False] * len(names),
            }
        ),
        root / "metadata.parquet",
    )


def _write_patches(
    warehouse: Warehouse, places: PatchPlaces, names: list[str], latent: np.ndarray, rng: np.random.Generator
) -> None:
    """Write vectors that mix the classes' latents with noise, their places and their shard."""
    mixed = latent @ rng.normal(size=(latent.shape[1], DIMS)) + rng.normal(0, 0.5, (len(names), DIMS))
    spec = warehouse.specs["core_chips__patches"]
    flat = pa.array(mixed.astype(np.float32).ravel())
    columns = {
        "patch_id": pa.array(places.patch_id),
        "source_id": pa.array(names),
        "lon": pa.array(places.lon),
        "lat": pa.array(places.lat),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, DIMS),
        "is_simulated": pa.array([True] * len(names)),
    }
    warehouse.write(spec.name, PartitionKey(YEAR, "here"), _rows(spec, len(names), columns), PROVENANCE)
    spine = warehouse.specs["core_grid__patches"]
    held = {name: pa.array(getattr(places, name)) for name in PatchPlaces.__dataclass_fields__}
    warehouse.write(spine.name, PartitionKey(shard="here"), _rows(spine, len(names), held), PROVENANCE)
    shards = warehouse.specs["core_grid__shards"]
    warehouse.write(shards.name, PartitionKey(), _rows(shards, 1, {"shard": pa.array(["here"])}), PROVENANCE)
    write_index(warehouse, "chips", ["chips.parquet"])


def _rows(spec: TableSpec, n: int, columns: Mapping[str, pa.Array]) -> pa.Table:
    rows = declared_rows(spec, n, np.random.default_rng(0))
    for name, values in columns.items():
        position = rows.schema.get_field_index(name)
        rows = rows.set_column(position, rows.schema.field(position), values.cast(rows.schema.field(position).type))
    return rows
