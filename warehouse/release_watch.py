"""Watching the sources of a warehouse: one tick of one product, and what is remembered between ticks.

Belongs here: look, decide, remember. Does not: looking (`release_looks.py`), deciding
(`transforms/release_decisions.py`), running (`orchestration/`). A daemon remembers in the cursor of its sensor, the
command line in `releases.json` beside the tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from transforms.errors import IsthmusError
from transforms.release_decisions import Decision, decide, note_failure
from transforms.releases import ReleaseState
from warehouse.errors import StoredRecordError
from warehouse.file_access import read_bytes
from warehouse.file_paths import FilePath
from warehouse.followed import add_followed
from warehouse.products import Product
from warehouse.release_looks import look_at_source, rules_for
from warehouse.store import Warehouse
from warehouse.unfinished import replace_file
from warehouse.write_errors import write_errors

STATE_FILE = "releases.json"


def look_once(warehouse: Warehouse, product: Product, state: ReleaseState, now: float) -> Decision:
    """Look at a source and say what that means; a source that cannot be read is a finding, not an error.

    Args:
        warehouse: whose settings name the source.
        product: whose source it is.
        state: of the look before.
        now: seconds since 1970.

    Returns:
        The decision; nothing is written.
    """
    rules = rules_for(warehouse, product)
    try:
        look = look_at_source(warehouse, product, state, rules, now)
    except (IsthmusError, OSError) as error:
        return note_failure(state, str(error), now, rules)
    return decide(state, look, rules)


def follow_release(warehouse: Warehouse, watched: str, decision: Decision) -> None:
    """Take the years and products that a decision asks for beyond those of the settings; safe to repeat.

    Args:
        warehouse: where it is recorded.
        watched: product whose source was looked at.
        decision: its asking findings are taken.
    """
    for product, year in decision.taking:
        take_year(warehouse, watched, product, year)


def take_year(warehouse: Warehouse, watched: str, product: str, year: int) -> None:
    """Take one year of a product, unless the settings take it anyway."""
    sources = warehouse.settings.sources
    if product in sources and year in (sources[product].years or warehouse.settings.years):
        return
    add_followed(warehouse.root, product, year, like=None if product in sources else watched)


def read_states(root: FilePath) -> dict[str, ReleaseState]:
    """Read what the command line remembers, by product; empty before its first look.

    Raises:
        StoredRecordError: the file is not JSON.
        ShapeError: it is of another form.
    """
    path = root / STATE_FILE
    content = read_bytes(path)
    if content is None:
        return {}
    try:
        record = json.loads(content)
        return {name: ReleaseState.from_json(json.dumps(state)) for name, state in record.items()}
    except (ValueError, AttributeError) as error:
        raise StoredRecordError(str(path), str(error)) from error


def write_states(root: FilePath, states: Mapping[str, ReleaseState]) -> None:
    """Remember the states of all products; the file is replaced whole.

    Raises:
        DiskFullError: there is no room.
        NotWritableError: this user may not write there.
    """
    record = {name: json.loads(state.to_json()) for name, state in sorted(states.items())}
    path = root / STATE_FILE
    with replace_file(path, STATE_FILE) as temporary, write_errors(STATE_FILE, path):
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
