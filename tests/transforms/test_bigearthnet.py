from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.bigearthnet import (
    CLASSES_19,
    CLASSES_43,
    DROPPED_CLASSES,
    MERGED_CLASS,
    UnknownClassError,
    flag_classes,
    merge_class,
)

#: How many CORINE classes each of the 19 joins, in their order, counted in the published table.
MEMBERS = (2, 1, 3, 4, 1, 1, 1, 1, 1, 1, 1, 2, 2, 1, 1, 2, 2, 2, 3)


def test_forty_three_names_become_nineteen() -> None:
    assert (len(CLASSES_43), len(CLASSES_19), len(DROPPED_CLASSES)) == (43, 19, 11)
    assert len(set(CLASSES_43)) == 43
    assert [sum(merged == name for merged in MERGED_CLASS.values()) for name in CLASSES_19] == list(MEMBERS)
    assert sum(MEMBERS) + len(DROPPED_CLASSES) == 43


@pytest.mark.parametrize("name", CLASSES_43)
def test_every_name_is_merged_once_or_dropped(name: str) -> None:
    merged = merge_class(name)
    assert (merged in CLASSES_19) != (name in DROPPED_CLASSES)
    assert (merged is None) == (name in DROPPED_CLASSES)


@pytest.mark.parametrize(
    ("name", "merged"),
    [
        ("Transitional woodland/shrub", "Transitional woodland, shrub"),
        ("Peatbogs", "Inland wetlands"),
        ("Salines", "Coastal wetlands"),
        ("Coastal lagoons", "Marine waters"),
        ("Sparsely vegetated areas", "Natural grassland and sparsely vegetated areas"),
        ("Annual crops associated with permanent crops", "Permanent crops"),
        ("Intertidal flats", None),
        ("Bare rock", None),
    ],
)
def test_classes_that_are_easily_mistaken(name: str, merged: str | None) -> None:
    assert merge_class(name) == merged


def test_strange_names_are_refused() -> None:
    with pytest.raises(UnknownClassError, match="'Peat bogs', expected one of the 43"):
        merge_class("Peat bogs")
    with pytest.raises(UnknownClassError, match="'Urban fabric', expected one of the 43"):
        flag_classes([["Urban fabric"]], 43)
    with pytest.raises(UnknownClassError):
        flag_classes([["Urban"]], 19)


@given(st.lists(st.sets(st.sampled_from(CLASSES_43)), min_size=1))
def test_merging_flags_equals_merging_names(labels: list[set[str]]) -> None:
    fine, coarse = flag_classes(labels, 43), flag_classes(labels, 19)
    for number, name in enumerate(CLASSES_19):
        members = [column for column, of in enumerate(MERGED_CLASS.values()) if of == name]
        np.testing.assert_array_equal(coarse[:, number], fine[:, members].any(axis=1))
    names_of_19 = [[name for name, flag in zip(CLASSES_19, row, strict=True) if flag] for row in coarse]
    np.testing.assert_array_equal(flag_classes(names_of_19, 19), coarse)
