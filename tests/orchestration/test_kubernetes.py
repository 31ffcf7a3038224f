"""The Kubernetes deployment of docs/deploy, as far as it can be judged without a cluster or a builder of images.

Manifests are read into the types of the Kubernetes client, which must give the same back: a misspelt field would be
lost. Names that one file uses must be declared by another. Commands are parsed by the programs that they name.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import kubernetes
import pytest
import typer
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.config import dagster_instance_config
from dagster._grpc.utils import default_sensor_grpc_timeout
from dagster_k8s import K8sRunLauncher

from orchestration.cli import SENSOR_TIMEOUT, SENSOR_TIMEOUT_S, app
from tests.tiny import PROJECT
from warehouse.settings import load_settings

FOLDER = PROJECT / "docs" / "deploy" / "kubernetes"
MANIFESTS = ("access", "storage", "dagster-services", "dask", "cron")
VARIABLES = {f"DAGSTER_PG_{name}": "5432" for name in ("HOST", "PORT", "DB", "USERNAME", "PASSWORD")}
KINDS = {
    "Namespace": "V1Namespace",
    "ServiceAccount": "V1ServiceAccount",
    "Role": "V1Role",
    "RoleBinding": "V1RoleBinding",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "ConfigMap": "V1ConfigMap",
    "Service": "V1Service",
    "Deployment": "V1Deployment",
    "CronJob": "V1CronJob",
}


def read_manifests() -> list[dict[str, Any]]:
    texts = ((FOLDER / f"{name}.yaml").read_text(encoding="utf-8") for name in MANIFESTS)
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def list_pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in read_manifests():
        if one["kind"] == "Deployment":
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]
        elif one["kind"] == "CronJob":
            yield one["metadata"]["name"], one["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def names_of(kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in read_manifests() if one["kind"] == kind}


def read_kustomization() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8")))


def read_variables() -> dict[str, str]:
    """Give what every pod finds in its environment, but for secrets."""
    generators = read_kustomization()["configMapGenerator"]
    return dict(text.split("=", 1) for one in generators for text in one.get("literals", []))


def launcher_config() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "dagster.yaml").read_text(encoding="utf-8"))["run_launcher"]["config"])


def through_client(kind: str, manifest: Mapping[str, Any]) -> Any:
    """Read a manifest into the client's type and write it again."""

    class Response:
        data = json.dumps(manifest)

    client = kubernetes.client.ApiClient()
    return client.sanitize_for_serialization(client.deserialize(Response(), KINDS[kind]))


@pytest.mark.parametrize("manifest", read_manifests(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_manifests_are_what_the_kubernetes_client_knows(manifest: dict[str, Any]) -> None:
    assert through_client(manifest["kind"], manifest) == manifest


def test_a_misspelt_field_would_be_found() -> None:
    (claim,) = [one for one in read_manifests() if one["kind"] == "PersistentVolumeClaim"]
    claim["spec"]["acessModes"] = claim["spec"].pop("accessModes")
    assert through_client("PersistentVolumeClaim", claim) != claim


def test_the_kustomization_lists_every_manifest_and_file() -> None:
    listed = read_kustomization()
    assert sorted(listed["resources"]) == sorted(f"{name}.yaml" for name in MANIFESTS)
    files = {file for one in listed["configMapGenerator"] for file in one.get("files", [])}
    assert files | set(listed["resources"]) | {"kustomization.yaml"} == {path.name for path in FOLDER.iterdir()}


def test_what_pods_mount_and_read_is_declared() -> None:
    maps = {one["name"] for one in read_kustomization()["configMapGenerator"]}
    for name, pod in list_pods():
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        assert {v["configMap"]["name"] for v in volumes.values() if "configMap" in v} <= maps, name
        claims = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
        assert claims <= names_of("PersistentVolumeClaim"), name
        assert pod["serviceAccountName"] in names_of("ServiceAccount")
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container.get("volumeMounts", [])} == set(volumes), name
        assert {source["configMapRef"]["name"] for source in container.get("envFrom", [])} <= maps, name


def test_services_find_pods_by_their_labels() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in read_manifests() if one["kind"] == "Deployment"]
    for service in (one for one in read_manifests() if one["kind"] == "Service"):
        assert [found for found in labels if service["spec"]["selector"].items() <= found.items()], service["metadata"]


def test_the_instance_is_valid_for_dagster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    config, _ = dagster_instance_config(str(FOLDER))
    assert config["run_launcher"]["class"] == "K8sRunLauncher"
    schema = resolve_to_config_type(K8sRunLauncher.config_type())
    result = process_config(schema, launcher_config())
    assert result.success, result.errors
    wrong = process_config(schema, launcher_config() | {"job_name_space": "isthmus"})
    assert not wrong.success


