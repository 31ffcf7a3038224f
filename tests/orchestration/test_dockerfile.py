"""The image definition of docs/deploy, as far as it can be judged without a builder: its instructions and its files."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

from tests.tiny import PROJECT

DOCKERFILE = PROJECT / "docs" / "deploy" / "Dockerfile"
KNOWN = {"FROM", "RUN", "CMD", "COPY", "ENV", "WORKDIR", "USER", "LABEL", "ARG", "ENTRYPOINT", "EXPOSE", "SHELL"}


def read_instructions() -> list[tuple[str, str]]:
    """Give instructions and their text: comments out, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def texts_of(instruction: str) -> list[str]:
    return [text for name, text in read_instructions() if name == instruction]


def copied() -> set[str]:
    return {source.rstrip("/") for text in texts_of("COPY") for source in shlex.split(text)[:-1]}


def test_every_instruction_is_known_and_the_first_one_names_a_fixed_base() -> None:
    names = [name for name, _ in read_instructions()]
    assert set(names) <= KNOWN
    assert names[0] == "FROM"
    (base,) = texts_of("FROM")
    assert re.fullmatch(r"python:3\.11-slim-\w+", base)


def test_it_does_not_run_as_root() -> None:
    names = [name for name, _ in read_instructions()]
    (user,) = texts_of("USER")
    assert user not in ("root", "0")
    assert "RUN" not in names[names.index("USER") :]


def test_everything_that_the_code_opens_is_copied_and_not_ignored() -> None:
    assert copied() >= {"assets", "orchestration", "sql", "transforms", "warehouse", "examples", "dagster.yaml"}
    assert copied() >= {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}  # what the build back end reads
    assert [name for name in copied() if not (PROJECT / name).exists()] == []
    ignored = Path(f"{DOCKERFILE}.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert kept == copied()


def test_the_extras_that_it_installs_exist_and_pins_are_used() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runs = " ".join(texts_of("RUN"))
    (extras,) = re.findall(r"-e '\.\[([a-z,]+)\]'", runs)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert runs.count("pip install") == runs.count("-c constraints.txt")


def test_its_command_is_one_that_the_project_installs() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (command,) = texts_of("CMD")
    assert command.split('"')[1] in project["scripts"]
