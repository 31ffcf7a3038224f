"""The code location: everything that Dagster sees, for one settings file.

Belongs here: putting assets, checks, jobs, sensors and resources together. Does not: any of their bodies.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from assets.adapters import build_adapter_assets
from assets.answers import build_answer_assets
from assets.bases import build_basis_asset, build_codebook_asset
from assets.evidence import build_cells_asset, build_contrasts_asset, build_folds_asset
from assets.fold_audit import build_fold_audit_asset
from assets.grid import build_shards_asset, build_spine_asset
from assets.labels import build_patch_label_asset, build_pixel_label_asset
from assets.oracles import build_oracles_asset
from assets.patches import build_patches_asset
from assets.pixels import build_pixels_asset
from assets.pooled import build_pooled_asset
from assets.release_index import build_index_asset
from assets.upsampled import build_upsampled_asset
from orchestration.alerts import build_failure_alerts
from orchestration.checks import build_checks
from orchestration.engines import build_engine
from orchestration.jobs import build_jobs
from orchestration.pipeline_job import build_pipeline_job
from orchestration.progress_log import PROGRESS_LOGGER, progress_logger
from orchestration.resources import WarehouseResource
from orchestration.schedules import build_schedules
from orchestration.sensors import build_closing_sensor, build_release_sensor
from warehouse.settings import load_settings
from warehouse.store import Warehouse

#: Environment variable with the settings file of a code location.
CONFIG_VARIABLE = "ISTHMUS_CONFIG"
DEFAULT_CONFIG = Path(__file__).resolve().parent.parent / "examples" / "demo.toml"


def build_defs(config: Path | str | None = None, **overrides: object) -> dg.Definitions:
    """Build the code location of one settings file.

    Args:
        config: settings file; None = the one that ISTHMUS_CONFIG names, else the demo's.
        overrides: arguments of `dagster.Definitions` to replace, e.g. `resources`, for tests.
    """
    path = Path(config or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
    warehouse = Warehouse(load_settings(path))
    assets = build_assets(warehouse)
    tables = {key.to_user_string() for asset in assets for key in asset.keys}
    checks = build_checks(warehouse, tables)
    parts: dict[str, object] = {
        "assets": assets,
        "asset_checks": checks,
        "jobs": build_jobs(assets, checks),
        **build_automation(warehouse, str(path)),
        # what Dagster would take anyway, said aloud: a process a step, or this one where the launchpad says so
        "executor": dg.multi_or_in_process_executor,
        "loggers": {"console": dg.colored_console_logger, PROGRESS_LOGGER: progress_logger},
        "resources": {
            "isthmus": WarehouseResource(config=str(path.resolve())),
            "engine": build_engine(warehouse.settings.engine),
        },
    }
    return dg.Definitions(**{**parts, **overrides})  # type: ignore[arg-type]  # keyword overrides of any part


def build_assets(warehouse: Warehouse) -> list[dg.AssetsDefinition]:
    """Declare the assets that the products, labels and tasks of the settings ask for."""
    products = list(warehouse.products.values())
    pixels, patches = warehouse.pixel_product, warehouse.patch_product
    assets = [*(build_index_asset(product) for product in products), build_shards_asset(products)]
    if patches is not None:
        assets.append(build_spine_asset(patches))
    for product in products:
        build = build_patches_asset if product.grain == "patch" else build_pixels_asset
        assets.append(build(product))
    labels, patch_labels = [], []
    for label, settings in warehouse.settings.labels.items():
        if warehouse.labels_pixels(label) and pixels is not None:
            labels.append(build_pixel_label_asset(label, pixels, has_values=bool(settings.columns)))
        if warehouse.labels_patches(label) and patches is not None:
            ids_of = patches if settings.kind == "bigearthnet" else None
            patch_labels.append(build_patch_label_asset(label, ids_of=ids_of))
    labels += patch_labels
    if patch_labels:
        assets.append(build_oracles_asset([asset.key.to_user_string() for asset in patch_labels]))
    derived = []
    if pixels is not None and patches is not None:
        if warehouse.pools:
            if warehouse.needs_codebook:
                assets.append(build_codebook_asset(pixels))
            derived.append(build_pooled_asset(pixels, patches, needs_codebook=warehouse.needs_codebook))
        if warehouse.asks("T5"):
            assets.append(build_basis_asset(patches))
            derived.append(build_upsampled_asset(patches, pixels))
    core = [f"core_{p.name}__{'patches' if p.grain == 'patch' else 'pixels'}" for p in products]
    assets += [*labels, *derived]
    if warehouse.settings.evaluate is not None:
        assets.append(build_folds_asset([asset.key.to_user_string() for asset in labels], core))
        assets.append(build_fold_audit_asset(core))
        assets.append(build_cells_asset([*core, *(asset.key.to_user_string() for asset in derived)]))
        if warehouse.settings.adapter is not None:
            assets += build_adapter_assets(core)
        assets.append(build_contrasts_asset())
        assets += build_answer_assets(_list_evidence(assets))
    return assets


def build_automation(warehouse: Warehouse, config: str) -> dict[str, object]:
    """Declare what runs by itself, and the alerts about runs that fail, as far as the settings ask.

    Returns:
        Arguments of `dagster.Definitions`: sensors and schedules, both empty by default.
    """
    automation, alerts = warehouse.settings.automation, warehouse.settings.alerts
    sensors: list[dg.SensorDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    if automation.is_on:  # the job is theirs; a person has `isthmus run`
        job = build_pipeline_job()
        schedules += build_schedules(automation, job, config)
        sensors.append(build_closing_sensor())
        if automation.watch:
            every_s = automation.look_every_s
            sensors += [build_release_sensor(product, job, every_s) for product in warehouse.products.values()]
    if automation.is_on or alerts.is_on:
        sensors.append(build_failure_alerts())
    return {"sensors": sensors, "schedules": schedules}


def _list_evidence(assets: Sequence[dg.AssetsDefinition]) -> list[str]:
    """List the evidence tables that the settings ask for: the answers are read off all of them."""
    return sorted(
        key.to_user_string() for asset in assets for key in asset.keys if key.path[-1].startswith("out_probe__")
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Give Dagster the code location of the settings file that the environment names."""
    return build_defs()
