"""SQL files of the `sql` package: reading them, and filling names into view statements.

Belongs here: finding a statement, its header, and composing a statement from a template and quoted parts. Does
not: running SQL (`catalog.py`). Values of queries are bound as `$parameters`, never composed; only view
statements, which cannot have parameters, are composed, and only from `Identifier`, `Text` and `Fragment`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from transforms.errors import IsthmusError

Group = Literal["templates", "views", "marts", "checks", "examples", "report"]

# beside this package in a checkout and in an installation alike
_FOLDER = Path(__file__).resolve().parent.parent / "sql"
_HEADER = re.compile(r"--\s?(.*)")
_KEY = re.compile(r"(purpose|grain|inputs|parameters|meaning|fix): (.*)")


class SqlFileMissingError(IsthmusError):
    """A statement was asked for that is not in the `sql` package."""

    def __init__(self, group: str, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"sql/{group}/{name}.sql: found no such file, expected one of {sorted(known)}. Correct the name."
        )


@dataclass(frozen=True)
class SqlFile:
    """One statement with its header.

    Attributes:
        group: folder below `sql/`.
        name: file name without suffix.
        text: the whole file, comments included, without a final semicolon.
        header: `purpose`, `grain`, `inputs` and `parameters`, as far as the file has them; checks have `meaning` (of
            a failing row) and `fix` as well.
    """

    group: Group
    name: str
    text: str
    header: dict[str, str]


@dataclass(frozen=True)
class Identifier:
    """A name of a view or column; rendered in double quotes, quotes doubled."""

    name: str

    def render(self) -> str:
        """Give the quoted SQL."""
        return '"' + self.name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Text:
    """A string literal, as view statements need for file names; rendered in single quotes, quotes doubled."""

    value: str

    def render(self) -> str:
        """Give the quoted SQL."""
        return "'" + self.value.replace("'", "''") + "'"


@dataclass(frozen=True)
class Fragment:
    """SQL that is safe as it stands: text of a file of this package, or what `compose` returned."""

    sql: str

    def render(self) -> str:
        """Give the SQL."""
        return self.sql


class _AtTemplate(Template):
    # `$` marks bound parameters in our SQL files, so parts to be composed are marked by `@`
    delimiter = "@"


def list_sql(group: Group) -> list[str]:
    """List the names of the statements of a folder, sorted."""
    return sorted(path.stem for path in (_FOLDER / group).glob("*.sql"))


def read_sql(group: Group, name: str) -> SqlFile:
    """Read one statement.

    Raises:
        SqlFileMissingError: there is no such file; the message lists those that exist.
    """
    known = list_sql(group)
    if name not in known:
        raise SqlFileMissingError(group, name, known)
    text = (_FOLDER / group / f"{name}.sql").read_text(encoding="utf-8")
    return SqlFile(group, name, text.strip().removesuffix(";"), _read_header(text))


def compose(template: SqlFile, **parts: Identifier | Text | Fragment) -> Fragment:
    """Fill the `@parts` of a template.

    Args:
        template: a statement with `@name` placeholders.
        **parts: what stands for each of them.

    Returns:
        SQL in which names and strings are quoted.

    Raises:
        KeyError: a placeholder has no part.
    """
    body = "\n".join(line for line in template.text.splitlines() if not line.startswith("--"))
    return Fragment(_AtTemplate(body).substitute({key: part.render() for key, part in parts.items()}))


def _read_header(text: str) -> dict[str, str]:
    header: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        comment = _HEADER.fullmatch(line)
        if comment is None:
            break
        named = _KEY.fullmatch(comment.group(1))
        if named is not None:
            key = named.group(1)
            header[key] = named.group(2)
        elif key:
            header[key] += " " + comment.group(1).strip()
    return header
