"""What a task refuses before it reads anything; its units and targets are tested on the tiny world."""

from __future__ import annotations

from typing import Any

import pytest

from transforms.arms import ARMS
from transforms.budgets import Budget
from transforms.cells import Cell
from transforms.errors import TooFewUnitsError
from warehouse.task_data import TaskData


def test_fractions_of_all_patches_are_no_small_budget() -> None:
    nothing: Any = None
    data = TaskData("T5", nothing, nothing, nothing, nothing, nothing, False, "")
    cell = Cell("T5", "block", "upsampled_label_proportions", "logistic", Budget("shots", 3.0), 2)
    with pytest.raises(TooFewUnitsError, match="fractions of all training patches"):
        data.open(cell, ARMS[cell.arm], nothing)
