"""The command line: help, exit codes, clean standard output, messages that name file and key."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from orchestration.cli import app
from tests.conftest import TinyRun
from tests.orchestration.conftest import Call
from tests.tiny import PROJECT, clean_environment, tiny_settings, write_settings


def list_commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from list_commands(child, (*path, name))


COMMANDS = list(list_commands(typer.main.get_command(app)))


def test_the_commands_of_the_issue_are_there() -> None:
    expected = {("demo",), ("world", "build"), ("run",), ("status",), ("sql",), ("report",), ("ui",)}
    assert expected <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_of_every_command(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert "Options" in result.output


def test_help_starts_without_dagster() -> None:
    code = """if True:
        import sys
        import orchestration.cli
        sys.argv = ["isthmus", "--help"]
        try:
            orchestration.cli.main()
        except SystemExit:
            sys.exit(3 if {"dagster", "rasterio", "duckdb", "numpy"} & set(sys.modules) else 0)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=PROJECT, check=False)
    assert done.returncode == 0, done.stderr


def test_sql_prints_a_json_array_and_nothing_else(call: Call, tiny_run: TinyRun) -> None:
    query = "select shard, count(*) as n, max(patch_id) as id from core_eg__patches group by all order by all"
    code, out, err = call("sql", query, "--json", "-c", tiny_run.config)
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [list(row) for row in rows] == [["shard", "n", "id"]] * 4
    assert all(isinstance(row["id"], int) and row["id"] > 2**53 for row in rows)


def test_sql_of_a_process_of_its_own_is_as_clean(tiny_run: TinyRun) -> None:
    command = [sys.executable, "-m", "orchestration.cli", "sql", "from verdicts", "--json", "-c", str(tiny_run.config)]
    with clean_environment():
        done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 0, done.stderr
    assert {row["question"] for row in json.loads(done.stdout)} == {"Q1", "Q2"}
    assert done.stderr == ""


@pytest.mark.parametrize(
    "value", ["'a [bold]b[/] c'", "null", "1.5", "'x'::blob", "[1, 2]", "{'a': 1}", "date '2024-02-29'"]
)
def test_json_holds_any_value(call: Call, tiny_run: TinyRun, value: str) -> None:
    code, out, _ = call("sql", f"select {value} as value", "--json", "-c", tiny_run.config)
    assert code == 0
    (row,) = json.loads(out)
    expected = {"null": None, "1.5": 1.5, "'a [bold]b[/] c'": "a [bold]b[/] c", "[1, 2]": [1, 2], "{'a': 1}": {"a": 1}}
    assert row["value"] == expected.get(value, row["value"])


def test_an_empty_answer_is_an_empty_array(call: Call, tiny_run: TinyRun) -> None:
    assert call("sql", "select 1 as one where false", "--json", "-c", tiny_run.config) == (0, "[]\n", "")


def test_sql_takes_files_and_parameters(call: Call, tiny_run: TinyRun) -> None:
    path = PROJECT / "sql/examples/sample_of_pixels.sql"
    code, out, _ = call("sql", path, "-p", "n=3", "-p", "seed=2", "--json", "-c", tiny_run.config)
    assert code == 0
    assert len(json.loads(out)) == 3
    code, out, _ = call("sql", "select $word as word", "-p", "word=four", "--json", "-c", tiny_run.config)
    assert json.loads(out) == [{"word": "four"}]


def test_sql_shows_a_table(call: Call, tiny_run: TinyRun) -> None:
    code, out, err = call("sql", "select 'four' as word, 2 as n, null as nothing", "-c", tiny_run.config)
    assert (code, err) == (0, "")
    assert re.search(r"word\W+n\W+nothing", out)
    assert re.search(r"four\W+2\W+", out)


@pytest.mark.parametrize("text", ["a [red]b[/] c", "[/x]"])
def test_sql_shows_text_as_it_is(call: Call, tiny_run: TinyRun, text: str) -> None:
    code, out, _ = call("sql", f"select '{text}' as value", "-c", tiny_run.config)
    assert code == 0
    assert text in out


