"""Errors travel between processes: what a worker says is what a user reads."""

from __future__ import annotations

import copy
import pickle

import orchestration.cli  # noqa: F401  # brings every module that declares an error
from transforms.errors import IsthmusError, ShapeError

TEXT = "what: found this, expected that. Do so."


def list_kinds(kind: type[IsthmusError] = IsthmusError) -> list[type[IsthmusError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in list_kinds(child))]


def test_every_error_survives_pickling_and_copying_with_its_message() -> None:
    errors = [kind.__new__(kind, TEXT) for kind in list_kinds()]
    assert len(errors) > 10
    for error in errors:
        for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(back), str(back)) == (type(error), TEXT)


def test_an_error_that_was_raised_keeps_message_and_notes() -> None:
    error = ShapeError("array", (2,), (3,), "Pass three.")
    error.add_note("of the third block")
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == "array: found (2,), expected (3,). Pass three."
    assert back.__notes__ == ["of the third block"]
