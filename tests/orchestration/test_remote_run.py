"""A whole run from a server that fails now and then stores what a run from the folder stores."""

from __future__ import annotations

from pathlib import Path

from tests.fault_server import Fault, serve
from tests.tiny import clean_environment, digest_rows, quick_settings, run_pipeline, write_settings


def test_a_run_from_a_failing_server_stores_the_same_rows(tiny_world: Path, quick_run: Path, tmp_path: Path) -> None:
    settings = quick_settings(tiny_world)
    for source in settings["sources"].values():
        source["allow_http"] = True
    settings["cache"] = {"root": "blocks", "max_gb": 1.0}
    with clean_environment(), serve(tiny_world) as server:
        server.faults += [
            Fault("status", status=503, times=3, after=5),
            Fault("reset", times=2, after=9),
            Fault("cut", times=2, after=3, path=r"\.tiff$"),
            Fault("short", times=1, path=r"\.parquet$"),
            Fault("status", status=500, times=2, after=1, method="HEAD"),
        ]
        for source in settings["sources"].values():
            source["root"] = f"{server.url}/{Path(source['root']).relative_to(tiny_world).as_posix()}"
        outcomes = run_pipeline(write_settings(tmp_path / "tiny.toml", settings))
        assert [outcome.problems for outcome in outcomes if not outcome.ok] == []
        assert sum(fault.hits for fault in server.faults) == 10
    stored, expected = (_digests(folder / "warehouse") for folder in (tmp_path, quick_run.parent))
    assert stored == expected
    assert any(name.startswith("core_aef__pixels") for name in stored)
    assert any(name.startswith("core_eg__patches") for name in stored)


def _digests(warehouse: Path) -> dict[str, str]:
    """Give the digests of all tables but the indexes, in which ETags are those of the server."""
    return {name: digest for name, digest in digest_rows(warehouse).items() if "__index" not in name}
