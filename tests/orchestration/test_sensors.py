"""Ticks of the release sensors, as Dagster evaluates them, and the job that they ask for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.definitions import build_defs
from orchestration.pipeline_job import PIPELINE_JOB
from orchestration.resources import WarehouseResource
from orchestration.schedules import SCHEDULE
from orchestration.sensors import CLOSING_SENSOR, SHARDS_TAG, WHY_TAG, YEARS_TAG
from tests.release_worlds import EG, Producers
from tests.tiny import quick_settings, write_settings
from warehouse.errors import SettingsError
from warehouse.settings import load_settings

pytestmark = pytest.mark.usefixtures("clean_env")


@pytest.fixture
def config(producers: Producers, tmp_path: Path) -> Path:
    automation = {"watch": True, "follow": True, "look_every_s": 60}
    return write_settings(tmp_path / "quick.toml", quick_settings(producers.root) | {"automation": automation})


class Sensor:
    """One sensor, evaluated again and again with its cursor."""

    def __init__(self, config: Path, name: str) -> None:
        defs = build_defs(config)
        self.definition = next(sensor for sensor in defs.sensors or [] if sensor.name == name)
        self.resources = {"isthmus": WarehouseResource(config=str(config))}
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None

    def tick(self, *, keeps_cursor: bool = True) -> Any:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=self.resources, sensor_name=self.definition.name
        )
        data = self.definition.evaluate_tick(context)
        if keeps_cursor:
            self.cursor = data.cursor
        return data


def test_nothing_is_registered_unless_the_settings_ask(tmp_path: Path) -> None:
    defs = build_defs(write_settings(tmp_path / "quick.toml", quick_settings(tmp_path)))
    assert not defs.sensors
    assert not defs.schedules
    assert PIPELINE_JOB not in [job.name for job in defs.jobs or []]


def test_watching_registers_a_sensor_a_product_that_runs_from_the_start(config: Path) -> None:
    defs = build_defs(config)
    sensors = {sensor.name: sensor for sensor in defs.sensors or []}
    assert sorted(sensors) == ["alert_on_failure", CLOSING_SENSOR, "watch_aef", "watch_eg"]
    assert {sensor.default_status for sensor in sensors.values()} == {dg.DefaultSensorStatus.RUNNING}
    assert sensors["watch_eg"].minimum_interval_seconds == 60
    assert not defs.schedules
    dg.Definitions.validate_loadable(defs)


def test_a_schedule_is_one_setting(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path) | {"automation": {"schedule": "0 6 * * 1", "timezone": "Asia/Phnom_Penh"}}
    defs = build_defs(write_settings(tmp_path / "quick.toml", settings))
    (schedule,) = defs.schedules or []
    assert (schedule.name, schedule.cron_schedule, schedule.execution_timezone) == (
        SCHEDULE,
        "0 6 * * 1",
        "Asia/Phnom_Penh",
    )
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert [sensor.name for sensor in defs.sensors or []] == [CLOSING_SENSOR, "alert_on_failure"]
    dg.Definitions.validate_loadable(defs)


def test_a_schedule_asks_for_the_whole_pipeline(tmp_path: Path) -> None:
    config = write_settings(
        tmp_path / "quick.toml", quick_settings(tmp_path) | {"automation": {"schedule": "0 6 * * 1"}}
    )
    (schedule,) = build_defs(config).schedules or []
    monday = datetime(2027, 5, 3, 6, tzinfo=UTC)
    context = dg.build_schedule_context(dg.DagsterInstance.ephemeral(), scheduled_execution_time=monday)
    (request,) = schedule.evaluate_tick(context).run_requests or []
    assert (schedule.job_name, request.run_config) == (PIPELINE_JOB, {})


@pytest.mark.parametrize(
    ("automation", "words"),
    [
        ({"schedule": "monday"}, "five fields"),
        ({"schedule": "99 6 * * 1"}, "99 6"),
        ({"schedule": "0 6 * * 1", "timezone": "Mars/Olympus"}, "Mars"),
        ({"watch": True, "look_every_s": 0}, "look_every_s"),
    ],
)
def test_times_that_are_none_are_settings_errors(tmp_path: Path, automation: dict[str, Any], words: str) -> None:
    config = write_settings(tmp_path / "quick.toml", quick_settings(tmp_path) | {"automation": automation})
    with pytest.raises(SettingsError, match=words):
        build_defs(config)


def test_ticks_of_a_product(config: Path, producers: Producers) -> None:
    sensor = Sensor(config, "watch_aef")
    assert "settling" in str(sensor.tick().skip_message)
    first = sensor.tick()
    (request,) = first.run_requests
    assert request.tags[YEARS_TAG] == "2024"
    assert "complete for the area" in request.tags[WHY_TAG]
    assert sensor.tick().run_requests == []
    producers.publish_aef(2025)
    assert sensor.tick().run_requests == []
    second = sensor.tick()
    (request,) = second.run_requests
    assert request.run_config["ops"]["run_pipeline"]["config"] == {
        "take": [{"product": "aef", "year": 2025, "watched": "aef"}]
    }
    (partitions,) = second.dynamic_partitions_requests
    assert (partitions.partitions_def_name, list(partitions.partition_keys)) == ("year", ["2025"])
    assert "unchanged" in str(sensor.tick().skip_message)


def test_a_tick_that_is_repeated_asks_with_the_same_key(config: Path) -> None:
    sensor = Sensor(config, "watch_eg")
    sensor.tick()
    keys = [sensor.tick(keeps_cursor=False).run_requests[0].run_key for _ in range(2)]
    assert keys[0] == keys[1]


def test_a_reissued_file_names_its_shards(quick_run: Path, tmp_path: Path, tiny_world: Path) -> None:
    producers = Producers(tiny_world, tmp_path / "world")
    settings = quick_settings(producers.root) | {"automation": {"watch": True}}
    settings["warehouse"]["root"] = str(quick_run.parent / "warehouse")  # read only: the shards of a finished run
    sensor = Sensor(write_settings(tmp_path / "quick.toml", settings), "watch_aef")
    assert "unchanged" in str(sensor.tick().skip_message)
    raster = next((producers.root / "aef/v1/annual/2024/48N").glob("*.tiff"))
    content = raster.read_bytes()
    raster.unlink()
    raster.write_bytes(content)
    assert "settling" in str(sensor.tick().skip_message)
    (request,) = sensor.tick().run_requests
    assert request.tags[SHARDS_TAG] == "48PSV"
    assert request.run_config["ops"]["run_pipeline"]["config"] == {"take": []}


def test_a_source_that_is_down_is_left_alone_until_it_is_due(config: Path, producers: Producers) -> None:
    sensor = Sensor(config, "watch_eg")
    sensor.tick()
    sensor.tick()
    producers.vanish(EG)
    assert "1 look in a row failed, next one in 1 min" in str(sensor.tick().skip_message)
    producers.come_back(EG)
    waiting = sensor.tick()
    assert "failed 1 looks" in str(waiting.skip_message)
    state = json.loads(str(sensor.cursor))
    sensor.cursor = json.dumps({**state, "retry_at": 0.0})
    assert "back" in str(sensor.tick().skip_message)


def test_news_that_nobody_gets_are_said_by_the_tick(config: Path, producers: Producers) -> None:
    config.write_text(config.read_text() + '[alerts]\ncommand = ["false"]\n')
    sensor = Sensor(config, "watch_eg")
    sensor.tick()
    sensor.tick()
    producers.publish_eg(2025)
    first, second = sensor.tick(), sensor.tick()
    assert "alert: found command false: exit code 1" in str(first.skip_message)
    assert "[products.eg_2025]" in str(first.skip_message)
    assert "alert:" not in str(second.skip_message)


def test_the_job_takes_the_year_and_runs_the_pipeline(config: Path, producers: Producers) -> None:
    producers.publish_aef(2025)
    defs = build_defs(config)
    home = config.parent / "dagster"
    from orchestration.pipeline import open_instance
    from warehouse.store import Warehouse

    with open_instance(Warehouse(load_settings(config)), config) as instance:
        taken = {"ops": {"run_pipeline": {"config": {"take": [{"product": "aef", "year": 2025, "watched": "aef"}]}}}}
        result = defs.resolve_job_def(PIPELINE_JOB).execute_in_process(instance=instance, run_config=taken)
        jobs = {run.job_name for run in instance.get_runs()}
    assert result.success
    assert {"plan", "ingest", "derive", PIPELINE_JOB} <= jobs
    warehouse = Warehouse(load_settings(config))
    assert warehouse.settings.years == (2024, 2025)
    assert {key.year for key in warehouse.partitions("core_aef__pixels")} == {2024, 2025}
    assert {key.year for key in warehouse.partitions("core_eg__patches")} == {2024}
    assert home.is_dir()


def test_the_job_fails_with_what_its_steps_said(config: Path, producers: Producers) -> None:
    bad = producers.eg_file("48PSV", 2024)
    bad.unlink()
    bad.write_bytes(b"PAR1 but not for long")
    from orchestration.pipeline import open_instance
    from warehouse.store import Warehouse

    with open_instance(Warehouse(load_settings(config)), config) as instance:
        job = build_defs(config).resolve_job_def(PIPELINE_JOB)
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    steps = failure.metadata["failed_steps"].value
    assert {step["job"] for step in steps} == {"ingest"}  # type: ignore[union-attr,index]  # a list of ours
    assert "48PSV_2024-01-01_2025-01-01.parquet" in str(failure.description)
