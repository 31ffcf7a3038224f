"""Bodies for the tests of engines: workers import them by name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from warehouse.errors import SourceFormatError
from warehouse.store import Warehouse


def give_pid(_warehouse: Warehouse) -> int:
    return os.getpid()


def give_name(warehouse: Warehouse, prefix: str) -> str:
    return prefix + warehouse.settings.name


def count_to_three(_warehouse: Warehouse, report: Callable[[str], None]) -> int:
    for text in ("one", "two", "three"):
        report(text)
    return 3


def read_bad_file(_warehouse: Warehouse) -> None:
    raise SourceFormatError("a.tif", "bands", 3, 64, "Is it another product?")


def hang_the_first_time(_warehouse: Warehouse, folder: Path) -> list[int]:
    """Note who tries; the first one never ends."""
    tries = sorted(folder.glob("try-*"))
    (folder / f"try-{len(tries)}").write_text(str(os.getpid()))
    if not tries:
        time.sleep(600)
    return [int(path.read_text()) for path in sorted(folder.glob("try-*"))]


def end_the_worker(_warehouse: Warehouse) -> None:
    os._exit(1)
