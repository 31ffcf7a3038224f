"""What identifies the labels of patch folders follows every file that they are read from, and no other."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.warehouse.sources.test_bigearthnet import write_patch
from warehouse.errors import SourceFormatError
from warehouse.sources.bigearthnet import read_bigearthnet
from warehouse.sources.bigearthnet_files import METADATA, identify_labels, look_at_metadata


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "patches"
    for name in "abc":
        write_patch(folder, name, ["Pastures"])
    (folder / "train.csv").write_text("a\nb\n")
    return folder


def write_over(path: Path, text: str) -> None:
    """Write into a file, as an editor may: its folder keeps its time."""
    folder = path.parent.stat()
    path.write_text(text)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
    assert path.parent.stat().st_mtime_ns == folder.st_mtime_ns


def relabel(root: Path) -> None:
    path = root / "b" / f"b{METADATA}"
    record = json.loads(path.read_text())
    write_over(path, json.dumps(record | {"labels": ["Airports"]}))


CHANGES: dict[str, Callable[[Path], None]] = {
    "other labels": relabel,
    "the same length at another time": lambda root: write_over(root / "b" / f"b{METADATA}", "x"),
    "a patch more": lambda root: write_patch(root, "d", ["Pastures"]),
    "a patch less": lambda root: shutil.rmtree(root / "c"),
    "a patch without its labels": lambda root: (root / "c" / f"c{METADATA}").unlink(),
    "a patch in a folder of another name": lambda root: (
        write_patch(root, "d", ["Pastures"]) or (root / "d").rename(root / "e")
    ),
    "another list": lambda root: write_over(root / "train.csv", "a\nc\n"),
    "a list more": lambda root: (root / "patches_with_seasonal_snow.csv").write_text("a\n") and None,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_what_is_read_is_seen(root: Path, name: str) -> None:
    before = identify_labels(root)
    assert identify_labels(root) == before
    CHANGES[name](root)
    assert identify_labels(root) != before


def test_lists_that_lie_elsewhere_are_those_that_count(root: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "test.csv").write_text("a\n")
    before = identify_labels(root, lists)
    write_over(root / "train.csv", "c\n")
    assert identify_labels(root, lists) == before
    write_over(lists / "test.csv", "b\n")
    assert identify_labels(root, lists) != before


def test_what_is_not_read_does_not_count(root: Path, tmp_path: Path) -> None:
    before = identify_labels(root)
    (root / "a" / "a_B02.tif").write_bytes(b"a band")
    (root / "notes.txt").write_text("not a patch")
    (root / "empty").mkdir()
    os.utime(root / "b")
    assert identify_labels(root) == before
    assert identify_labels(shutil.copytree(root, tmp_path / "elsewhere")) == before


def test_the_files_that_are_looked_at_are_those_that_are_read(root: Path) -> None:
    write_patch(root, "d", ["Pastures"])
    (root / "d").rename(root / "e")
    looked = {os.path.basename(path).removesuffix(METADATA) for path, _ in look_at_metadata(root)}
    assert looked == {name for names in read_bigearthnet(root).names for name in names} == set("abcd")


def test_folders_with_the_published_names_are_not_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are half a million: one question each, not a listing each."""
    listed: list[str] = []
    really = os.scandir

    def note(path: str) -> object:
        listed.append(str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", note)
    assert len(list(look_at_metadata(root))) == 3
    assert listed == [str(root)]


def test_a_folder_that_may_not_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.stat

    def refuse(path: str, **options: bool) -> os.stat_result:
        if "/b/" in str(path):
            raise PermissionError(13, "Permission denied")
        return really(path, **options)

    monkeypatch.setattr("warehouse.sources.bigearthnet_files.os.stat", refuse)
    with pytest.raises(SourceFormatError, match=r"patches/b: rights: found a folder that this user may not read"):
        identify_labels(root)
