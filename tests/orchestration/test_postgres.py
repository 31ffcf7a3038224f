"""Dagster's history in PostgreSQL: a run through a real server, its rows, and a restart.

Skips where no server is installed: `apt-get install postgresql` brings one (.ci/run does).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.orchestration.postgres_server import PostgresServer, find_binaries
from tests.tiny import PROJECT, clean_environment, digest_rows, quick_settings, run_pipeline, write_settings

TEMPLATE = PROJECT / "docs" / "deploy" / "postgres" / "dagster.yaml"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL: found no initdb on the path or in /usr/lib/postgresql. apt-get install postgresql")
    started = PostgresServer(binaries)
    try:
        yield started
    finally:
        started.remove()


def test_runs_and_events_are_rows_of_the_database_and_survive_its_crash(
    server: PostgresServer, tiny_world: Path, quick_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(TEMPLATE, home)
    config = write_settings(tmp_path / "quick.toml", quick_settings(tiny_world))
    with clean_environment():
        outcomes = run_pipeline(config)
    assert [outcome for outcome in outcomes if not outcome.ok] == []
    assert digest_rows(tmp_path / "warehouse") == digest_rows(quick_run.parent / "warehouse")

    assert server.query("select status, count(*) from runs group by status") == [("SUCCESS", len(outcomes))]
    written = "select count(*) from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION'"
    ((materialisations,),) = server.query(written)
    assert materialisations >= len(outcomes)
    assert list(home.rglob("*.db")) == []  # no second history in files

    server.stop()
    server.start()
    assert server.query(written) == [(materialisations,)]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
        assert len(instance.get_runs()) == len(outcomes)
        assert sorted(instance.get_dynamic_partitions("year")) == ["2024"]


def test_a_variable_that_is_not_set_is_named(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    shutil.copy(TEMPLATE, tmp_path)
    monkeypatch.delenv("DAGSTER_PG_PASSWORD")
    with pytest.raises(
        dg.DagsterInvalidConfigError if hasattr(dg, "DagsterInvalidConfigError") else Exception, match="DAGSTER_PG"
    ):
        dg.DagsterInstance.from_config(str(tmp_path))
