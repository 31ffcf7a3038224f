"""The `[study]` section: which cells are run besides the default ones.

Belongs here: groups of cells as a user writes them, and their limits. Does not: other sections (`sections.py`), turning
groups into cells (`transforms/cells.py`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from transforms.budgets import parse_budget
from transforms.cells import CellGroup
from transforms.errors import IsthmusError
from transforms.fold_plan import Scheme
from transforms.tasks import Task

Share = Annotated[float, Field(ge=0, le=1)]


class GroupSettings(BaseModel):
    """One group: the product of its lists.

    Attributes:
        tasks: T1 to T8.
        arms: names of arms, or patterns with `*`.
        probes: names of probes; `primary` is the one that the task is answered with.
        schemes: fold schemes; empty: those of `[evaluate]`.
        budgets: labels per class ("10") or shares ("25%").
        draws: how often a budget is drawn; None: 20 up to 10 labels per class, 5 above, 1 for all.
        purity_min: least purity of a patch; empty: that of `[evaluate]`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[Task, ...] = Field(min_length=1)
    arms: tuple[str, ...] = ("*",)
    probes: tuple[str, ...] = ("primary",)
    schemes: tuple[Scheme, ...] = ()
    budgets: tuple[str, ...] = ("100%",)
    draws: int | None = Field(default=None, ge=1)
    purity_min: tuple[Share, ...] = ()

    @field_validator("budgets")
    @classmethod
    def _check_budgets(cls, budgets: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for budget in budgets:
                parse_budget(budget)
        except IsthmusError as error:
            raise ValueError(str(error)) from error
        return budgets

    def group(self) -> CellGroup:
        """Give the group as a value."""
        budgets = tuple(parse_budget(text) for text in self.budgets)
        return CellGroup(self.tasks, self.arms, self.probes, self.schemes, budgets, self.draws, self.purity_min)


class StudySettings(BaseModel):
    """What a study runs besides the default cells.

    Attributes:
        cells: groups of cells.
        max_fits: fits per task, at most: a full factorial would never end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cells: tuple[GroupSettings, ...] = Field(min_length=1)
    max_fits: int = Field(default=3_000, ge=1)