def test_the_launcher_uses_what_the_manifests_declare() -> None:
    config, listed = launcher_config(), read_kustomization()
    maps = {one["name"] for one in listed["configMapGenerator"]}
    assert config["job_namespace"] == listed["namespace"]
    assert config["service_account_name"] in names_of("ServiceAccount")
    assert {config["instance_config_map"], *config["env_config_maps"]} <= maps
    assert {v["configMap"]["name"] for v in config["volumes"] if "configMap" in v} <= maps
    code = dict(list_pods())["isthmus-code"]
    (container,) = code["containers"]
    assert config["volumes"] == code["volumes"]
    assert config["volume_mounts"] == container["volumeMounts"]  # runs see what the code saw


def test_the_settings_load_and_name_the_scheduler_and_the_mounts() -> None:
    settings = load_settings(FOLDER / "settings.toml")
    host, port = str(settings.engine.address).removeprefix("tcp://").split(":")
    (service,) = [one for one in read_manifests() if one["metadata"]["name"] == host and one["kind"] == "Service"]
    assert int(port) in [one["port"] for one in service["spec"]["ports"]]
    assert str(settings.warehouse.root).startswith("/data/")
    assert str(settings.dagster.instance) == launcher_config()["dagster_home"]
    variables = read_variables()
    assert variables["ISTHMUS_CONFIG"] == "/opt/isthmus/settings/settings.toml"
    assert {name for name in variables if name.startswith("DAGSTER_PG")} | {"DAGSTER_PG_PASSWORD"} == set(VARIABLES)


def test_the_daemon_waits_for_a_look_as_long_as_that_of_a_laptop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = dict(list_pods())["isthmus-daemon"]["containers"]
    assert {"configMapRef": {"name": "isthmus-environment"}} in container["envFrom"]
    monkeypatch.delenv(SENSOR_TIMEOUT, raising=False)
    assert default_sensor_grpc_timeout() == 60  # what a look would have without it
    monkeypatch.setenv(SENSOR_TIMEOUT, read_variables()[SENSOR_TIMEOUT])
    assert default_sensor_grpc_timeout() == SENSOR_TIMEOUT_S


@pytest.mark.parametrize("name", [name for name, _ in list_pods()])
def test_commands_are_parsed_by_the_programs_that_they_name(name: str) -> None:
    (container,) = dict(list_pods())[name]["containers"]
    mounted = {"/opt/dagster/workspace.yaml": str(FOLDER / "workspace.yaml")}
    parse_command([mounted.get(word, word) for word in container["command"]])


def test_a_command_with_an_unknown_option_would_be_found() -> None:
    with pytest.raises(click.UsageError):
        parse_command(["dask", "worker", "tcp://isthmus-dask:8786", "--threads", "1"])


def parse_command(command: list[str]) -> None:
    """Walk down the click groups of a console script and parse the arguments of the last one, without running it.

    Raises:
        click.UsageError: an argument is unknown or impossible.
    """
    program, *arguments = command
    assert Path(sys.executable).with_name(program).is_file(), f"no script {program} beside Python"
    found = _load_command(program)
    while isinstance(found, click.Group):
        found, arguments = found.commands[arguments[0]], arguments[1:]
    found.make_context(program, list(arguments))


def _load_command(program: str) -> click.Command:
    if program == "isthmus":
        return typer.main.get_command(app)
    if program == "dask":
        return click.Group("dask", {one.name: one.load() for one in entry_points(group="dask_cli")})
    (script,) = entry_points(group="console_scripts", name=program)
    loaded = script.load()
    return loaded if isinstance(loaded, click.Command) else sys.modules[loaded.__module__].cli


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="rendering by Kubernetes' own tool: found no kubectl")
def test_kubectl_renders_it_with_one_image_everywhere() -> None:
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True)
    rendered = [one for one in yaml.safe_load_all(done.stdout) if one]
    assert len(rendered) == len(read_manifests()) + len(read_kustomization()["configMapGenerator"])
    assert {one["metadata"].get("namespace", one["metadata"]["name"]) for one in rendered} == {"isthmus"}
    (code,) = [one for one in rendered if one["metadata"]["name"] == "isthmus-code" and one["kind"] == "Deployment"]
    (container,) = code["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["DAGSTER_CURRENT_IMAGE"] == container["image"] == _image()
    assert set(re.findall(r"image: (\S+)", done.stdout)) == {_image()}
    for one in rendered:
        assert through_client(one["kind"], one) == one


def _image() -> str:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return f"isthmus:{version}"


def test_runs_without_a_job_of_their_own_are_not_called_failed() -> None:
    instance = yaml.safe_load((FOLDER / "dagster.yaml").read_text(encoding="utf-8"))
    assert instance["run_monitoring"] == {"enabled": False}
