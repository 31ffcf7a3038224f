"""Asset checks: SQL that returns failing rows, shown in the UI beside the asset that they judge.

Belongs here: which check judges which table, and which ones block. Does not: the SQL (`sql/checks/`).

Checks look at whole tables, so they are not partitioned. The pipeline runs them once, after everything is
derived and before anything is evaluated; the UI runs an asset's checks whenever it materialises the asset.
"""

from collections.abc import Collection
from dataclasses import dataclass

import dagster as dg

from orchestration.resources import WarehouseResource
from warehouse.checks_sql import CheckResult, run_checks
from warehouse.queries import Catalog
from warehouse.store import Warehouse


@dataclass(frozen=True)
class CheckRule:
    """Which table a check judges.

    Attributes:
        name: file in `sql/checks`.
        table: the table, with `{pixels}`, `{patches}`, `{label}` for the compared products and label source.
        blocking: True where a failing row makes every number after it worthless.
        or_table: judged instead where the settings have no such table.
    """

    name: str
    table: str
    blocking: bool
    or_table: str = ""


RULES = (
    CheckRule("years_left_out", "raw_{patches}__index", blocking=False, or_table="raw_{pixels}__index"),
    CheckRule("models_mixed", "core_{patches}__patches", blocking=True, or_table="core_{pixels}__pixels"),
    CheckRule("provenance_incomplete", "core_{patches}__patches", blocking=False, or_table="core_{pixels}__pixels"),
    CheckRule("unusable_vectors", "core_{patches}__patches", blocking=True, or_table="core_{pixels}__pixels"),
    CheckRule("unit_norm", "core_{pixels}__pixels", blocking=True),
    CheckRule("nodata_all_or_none", "core_{pixels}__pixels", blocking=True),
    CheckRule("north_up", "core_{pixels}__pixels", blocking=True),
    CheckRule("pixel_id_against_geometry", "core_{pixels}__pixels", blocking=True),
    CheckRule("duplicate_pixel_ids", "core_{pixels}__pixels", blocking=True),
    CheckRule("outlier_pixels", "core_{pixels}__pixels", blocking=False),
    CheckRule("patch_in_two_shards", "core_grid__patches", blocking=True),
    CheckRule("patch_id_against_geometry", "core_grid__patches", blocking=True),
    CheckRule("duplicate_patch_ids", "core_{patches}__patches", blocking=True),
    CheckRule("patches_missing_from_spine", "core_{patches}__patches", blocking=True),
    CheckRule("row_count_within_expected", "core_{patches}__patches", blocking=False),
    CheckRule("source_notes", "core_{pixels}__pixels", blocking=False, or_table="core_{patches}__patches"),
    CheckRule("outlier_patches", "core_{patches}__patches", blocking=False),
    CheckRule("patch_seams", "core_{patches}__patches", blocking=False),
    CheckRule("pooled_without_patch", "out_patch__{pixels}_pooled", blocking=True),
    CheckRule("pooled_seams", "out_patch__{pixels}_pooled", blocking=False),
    CheckRule("codes_of_another_basis", "out_pixel__{patches}_upsampled", blocking=False),
    CheckRule("label_coverage", "core_label_{label}__pixels", blocking=False, or_table="core_label_{label}__patches"),
    CheckRule("label_notes", "core_label_{label}__pixels", blocking=False, or_table="core_label_{label}__patches"),
    CheckRule("fold_shared_by_both_grains", "out_probe__folds", blocking=True),
    CheckRule("train_test_too_close", "out_probe__fold_audit", blocking=True),
    CheckRule("label_year_apart", "out_probe__metrics", blocking=False),
    CheckRule("simulated_flag_consistent", "out_probe__metrics", blocking=True),
    CheckRule("evidence_of_other_models", "out_probe__metrics", blocking=False),
    CheckRule("contrasts_match_confusions", "out_probe__contrasts", blocking=True),
    CheckRule("one_verdict_per_question", "out_probe__contrasts", blocking=True),
)


def list_judged(warehouse: Warehouse, tables: Collection[str]) -> list[tuple[CheckRule, str]]:
    """Give the rules whose table is among some, each with that table.

    Args:
        warehouse: says which products and label source are compared.
        tables: tables of the settings, by name.
    """
    settings = warehouse.settings
    names = {
        "pixels": settings.compare.pixels,
        "patches": settings.compare.patches,
        "label": settings.evaluate.label if settings.evaluate is not None else None,
    }
    judged = []
    for rule in RULES:
        names_of_rule = [table.format(**names) for table in (rule.table, rule.or_table)]
        found = next((table for table in names_of_rule if table in tables), None)
        if found is not None:
            judged.append((rule, found))
    return judged


def build_checks(warehouse: Warehouse, tables: Collection[str]) -> list[dg.AssetChecksDefinition]:
    """Declare the checks whose table is among the assets of the settings."""
    return [_build_check(rule, table) for rule, table in list_judged(warehouse, tables)]


def _build_check(rule: CheckRule, table: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=rule.name,
        asset=dg.AssetKey(table),
        blocking=rule.blocking,
        description=f"sql/checks/{rule.name}.sql returns no rows.",
    )
    def check(isthmus: WarehouseResource) -> dg.AssetCheckResult:
        warehouse = isthmus.open()
        with Catalog(warehouse.root, warehouse.specs, warehouse.settings.compare) as catalog:
            (result,) = catalog.ask(lambda connection: run_checks(connection, [rule.name]))
        return _describe(result, rule.blocking)

    return check


def _describe(result: CheckResult, blocking: bool) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=result.n_failing == 0,
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        metadata={
            "rule": result.purpose,
            "meaning": result.meaning,
            "fix": result.fix,
            "failing_rows": result.n_failing,
            "first_failing_rows": dg.MetadataValue.json(
                [{name: str(value) for name, value in row.items()} for row in result.sample.to_pylist()]
            ),
        },
    )
