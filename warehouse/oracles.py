"""The oracles of a warehouse's labels: read the spine and the labels, count, score.

Belongs here: which patches and label sources are counted, batches, rows with their shared columns. Does not: the
oracles (`transforms/oracles/`), maps of windows (`oracle_windows.py`), Dagster.

Ground is every labelled cell of the patches of the primary lattice, so that nothing counts twice: the cells at which
`core_label_{source}__patches` samples its source. Embeddings are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.block_sizing import MIN_EDGE_M
from transforms.blocks import assign_blocks
from transforms.cell_rows import fill_columns
from transforms.label_rows import count_cells_along, footprint_cells
from transforms.oracles.agreement import compare_sources
from transforms.oracles.rows import Row, agreement_rows, confusion_table, oracle_rows, skipped_row
from transforms.oracles.tally import BlockCounts, Oracle, OracleKey, OracleTally, PatchCells
from transforms.places import PatchPlaces
from warehouse.fields import read_spine
from warehouse.label_sources import open_sampled_labels
from warehouse.labels.contract import SampledLabels
from warehouse.oracle_windows import OracleField, open_oracle_field, window_rows
from warehouse.store import Warehouse, any_simulated

METRICS_TABLE, CONFUSIONS_TABLE = "out_probe__oracles", "out_probe__oracle_confusions"
#: Patches whose cells are in memory at once: 1,024 cells each, of every class for C3.
_PATCHES_AT_ONCE = 1_024
_EVERY: tuple[Oracle, ...] = ("C0", "C1", "C3", "C4", "C6")


@dataclass(frozen=True)
class OracleTables:
    """Rows of one year, by table."""

    metrics: pa.Table
    confusions: pa.Table


def oracle_labels(warehouse: Warehouse, year: int) -> list[str]:
    """List the sources of classes that the settings map to an embedding year."""
    return [name for name, label in warehouse.settings.labels.items() if year in label.years and not label.columns]


def make_oracles(warehouse: Warehouse, year: int) -> OracleTables:
    """Run the oracles of every label source that is mapped to an embedding year.

    Args:
        warehouse: the warehouse; its spine and patch labels are stored.
        year: embedding year.

    Returns:
        The rows; an oracle that cannot be run is one row that says why.
    """
    is_simulated = any_simulated(warehouse)
    metrics, confusions = [], []
    for label in oracle_labels(warehouse, year):
        shared = {
            "task": "T5",
            "label_source": label,
            "label_year": warehouse.label(label).years[year],
            "is_simulated": is_simulated,
        }
        rows, counts = _run_label(warehouse, year, label)
        metrics.append(fill_columns(rows, shared, warehouse.specs[METRICS_TABLE].schema))
        confusions.append(_share(confusion_table(counts), shared, warehouse.specs[CONFUSIONS_TABLE].schema))
    empty = [warehouse.specs[table].schema.empty_table() for table in (METRICS_TABLE, CONFUSIONS_TABLE)]
    return OracleTables(pa.concat_tables([empty[0], *metrics]), pa.concat_tables([empty[1], *confusions]))


def _run_label(warehouse: Warehouse, year: int, label: str) -> tuple[list[Row], dict[OracleKey, BlockCounts]]:
    """Run the oracles of one label source: its rows, and confusions of each oracle."""
    source = open_sampled_labels(warehouse, label)
    if source is None:
        reason = "labels come one a patch or point: nothing is known inside a patch"
        return [skipped_row(OracleKey(oracle), reason) for oracle in _EVERY], {}
    patch = _patch_cells(warehouse)
    if patch is None:
        return [skipped_row(OracleKey(oracle), "no patch in the area of interest") for oracle in _EVERY], {}
    others = _other_sources(warehouse, year, label)
    fractions, problem = open_oracle_field(warehouse, year, label)
    tally = OracleTally(len(source.class_names), patch)
    for places in _primary_patches(warehouse):
        _add_patches(tally, warehouse, places, source, others, fractions)
    rows = _skipped_rows(patch, problem, has_others=bool(others))
    counts = {}
    for key, found in tally.results():
        if key.oracle == "C6":
            agreement = compare_sources(found.counts, source.class_names, others[str(key.other_source)].class_names)
            rows += agreement_rows(key, found, agreement, source.class_names)
            counts[key] = BlockCounts(found.block_id, agreement.confusions)
        else:
            rows += oracle_rows(key, found, source.class_names)
            counts[key] = found
    if fractions is not None:
        rows += window_rows(warehouse, source, fractions, patch, tally.patch_classes(), _block_edge_m(warehouse))
    return rows, counts


def _add_patches(
    tally: OracleTally,
    warehouse: Warehouse,
    places: PatchPlaces,
    source: SampledLabels,
    others: dict[str, SampledLabels],
    fractions: OracleField | None,
) -> None:
    """Sample the cells of some patches and count them."""
    lon, lat = footprint_cells(places)
    sampled = {name: (other.sample_classes(lon, lat), len(other.class_names)) for name, other in others.items()}
    tally.add(
        source.sample_classes(lon, lat),
        assign_blocks(places.lon, places.lat, _block_edge_m(warehouse)),
        interpolated=None if fractions is None else fractions.predict(lon, lat),
        others=sampled,
    )


def _skipped_rows(patch: PatchCells, problem: str, *, has_others: bool) -> list[Row]:
    """Say which oracles cannot be run on this ground."""
    cell_m = patch.side_m / patch.n_side
    rows = [
        skipped_row(OracleKey("C4", scale), f"blocks of {scale:g} m are no whole part of a patch in {cell_m:g} m cells")
        for scale in patch.scales
        if patch.block_px(scale) is None
    ]
    if problem:
        rows.append(skipped_row(OracleKey("C3", patch.side_m), problem))
    if not has_others:
        reason = "no other label source with a class at any point is mapped to this year; add one under [labels]"
        rows.append(skipped_row(OracleKey("C6"), reason))
    return rows


def _other_sources(warehouse: Warehouse, year: int, label: str) -> dict[str, SampledLabels]:
    found = {name: open_sampled_labels(warehouse, name) for name in oracle_labels(warehouse, year) if name != label}
    return {name: source for name, source in found.items() if source is not None}


def _block_edge_m(warehouse: Warehouse) -> float:
    """Give the edge of the spatial blocks: that of the evaluation where it is set.

    `auto` blocks are sized by the variogram of features too, which nothing has read yet: then, and without an
    evaluation, blocks have the least edge, and are not those of the arms.
    """
    evaluate = warehouse.settings.evaluate
    if evaluate is None or isinstance(evaluate.block_edge_m, str):
        return MIN_EDGE_M
    return evaluate.block_edge_m


def _primary_patches(warehouse: Warehouse) -> Iterator[PatchPlaces]:
    """Read the patches of the primary lattice (or those with footprints of their own), a batch at a time."""
    for key in warehouse.partitions("core_grid__patches"):
        places = read_spine(warehouse, key.shard)
        places = places.take(places.lattice != "secondary")
        for start in range(0, len(places), _PATCHES_AT_ONCE):
            yield places.take(np.arange(start, min(start + _PATCHES_AT_ONCE, len(places))))


def _patch_cells(warehouse: Warehouse) -> PatchCells | None:
    """Say how patches are cut into cells; None without patches."""
    first = next(_primary_patches(warehouse), None)
    if first is None:
        return None
    return PatchCells(float(np.median(first.side_m)), count_cells_along(first))


def _share(rows: pa.Table, shared: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """Add shared columns to a table and put it into a declared schema."""
    values = {name: pa.array([value] * rows.num_rows, schema.field(name).type) for name, value in shared.items()}
    return pa.table({name: values[name] if name in values else rows[name] for name in schema.names}, schema=schema)
