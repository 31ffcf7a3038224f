"""TOML files of settings: one over another that it extends.

Belongs here: reading TOML, following `extends`, which keys win. Does not: what the keys mean (`settings.py`,
`sections.py`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from warehouse.errors import SettingsError
from warehouse.sections import AREA_KEYS

#: Key of a file that takes all but its own keys from another one.
_BASE = "extends"


def read_chain(file: Path, shown: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a settings file over what it extends; that stands beside it, so relative paths mean the same in both.

    Args:
        file: to read.
        shown: its name in messages.
        above: names of the files that extend it.

    Returns:
        Keys as the files have them, variables not filled.

    Raises:
        SettingsError: a file is missing or is not TOML, or files extend each other in a circle.
    """
    raw = _read_toml(file, shown)
    base = raw.pop(_BASE, None)
    if base is None:
        return raw
    if not isinstance(base, str) or Path(base).name != base:
        raise SettingsError(shown, [f"key '{_BASE}': found {base!r}, expected the name of a file beside this one"])
    chain = (*above, file.name)
    if base in chain:
        raise SettingsError(shown, [f"key '{_BASE}': found {' > '.join([*chain, base])}, expected no circle"])
    under = read_chain(file.with_name(base), str(file.with_name(base)), chain)
    return _merge(_leave_area(under, raw), raw)


def _read_toml(file: Path, shown: str) -> dict[str, Any]:
    if not file.is_file():
        raise SettingsError(shown, ["found no file, expected a TOML settings file. See examples/"])
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError(shown, [f"not UTF-8 text: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(shown, [f"not valid TOML: {error}"]) from error


def _leave_area(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Leave out where the area of a base is where a file says another: one key alone may say it."""
    area, given = base.get("area"), own.get("area")
    if not isinstance(area, dict) or not isinstance(given, dict) or not set(AREA_KEYS) & set(given):
        return base
    return base | {"area": {key: value for key, value in area.items() if key not in AREA_KEYS}}


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Let a file's own keys win over those of its base; tables are merged, lists are replaced."""
    merged = dict(base)
    for key, value in own.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
