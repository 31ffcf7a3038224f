"""Cells: which arm is run with which probe, folds, label budget and purity.

Belongs here: the identity of a cell, and the cells that a group stands for. Does not: running them
(`transforms/evaluation.py`), the settings that name them (`warehouse/study_sections.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product

from transforms.arms import ARMS, FIT_TREATMENTS, Arm
from transforms.budgets import Budget, draws_for
from transforms.errors import IsthmusError
from transforms.fold_plan import Scheme
from transforms.probes.registry import PROBES
from transforms.targets import probe_target_of
from transforms.tasks import TASKS, Task, UnitKind, primary_probe

ALL_LABELS = Budget("percent", 100.0)
#: Tasks whose units are chosen by the purity of their majority class.
_PURE_TASKS: tuple[Task, ...] = ("T1", "T4")


class UnknownCellError(IsthmusError):
    """A study names something that does not exist, or asks for more than a study may. Permanent."""

    def __init__(self, what: str, found: object, expected: object, fix: str) -> None:
        super().__init__(f"study.cells: {what}: found {found}, expected {expected}. {fix}")


@dataclass(frozen=True)
class Cell:
    """One arm with one probe on one task, in one fold scheme, with one label budget.

    Attributes:
        task: T1 to T8.
        scheme: fold scheme.
        arm: key in `ARMS`.
        probe: key in `PROBES`, or `cosine`.
        budget: labels to train on.
        n_draws: how often they are drawn.
        purity_min: least purity of a patch; None where the unit has none.
    """

    task: Task
    scheme: Scheme
    arm: str
    probe: str
    budget: Budget = ALL_LABELS
    n_draws: int = 1
    purity_min: float | None = None

    def __str__(self) -> str:
        purity = "" if self.purity_min is None else f" purity {self.purity_min:g}"
        return f"{self.task} {self.scheme} {self.arm} {self.probe} {self.budget}{purity}"

    def is_default(self, purity_min: float) -> bool:
        """Tell whether probe, labels and purity are those that are taken where nothing else is asked for."""
        own = ARMS[self.arm].probe or primary_probe(self.task)
        return self.probe == own and self.budget == ALL_LABELS and self.purity_min in (None, purity_min)

    @property
    def n_fits(self) -> int:
        """Fits per fold: by draw and seed, of both probes that are averaged, and again for thresholds of labels."""
        seeds = PROBES[self.probe].n_seeds if self.probe in PROBES else 0
        probes = 2 if ARMS[self.arm].treatment == "late_average" else 1
        return self.n_draws * seeds * probes * (2 if TASKS[self.task].target == "multilabel" else 1)


@dataclass(frozen=True)
class CellGroup:
    """Cells as the product of lists.

    Attributes:
        tasks: names of tasks.
        arms: names of arms, or patterns with `*`.
        probes: names of probes; `primary` is the task's own.
        schemes: fold schemes; empty = those of the evaluation.
        budgets: label budgets.
        draws: how often each is drawn; None = by the protocol.
        purity_min: least purities; empty = that of the evaluation.
    """

    tasks: tuple[Task, ...]
    arms: tuple[str, ...] = ("*",)
    probes: tuple[str, ...] = ("primary",)
    schemes: tuple[Scheme, ...] = ()
    budgets: tuple[Budget, ...] = (ALL_LABELS,)
    draws: int | None = None
    purity_min: tuple[float, ...] = ()


@dataclass(frozen=True)
class CellDefaults:
    """What a group takes where it says nothing.

    Attributes:
        schemes: of the evaluation.
        purity_min: of the evaluation.
        n_folds: expected folds, to count fits.
    """

    schemes: tuple[Scheme, ...]
    purity_min: float
    n_folds: int


def default_cells(tasks: Iterable[Task], arms: Mapping[UnitKind, Sequence[Arm]], defaults: CellDefaults) -> list[Cell]:
    """List what is always run: every default arm with the task's own probe, in every scheme, with all labels."""
    return [
        cell
        for task in tasks
        for cell in _expand(CellGroup((task,)), task, [a for a in arms[TASKS[task].unit] if a.is_default], defaults)
    ]


def merge_draws(cells: Iterable[Cell]) -> list[Cell]:
    """List each cell once: one that is asked for with several numbers of draws takes the most.

    Draws are numbered, so the fewer are the first of the more.
    """
    most: dict[Cell, int] = {}
    for cell in cells:
        same = replace(cell, n_draws=1)
        most[same] = max(most.get(same, 1), cell.n_draws)
    return [replace(cell, n_draws=count) for cell, count in most.items()]