@pytest.mark.parametrize("query", ["select nothing from nowhere", "selct 1", "select $a, 1 from", ""])
def test_a_failing_query_is_exit_1_and_one_message(call: Call, tiny_run: TinyRun, query: str) -> None:
    code, out, err = call("sql", query, "--json", "-c", tiny_run.config)
    assert (code, out) == (1, "")
    assert err.startswith("error sql: ")
    assert "show tables" in err
    assert "Traceback" not in err


def test_sql_changes_nothing(call: Call, tiny_run: TinyRun) -> None:
    before = sorted(path.name for path in tiny_run.warehouse.root.iterdir())
    call("sql", "create table mine as select 1", "-c", tiny_run.config)
    assert sorted(path.name for path in tiny_run.warehouse.root.iterdir()) == before
    assert call("sql", "from mine", "-c", tiny_run.config)[0] == 1


@pytest.mark.parametrize("command", [("sql", "select 1"), ("status",), ("report",)], ids=lambda c: c[0])
def test_no_warehouse_yet_is_exit_3_and_says_what_to_run(
    call: Call, tiny_config: Path, command: tuple[str, ...]
) -> None:
    code, out, err = call(*command, "-c", tiny_config)
    assert (code, out) == (3, "")
    assert str(tiny_config.parent / "warehouse") in err.replace("\n", "")
    assert "isthmus run --config" in err


def test_the_command_to_run_can_be_copied(call: Call, tiny_config: Path) -> None:
    _, _, err = call("status", "-c", tiny_config)
    assert f"isthmus run --config {tiny_config}`" in err


@pytest.mark.parametrize("command", [("run",), ("status",), ("sql", "select 1"), ("report",)], ids=lambda c: c[0])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sample = 0.03", "sampel = 0.03", ["keep.sampel", "unknown", "'sample'"]),
        ("sample = 0.03", "sample = 3", ["keep.sample", "less than or equal to 1"]),
        ('shard_rule = "mgrs"', 'shard_rule = "square"', ["area.shard_rule", "'mgrs', 'region' or 'file'"]),
        ('pixels = "aef"', 'pixels = "eaf"', ["eaf", "known"]),
        ("[area]", "[area", ["not valid TOML"]),
    ],
    ids=["unknown key", "impossible value", "unknown choice", "unknown product", "no TOML"],
)
def test_bad_settings_are_exit_2_and_name_file_and_key(
    call: Call, tiny_config: Path, command: tuple[str, ...], old: str, new: str, words: list[str]
) -> None:
    text = tiny_config.read_text()
    assert old in text
    tiny_config.write_text(text.replace(old, new))
    code, out, err = call(*command, "-c", tiny_config)
    assert (code, out) == (2, "")
    assert str(tiny_config) in err
    assert [word for word in words if word not in err] == []
    assert "Traceback" not in err


def test_missing_settings_are_exit_2(call: Call, tmp_path: Path) -> None:
    code, _, err = call("run", "-c", tmp_path / "none.toml")
    assert code == 2
    assert "none.toml: found no file" in err


@pytest.mark.parametrize(
    "arguments",
    [("fly",), ("sql",), ("run", "--colour"), ("demo", "--size", "huge"), ("world", "build", "--size", "huge")],
    ids=" ".join,
)
def test_wrong_use_is_exit_2(call: Call, arguments: tuple[str, ...]) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err


def test_wrong_parameters_are_refused(call: Call, tiny_run: TinyRun) -> None:
    assert call("sql", "select $a as a", "-p", "a", "-c", tiny_run.config)[0] == 2
    code, _, err = call("sql", "select 1 as a", "-p", "b=1", "-c", tiny_run.config)
    assert code == 1
    assert "b" in err


