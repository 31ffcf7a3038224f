"""Alerts, against a web server on this machine and commands that do what they should or not."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.alerts import ALERT_SENSOR, Alert, AlertError, describe_run, send_alert, split_fix
from orchestration.definitions import build_defs
from orchestration.pipeline_job import FAILED_STEPS
from orchestration.resources import WarehouseResource
from orchestration.run_problems import FailedStep
from tests.tiny import quick_settings, write_settings
from warehouse.automation_sections import AlertSettings
from warehouse.errors import SettingsError, SourceMissingError
from warehouse.settings import load_settings

ALERT = Alert("tiny", "ingest", "2024|48PSV", "core_eg__patches: found no file, expected one.", "Download it.", "r1")


class Hook:
    """A webhook that answers with the given codes in turn, and remembers what it got."""

    def __init__(self, codes: list[int]) -> None:
        self.got: list[Any] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                hook.agent = self.headers["User-Agent"]
                self.send_response(codes[min(len(hook.got), len(codes)) - 1])
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep standard error clean."""

        self.agent = ""
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/services/secret-token"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hooks() -> Iterator[Any]:
    """Make webhooks that are closed at the end."""
    made: list[Hook] = []

    def make(*codes: int) -> Hook:
        made.append(Hook(list(codes) or [200]))
        return made[-1]

    yield make
    for hook in made:
        hook.close()


def send(settings: AlertSettings, alert: Alert = ALERT) -> list[float]:
    """Send an alert; the waits between tries."""
    waits: list[float] = []
    send_alert(settings, alert, lambda _text: None, sleep=waits.append)
    return waits


def test_an_alert_is_in_the_log_whatever_else_is_set() -> None:
    log: list[str] = []
    send_alert(AlertSettings(), ALERT, log.append)
    with pytest.raises(AlertError):
        send_alert(AlertSettings(command=("false",)), ALERT, log.append)
    assert log == [ALERT.text, ALERT.text]
    assert ALERT.text == (
        "Isthmus tiny: ingest[2024|48PSV]: core_eg__patches: found no file, expected one. Download it."
    )


def test_a_webhook_gets_job_partition_message_and_fix(hooks: Any) -> None:
    hook = hooks(204)
    assert send(AlertSettings(webhook=hook.address)) == []
    (got,) = hook.got
    assert {name: got[name] for name in ("job", "partition", "message", "fix", "run_id", "text")} == {
        "job": "ingest",
        "partition": "2024|48PSV",
        "message": "core_eg__patches: found no file, expected one.",
        "fix": "Download it.",
        "run_id": "r1",
        "text": ALERT.text,
    }
    assert hook.agent == "isthmus"


def test_a_webhook_that_stumbles_is_tried_again_with_longer_waits(hooks: Any) -> None:
    hook = hooks(503, 500, 200)
    waits = send(AlertSettings(webhook=hook.address))
    assert len(hook.got) == 3
    assert 0.5 <= waits[0] <= 1.0 <= waits[1] <= 2.0


@pytest.mark.parametrize(("codes", "tries"), [((500,), 3), ((404,), 1)])
def test_a_webhook_that_refuses_is_an_error_that_keeps_its_secret(
    hooks: Any, codes: tuple[int, ...], tries: int
) -> None:
    hook = hooks(*codes)
    with pytest.raises(AlertError, match=rf"webhook at 127\.0\.0\.1: HTTP {codes[0]}.*\[alerts\]") as caught:
        send(AlertSettings(webhook=hook.address))
    assert len(hook.got) == tries
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/secret path", "http://127.0.0.1:x9/secret", "secret/x"])
def test_an_address_that_is_none_keeps_its_secret_and_the_command_is_tried(tmp_path: Path, address: str) -> None:
    target = tmp_path / "alert.json"
    settings = AlertSettings.model_construct(  # past the validator: Python refuses more than it does
        webhook=address, command=("sh", "-c", f"cat > {target}"), timeout_s=60.0
    )
    with pytest.raises(AlertError, match=r"webhook at \S+: (InvalidURL|ValueError)") as caught:
        send(settings)
    assert "secret" not in str(caught.value)
    assert target.is_file()


def test_arguments_of_a_command_that_hangs_are_not_told() -> None:
    command = (sys.executable, "-c", "import time; time.sleep(60)", "--token=secret")
    with pytest.raises(AlertError, match="timed out") as caught:
        send(AlertSettings(command=command, timeout_s=0.2))
    assert "secret" not in str(caught.value)


def test_nobody_listening_is_an_error(hooks: Any) -> None:
    hook = Hook([200])
    hook.close()
    with pytest.raises(AlertError, match="refused"):
        send(AlertSettings(webhook=hook.address))


def test_a_command_gets_the_alert_on_standard_input(tmp_path: Path) -> None:
    target = tmp_path / "alert.json"
    code = f"import sys, pathlib; pathlib.Path({str(target)!r}).write_text(sys.stdin.read())"
    send(AlertSettings(command=(sys.executable, "-c", code)))
    assert json.loads(target.read_text())["job"] == "ingest"