def expand_group(group: CellGroup, arms: Mapping[UnitKind, Sequence[Arm]], defaults: CellDefaults) -> list[Cell]:
    """List the cells of a group.

    Args:
        group: the lists.
        arms: arms that products and operators allow, by unit.
        defaults: for what the group leaves out.

    Raises:
        UnknownCellError: a probe does not exist, a name or pattern fits no arm at all, or an arm that is named is not
            among those that the products and operators of the settings allow.
    """
    _check_names(group)
    _check_arms(group, arms)
    cells = []
    for task in group.tasks:
        here = [arm for arm in arms[TASKS[task].unit] if any(fnmatchcase(arm.name, text) for text in group.arms)]
        cells += _expand(group, task, here, defaults)
    return cells


def check_fits(cells: Iterable[Cell], n_folds: int, max_fits: int) -> None:
    """Refuse a study that is larger than it may be.

    Raises:
        UnknownCellError: a task would take more fits than `max_fits`.
    """
    fits: dict[Task, int] = {}
    for cell in cells:
        fits[cell.task] = fits.get(cell.task, 0) + cell.n_fits * n_folds
    over = {task: count for task, count in fits.items() if count > max_fits}
    if over:
        raise UnknownCellError(
            "fits per task", over, f"at most {max_fits}", "Drop arms, probes or budgets, or raise study.max_fits."
        )


def _expand(group: CellGroup, task: Task, arms: Sequence[Arm], defaults: CellDefaults) -> list[Cell]:
    rule = TASKS[task]
    if rule.of_maps:
        return []
    purities: tuple[float | None, ...] = (None,)
    if task in _PURE_TASKS:
        purities = group.purity_min or (defaults.purity_min,)
    cells = []
    for arm, name, scheme, budget, purity in product(
        arms, group.probes, group.schemes or defaults.schemes, group.budgets, purities
    ):
        probe = primary_probe(task) if name == "primary" or rule.target == "relevance" else name
        if arm.probe is not None and rule.target != "relevance":
            probe = arm.probe
        if not _serves(probe, arm, task):
            continue
        draws = group.draws or draws_for(budget)
        cells.append(Cell(task, scheme, arm.name, probe, budget, 1 if budget == ALL_LABELS else draws, purity))
    return list(dict.fromkeys(cells))


def _serves(probe: str, arm: Arm, task: Task) -> bool:
    """Tell whether an arm and a probe make sense for a task; majority and permuted labels rank nothing."""
    if TASKS[task].target == "relevance":
        return arm.probe is None and arm.treatment not in FIT_TREATMENTS
    return probe_target_of(TASKS[task].target) in PROBES[probe].targets


def _check_names(group: CellGroup) -> None:
    unknown = sorted(set(group.probes) - set(PROBES) - {"primary"})
    if unknown:
        raise UnknownCellError("probes", unknown, sorted(PROBES), "Correct the names.")
    stray = [text for text in group.arms if not any(fnmatchcase(name, text) for name in ARMS)]
    if stray:
        raise UnknownCellError("arms", stray, sorted(ARMS), "Correct the names or patterns.")


def _check_arms(group: CellGroup, arms: Mapping[UnitKind, Sequence[Arm]]) -> None:
    """Refuse an arm that is named in full and would be left out without a word; patterns take what there is."""
    units = {TASKS[task].unit for task in group.tasks}
    allowed = {arm.name for unit in units for arm in arms[unit]}
    problems = [_why_absent(ARMS[text], units) for text in group.arms if text in ARMS and text not in allowed]
    if problems:
        raise UnknownCellError(
            "arms", "; ".join(problems), f"some of {sorted(allowed)}",
            "Add the operator or product, put the arm into a group of its own tasks, or drop it.",
        )  # fmt: skip


def _why_absent(arm: Arm, units: Collection[UnitKind]) -> str:
    if arm.unit not in units:
        return f"{arm.name} describes a {arm.unit}, the tasks are about a {' and a '.join(sorted(units))}"
    if arm.operator is not None:
        section = "pool" if arm.family == "pooled" else "upsample"
        return f"{arm.name} needs '{arm.operator}' in {section}.operators, and both products in [compare]"
    return f"{arm.name} needs {'both products' if arm.side == 'both' else arm.side} in [compare]"
