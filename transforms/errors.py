"""The one error family of Isthmus.

Belongs here: the base class and errors that pure functions raise about the data that they were given.
Errors about files and settings live in `warehouse/errors.py`.
"""

from __future__ import annotations

from typing import Any


class IsthmusError(Exception):
    """Base of every error that Isthmus raises on purpose; its message names culprit, found, expected, fix."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as class and message: a subclass takes the culprits, not the message."""
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[IsthmusError], args: tuple[object, ...]) -> IsthmusError:
    """Make an error from the message that its `__init__` built."""
    return kind.__new__(kind, *args)


class ShapeError(IsthmusError):
    """An array does not have the shape or dtype that a function declares. Permanent."""

    def __init__(self, what: str, found: object, expected: object, fix: str) -> None:
        super().__init__(f"{what}: found {found}, expected {expected}. {fix}")


class LatticeError(IsthmusError):
    """Patch ids or points do not stand on the lattice that they claim. Permanent."""

    def __init__(self, what: str, found: object, expected: object, fix: str) -> None:
        super().__init__(f"{what}: found {found}, expected {expected}. {fix}")


class TooFewUnitsError(IsthmusError):
    """A split, a probe or an interval has too little data to mean anything. Permanent."""

    def __init__(self, what: str, found: object, expected: object, fix: str) -> None:
        super().__init__(f"{what}: found {found}, expected {expected}. {fix}")
