"""Jobs: which assets run together, in the order of the pipeline.

Belongs here: job names and their selections. Does not: partitions (`partitions.py`), how a command runs jobs
(`pipeline.py`). All partitioned assets of a job share one partitions definition: Dagster refuses mixtures, so
there is a job per kind of partition. Checks look at whole tables and run in jobs of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

#: Job -> (asset groups, what it does), in order.
JOBS: dict[str, tuple[str, str]] = {
    "plan": ("1_plan", "Look at the releases and cut the area of interest into shards."),
    "grid": ("2_grid", "Place the patches of one shard."),
    "ingest": ("3_core", "Read the source files of one year and shard into the core tables."),
    "label": ("4_labels", "Put labels on the places of one label year and shard."),
    "oracles": ("5_oracles", "Score what the labels of one year alone allow; needs no embeddings."),
    "bases": ("5_bases", "Fit what is stored for maps and search, from all shards of one year."),
    "derive": ("5_derived", "Cross the grains for one year and shard: pool pixels, upsample patches."),
    "evaluate": ("6_evidence", "Folds, probes, scores and verdicts of one year."),
    "publish": ("7_answers", "Refresh warehouse.duckdb and the report."),
}
#: Checks before and after evaluation.
CHECK_JOBS = {
    "check_tables": ("1_plan", "2_grid", "3_core", "4_labels", "5_bases", "5_derived"),
    "check_evidence": ("6_evidence",),
}


def build_jobs(
    assets: Sequence[dg.AssetsDefinition], checks: Sequence[dg.AssetChecksDefinition]
) -> list[dg.UnresolvedAssetJobDefinition]:
    """Declare the jobs whose groups have assets, and the check jobs whose groups have checks."""
    groups = {group for asset in assets for group in asset.group_names_by_key.values()}
    group_of = {key: group for asset in assets for key, group in asset.group_names_by_key.items()}
    checked = {group_of[key.asset_key] for check in checks for key in check.check_keys}
    jobs = [
        dg.define_asset_job(name, selection=dg.AssetSelection.groups(group).without_checks(), description=description)
        for name, (group, description) in JOBS.items()
        if group in groups
    ]
    for name, wanted in CHECK_JOBS.items():
        keys = [check_key for check in checks for check_key in check.check_keys]
        mine = [key for key in keys if group_of[key.asset_key] in wanted]
        if checked & set(wanted):
            selection = dg.AssetSelection.checks(*mine)
            jobs.append(dg.define_asset_job(name, selection=selection, description="Run the SQL checks."))
    return jobs
