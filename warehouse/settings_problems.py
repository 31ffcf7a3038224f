"""What is wrong with a settings file, in words: the key, what is allowed, what was found.

Belongs here: pydantic's findings as sentences. Does not: the rules themselves (the sections), reading the file
(`settings.py`).

These sentences go to terminals, logs and alerts, so values that may hold a password are not repeated in them.
"""

from __future__ import annotations

import os
import re
from typing import Any

from pydantic import BaseModel

_LONGEST = 600
#: Keys whose value is a secret by itself.
_SECRET_KEYS = frozenset({"webhook"})
#: A user in front of a host, or a signature behind a file.
_SECRET = re.compile(r"://.*[@?]|[@?].*://", re.DOTALL)
_HIDDEN = "a value that is not shown here, because it may hold a password"


def describe_variable(problem: str) -> str:
    """Say which environment variable cannot be read.

    Args:
        problem: message of pydantic-settings, which names the field only.
    """
    found = re.search(r'field "(\w+)"', problem)
    name = f"ISTHMUS_{found.group(1).upper()}" if found else "an environment variable ISTHMUS_..."
    return f"{name}: found {_show(os.environ.get(name, ''))}, expected JSON, e.g. [2023, 2024]"


def describe_problem(
    item: Any, model: type[BaseModel], prefix: tuple[str, ...] = (), allowed: list[str] | None = None
) -> str:
    """Say one problem of a ValidationError with its key and what is allowed.

    Args:
        item: one of `error.errors()`.
        model: of the whole file.
        prefix: parts of the key above those of the item.
        allowed: keys that an unknown one may be replaced by; None = those of the model.
    """
    location = [*prefix, *(str(part) for part in item["loc"])]
    key = ".".join(location) or "settings"
    if item["type"] == "extra_forbidden":
        return f"key '{key}' is unknown; allowed here: {allowed or _allowed_keys(model, location[:-1])}"
    if item["type"] == "missing":
        return f"key '{key}' is missing"
    message = item["msg"].removeprefix("Value error, ")  # pydantic's, before what our own validators say
    if not location:  # between sections: what was found is the whole file
        return f"key '{key}': {message}"
    found = _HIDDEN if _SECRET_KEYS & {*location} else _show(item["input"])
    return f"key '{key}': {message} (found {found})"[:_LONGEST]


def _show(value: Any) -> str:
    """Give the value as Python writes it, without what may be a secret."""
    if isinstance(value, dict):
        items = (f"{key!r}: {_HIDDEN if key in _SECRET_KEYS else _show(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_show, value))}]"
    text = repr(value)
    return _HIDDEN if _SECRET.search(text) else text


def _allowed_keys(model: Any, location: list[str]) -> list[str]:
    """List the keys of the model at a location, walking through dict values and tuples."""
    steps = iter(location)
    for step in steps:
        annotation = model.model_fields[step].annotation
        while not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            arguments = [a for a in getattr(annotation, "__args__", ()) if a not in (type(None), str, ...)]
            if not arguments:
                return []
            if getattr(annotation, "__origin__", None) in (dict, tuple):
                next(steps, None)  # the dict key or the list index
            annotation = arguments[-1]
        model = annotation
    return sorted(model.model_fields)
