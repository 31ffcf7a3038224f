"""`--engine` and `--address` win over the settings file, and are checked as it is."""

from __future__ import annotations

from pathlib import Path

from tests.orchestration.conftest import Call


def test_a_cluster_without_an_address_is_wrong_use(call: Call, tiny_config: Path) -> None:
    code, out, err = call("run", "--config", tiny_config, "--engine", "dask")
    assert code == 2
    assert out == ""
    assert "key 'engine': kind 'dask' needs address, e.g. tcp://scheduler:8786" in err


def test_an_address_without_a_cluster_is_wrong_use(call: Call, tiny_config: Path) -> None:
    code, _, err = call("run", "--config", tiny_config, "--address", "tcp://127.0.0.1:8786")
    assert code == 2
    assert "set kind = 'dask'" in err


def test_an_engine_that_nobody_knows_is_answered_with_those_that_there_are(call: Call, tiny_config: Path) -> None:
    code, _, err = call("run", "--config", tiny_config, "--engine", "ray")
    assert code == 2
    assert "key 'engine.kind'" in err
    assert "'local' or 'dask'" in err
