"""A whole run from a server that fails now and then stores what a run from the folder stores."""

from __future__ import annotations

from pathlib import Path

from tests.fault_server import Fault, serve
from tests.tiny import clean_environment, digest_rows, quick_settings, run_pipeline, write_settings


def test_a_run_from_a_failing_server_stores_the_same_rows(tiny_world: Path, tmp_path: Path) -> None:
    settings = quick_settings(tiny_world)
    with clean_environment():
        local = run_pipeline(write_settings(tmp_path / "local" / "tiny.toml", settings))
        assert all(outcome.ok for outcome in local)
        with serve(tiny_world) as server:
            server.faults += [
                Fault("status", status=503, times=3, after=5),
                Fault("reset", times=2, after=9),
                Fault("cut", times=2, after=3, path=r"\.tiff$"),
                Fault("short", times=1, path=r"\.parquet$"),
                Fault("status", status=500, times=2, after=1, method="HEAD"),
            ]
            for source in settings["sources"].values():
                below = Path(source["root"]).relative_to(tiny_world).as_posix()
                source |= {"root": f"{server.url}/{below}", "allow_http": True}
            settings["cache"] = {"root": "blocks", "max_gb": 1.0}
            remote = run_pipeline(write_settings(tmp_path / "remote" / "tiny.toml", settings))
            assert [outcome.problems for outcome in remote if not outcome.ok] == []
            assert sum(fault.hits for fault in server.faults) == 10
            assert [outcome.step for outcome in remote] == [outcome.step for outcome in local]
    stored, expected = (digest_rows(tmp_path / name / "warehouse") for name in ("remote", "local"))
    assert {name: digest for name, digest in stored.items() if "__index" not in name} == {
        name: digest for name, digest in expected.items() if "__index" not in name
    }
    assert any(name.startswith("core_aef__pixels") for name in stored)