@pytest.mark.parametrize(
    ("command", "timeout_s", "words"),
    [
        ((sys.executable, "-c", "import sys; sys.exit('mail server is full')"), 60, "exit code 1 mail server is full"),
        (("/nowhere/notify",), 60, "No such file"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), 0.2, r"command \S+: timed out after 0\.2 s,"),
    ],
    ids=["fails", "absent", "hangs"],
)
def test_a_command_that_fails_is_an_error_and_the_webhook_is_tried_all_the_same(
    hooks: Any, command: tuple[str, ...], timeout_s: float, words: str
) -> None:
    hook = hooks(200)
    with pytest.raises(AlertError, match=words):
        send(AlertSettings(webhook=hook.address, command=command, timeout_s=timeout_s))
    assert len(hook.got) == 1


def test_the_fix_is_the_end_of_our_messages() -> None:
    error = SourceMissingError("raw_eg__index[2024]", "no folder", "the year folders", "Set sources.eg.root. Or not.")
    assert split_fix(str(error), "look") == (
        "raw_eg__index[2024]: found no folder, expected the year folders.",
        "Set sources.eg.root. Or not.",
    )
    assert split_fix("boom", "look") == ("boom", "look")


@pytest.mark.parametrize(
    "address",
    ["ftp://here/x", "here", "https://", "https://here/a b", " https://here", "https://here:x/a", "https://[a/b"],
)
def test_a_webhook_is_a_web_address(tmp_path: Path, address: str) -> None:
    config = write_settings(tmp_path / "t.toml", quick_settings(tmp_path) | {"alerts": {"webhook": address}})
    with pytest.raises(SettingsError, match=r"alerts\.webhook': webhook must be an address"):
        load_settings(config)


def test_a_webhook_of_a_variable_that_is_not_set_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERT_WEBHOOK", raising=False)
    settings = quick_settings(tmp_path) | {"alerts": {"webhook": "${ALERT_WEBHOOK:-}"}}
    alerts = load_settings(write_settings(tmp_path / "t.toml", settings)).alerts
    assert (alerts.webhook, alerts.is_on) == (None, False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    settings = quick_settings(tmp_path / "nowhere") | {"alerts": {"command": ["true"]}}
    return write_settings(tmp_path / "quick.toml", settings)


def fail(failure: Exception, partition: str | None = None, config: Path | None = None) -> dg.RunFailureSensorContext:
    """Let a job fail; the context that the sensor of failures gets."""

    @dg.op
    def body() -> None:
        raise failure

    dimensions = {"year": dg.StaticPartitionsDefinition(["2024"]), "shard": dg.StaticPartitionsDefinition(["48PSV"])}

    @dg.job(partitions_def=dg.MultiPartitionsDefinition(dimensions) if partition else None)
    def ingest() -> None:
        body()

    instance = dg.DagsterInstance.ephemeral()
    result = ingest.execute_in_process(instance=instance, raise_on_error=False, partition_key=partition)
    event = result.get_run_failure_event()
    resources = {"isthmus": WarehouseResource(config=str(config))} if config is not None else None
    context = dg.build_run_status_sensor_context(ALERT_SENSOR, event, instance, result.dagster_run, resources=resources)
    return context.for_run_failure()


def test_a_failed_partition_is_described_by_what_its_body_raised() -> None:
    context = fail(SourceMissingError("x", "none", "one", "Download it."), "48PSV|2024")
    alert = describe_run(context, "tiny", "tiny.toml")
    assert (alert.job, alert.partition, alert.message) == ("ingest", "2024|48PSV", "x: found none, expected one.")
    assert alert.fix == "Download it. Then run it again: isthmus run --config tiny.toml"
    assert alert.run_id == context.dagster_run.run_id


def test_a_failed_pipeline_is_described_by_its_first_failed_step() -> None:
    steps = [FailedStep("ingest", "2024|48PSV", "x: found none, expected one. Download it.", "r1")] * 2
    metadata = {FAILED_STEPS: dg.MetadataValue.json([vars(step) for step in steps])}
    context = fail(dg.Failure("isthmus run ended", metadata=metadata))
    alert = describe_run(context, "tiny", "tiny.toml")
    assert (alert.job, alert.partition, alert.message) == ("ingest", "2024|48PSV", "x: found none, expected one.")
    assert len(alert.failures) == 2
    assert "(2 steps failed)" in alert.text


def test_the_sensor_sends_and_an_alert_that_is_not_delivered_fails_its_tick(config: Path, hooks: Any) -> None:
    hook = hooks(200)
    config.write_text(config.read_text().replace('command = ["true"]', f'webhook = "{hook.address}"'))
    (sensor,) = build_defs(config).sensors or []
    assert sensor.name == ALERT_SENSOR
    context = fail(SourceMissingError("x", "none", "one", "Download it."), config=config)
    sensor(context)
    assert [got["job"] for got in hook.got] == ["ingest"]
    config.write_text(config.read_text().replace(f'webhook = "{hook.address}"', 'command = ["false"]'))
    with pytest.raises(AlertError, match="exit code 1"):
        sensor(context)


def test_no_alerts_no_sensor(tmp_path: Path) -> None:
    config = write_settings(tmp_path / "quick.toml", quick_settings(tmp_path))
    assert not build_defs(config).sensors
