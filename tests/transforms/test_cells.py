from __future__ import annotations

import pytest

from transforms.arms import list_arms
from transforms.budgets import Budget
from transforms.cells import (
    ALL_LABELS,
    Cell,
    CellDefaults,
    CellGroup,
    UnknownCellError,
    check_fits,
    default_cells,
    expand_group,
    merge_draws,
)

ARMS = {unit: list_arms(unit, has_patches=True, has_pixels=True) for unit in ("patch", "pixel")}
DEFAULTS = CellDefaults(("block", "random"), 0.5, 5)


def test_default_cells_are_every_default_arm_in_every_scheme_with_all_labels() -> None:
    cells = default_cells(("T1", "T5"), ARMS, DEFAULTS)
    assert {(cell.arm, cell.scheme) for cell in cells if cell.task == "T1"} == {
        (arm.name, scheme) for arm in ARMS["patch"] if arm.is_default for scheme in ("block", "random")
    }
    assert {cell.budget for cell in cells} == {ALL_LABELS}
    assert {cell.purity_min for cell in cells if cell.task == "T1"} == {0.5}
    assert {cell.purity_min for cell in cells if cell.task == "T5"} == {None}
    assert {cell.probe for cell in cells} == {"logistic", "majority"}
    assert all(cell.is_default(0.5) for cell in cells)


def test_tasks_are_answered_with_their_own_probe() -> None:
    cells = default_cells(("T2", "T3", "T4", "T7", "T8"), ARMS, DEFAULTS)
    probes = {
        task: {c.probe for c in cells if c.task == task} - {"majority"} for task in ("T2", "T3", "T4", "T7", "T8")
    }
    assert probes == {"T2": {"logistic"}, "T3": {"ridge"}, "T4": {"cosine"}, "T7": {"logistic"}, "T8": {"ridge"}}
    # a majority ranks nothing
    assert "patch_majority" not in {cell.arm for cell in cells if cell.task == "T4"}


def test_maps_have_no_cells_of_their_own() -> None:
    assert default_cells(("T6",), ARMS, DEFAULTS) == []


def test_a_group_is_the_product_of_its_lists() -> None:
    budgets = (Budget("shots", 10.0), Budget("percent", 50.0), ALL_LABELS)
    group = CellGroup(
        ("T1",), ("native_*", "pooled_stats"), ("primary", "knn_5"), ("block",), budgets, None, (0.0, 0.9)
    )
    cells = expand_group(group, ARMS, DEFAULTS)
    assert len(cells) == len(set(cells)) == 2 * 2 * 3 * 2
    draws = {(cell.budget.kind, cell.budget.amount): cell.n_draws for cell in cells}
    assert draws == {("shots", 10.0): 20, ("percent", 50.0): 5, ("percent", 100.0): 1}
    assert not any(cell.is_default(0.5) for cell in cells)


def test_an_arm_with_a_probe_of_its_own_is_listed_once() -> None:
    group = CellGroup(("T1",), ("patch_majority",), ("primary", "knn_5", "ridge"))
    assert {cell.probe for cell in expand_group(group, ARMS, DEFAULTS)} == {"majority"}
    assert len(expand_group(group, ARMS, DEFAULTS)) == 2


def test_probes_that_do_not_serve_a_target_are_left_out() -> None:
    group = CellGroup(("T1", "T3"), ("native_patch",), ("logistic", "ridge"), ("block",))
    assert [(c.task, c.probe) for c in expand_group(group, ARMS, DEFAULTS)] == [
        ("T1", "logistic"), ("T1", "ridge"), ("T3", "ridge"),
    ]  # fmt: skip


def test_extended_arms_are_listed_where_a_study_names_them() -> None:
    group = CellGroup(("T5",), ("pixel_*",), schemes=("block",))
    names = {cell.arm for cell in expand_group(group, ARMS, DEFAULTS)}
    assert names >= {"pixel_shuffled_blocks", "pixel_permuted_labels", "pixel_random", "pixel_concatenated"}


@pytest.mark.parametrize(
    ("group", "words"),
    [(CellGroup(("T1",), probes=("svm",)), "svm"), (CellGroup(("T1",), arms=("pool_*",)), "pool_")],
)
def test_unknown_names_are_refused(group: CellGroup, words: str) -> None:
    with pytest.raises(UnknownCellError, match=words):
        expand_group(group, ARMS, DEFAULTS)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (CellGroup(("T1",), arms=("native_patch", "pooled_gem")), "pooled_gem needs 'gem' in pool.operators"),
        (CellGroup(("T5",), arms=("upsampled_attention",)), "'attention' in upsample.operators"),
        (
            CellGroup(("T1", "T3"), arms=("native_pixel",)),
            "native_pixel describes a pixel, the tasks are about",
        ),
    ],
)
def test_an_arm_that_is_named_but_not_there_is_refused(group: CellGroup, words: str) -> None:
    with pytest.raises(UnknownCellError, match=words):
        expand_group(group, ARMS, DEFAULTS)


def test_an_arm_without_its_product_is_refused() -> None:
    alone = {unit: list_arms(unit, has_patches=True, has_pixels=False) for unit in ("patch", "pixel")}
    with pytest.raises(UnknownCellError, match="patch_concatenated needs both products"):
        expand_group(CellGroup(("T1",), arms=("patch_concatenated",)), alone, DEFAULTS)
    # a pattern takes what there is
    assert expand_group(CellGroup(("T1",), arms=("*_concatenated",)), alone, DEFAULTS) == []


def test_a_group_of_tasks_of_both_units_takes_the_arms_of_each() -> None:
    cells = expand_group(CellGroup(("T1", "T5"), arms=("native_patch", "native_pixel")), ARMS, DEFAULTS)
    assert {(cell.task, cell.arm) for cell in cells} == {("T1", "native_patch"), ("T5", "native_pixel")}


def test_a_study_has_a_limit() -> None:
    cells = [Cell("T1", "block", "native_patch", "logistic", Budget("shots", 1.0), 20)]
    check_fits(cells, 5, 100)
    with pytest.raises(UnknownCellError, match="'T1': 100"):
        check_fits(cells, 5, 99)


def test_probes_with_several_seeds_cost_as_many_fits() -> None:
    assert Cell("T1", "block", "native_patch", "mlp").n_fits == 5
    assert Cell("T4", "block", "native_patch", "cosine").n_fits == 0
    assert Cell("T1", "block", "patch_late_average", "logistic").n_fits == 2
    assert Cell("T2", "block", "native_patch", "logistic").n_fits == 2  # thresholds take a fit of their own


def test_a_cell_of_two_groups_is_run_once_with_the_most_draws() -> None:
    few, many = (Cell("T1", "block", "native_patch", "logistic", Budget("shots", 10.0), n) for n in (2, 20))
    other = Cell("T1", "block", "pooled_stats", "logistic", Budget("shots", 10.0), 2)
    assert merge_draws([few, other, many, few]) == [many, other]