def test_environment_overrides_the_file(
    call: Call, tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ISTHMUS_WAREHOUSE__ROOT", str(tmp_path / "elsewhere"))
    code, _, err = call("status", "-c", tiny_run.config)
    assert code == 3
    assert str(tmp_path / "elsewhere") in err.replace("\n", "")


def test_config_comes_from_the_environment_too(call: Call, tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_CONFIG", str(tiny_run.config))
    assert call("sql", "select 1 as one", "--json") == (0, '[{"one": 1}]\n', "")


def test_status_lists_what_is_stored(call: Call, tiny_run: TinyRun) -> None:
    code, out, err = call("status", "--json", "-c", tiny_run.config)
    assert (code, err) == (0, "")
    rows = {row["table_name"]: row for row in json.loads(out)}
    stored = {path.name for path in tiny_run.warehouse.root.iterdir() if path.is_dir()}
    assert {name for name, row in rows.items() if row["n_files"]} == stored
    n_patches = tiny_run.sql("select count(*) as n from core_eg__patches").to_pylist()[0]["n"]
    assert rows["core_eg__patches"]["n_rows"] == n_patches
    files = list((tiny_run.warehouse.root / "core_eg__patches").rglob("*.parquet"))
    assert rows["core_eg__patches"]["n_files"] == len(files) == 4
    assert rows["core_eg__patches"]["n_bytes"] == sum(path.stat().st_size for path in files)


def test_status_reads_as_a_table(call: Call, tiny_run: TinyRun) -> None:
    code, out, _ = call("status", "-c", tiny_run.config)
    assert code == 0
    assert re.search(r"core_eg__patches\W+4\W+\d+\W+\d+", out)


def test_report_is_written_where_asked(call: Call, tiny_run: TinyRun, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "page.html"
    code, out, _ = call("report", "-o", target, "-c", tiny_run.config)
    assert (code, out.strip()) == (0, str(target))
    page = target.read_text(encoding="utf-8")
    assert "simulated" in page.lower()
    assert "produced by Google and Google DeepMind" in page
    assert not re.search(r"""(?:src|href)=["']https?://[^"']+\.(?:js|css|png|svg|woff2?)""", page)  # opens offline


def test_world_build_says_what_is_there(call: Call, tiny_world: Path) -> None:
    code, out, err = call("world", "build", "--size", "tiny", "--root", tiny_world, "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert row["size"] == "tiny"
    assert row["root"] == str(tiny_world)
    assert row["was_built"] is False
    assert row["n_patches"] < row["n_patch_rows"]
    assert row["years"] == [2023, 2024]
    assert "already there" in err


def test_world_build_refuses_somebody_elses_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    code, out, err = call("world", "build", "--root", tmp_path, "--json")
    assert (code, out) == (1, "")
    assert "found a folder without SIMULATED.json" in err
    assert (tmp_path / "thesis.txt").exists()


def test_run_prints_verdicts_and_where_things_are(call: Call, tiny_world: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_world) | {"years": [2024]}
    settings["area"]["bbox"] = [102.001, 12.648, 102.02, 12.665]
    settings["keep"] = {"sample": 0.02}
    settings["evaluate"] |= {"tasks": ["T5"], "block_edge_m": 500, "buffer_m": 0, "max_train_units": 200}
    config = write_settings(tmp_path / "tiny.toml", settings)
    code, out, err = call("run", "-c", config)
    assert code == 0, err
    assert re.search(
        r"Q2  upsampled_bilinear - native_pixel: [+-]0\.\d{3} mean_iou \[.*\], \d+ blocks, .*inconclusive", out
    )
    assert f"warehouse  {tmp_path / 'warehouse'}" in out
    assert (tmp_path / "warehouse/report.html").is_file()


def test_run_without_sources_fails_with_one_message(call: Call, tiny_world: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_world)
    settings["sources"]["eg"]["root"] = str(tmp_path / "nowhere")
    code, _, err = call("run", "-c", write_settings(tmp_path / "tiny.toml", settings))
    assert code == 1
    (line,) = re.findall(r"^failed plan.*$", err, flags=re.MULTILINE)
    assert str(tmp_path / "nowhere") in line
    assert "Set sources" in line


def test_a_moved_warehouse_still_answers(call: Call, tiny_run: TinyRun, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.config.parent, tmp_path / "moved")
    code, out, _ = call("sql", "from verdicts", "--json", "-c", tmp_path / "moved" / tiny_run.config.name)
    assert code == 0
    assert len(json.loads(out)) == 2
