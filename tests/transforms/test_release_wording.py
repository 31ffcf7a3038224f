from __future__ import annotations

import pytest

from transforms.release_wording import say_files, say_looks, say_names, say_what_a_run_does_without
from transforms.releases import PublishedFile

THERE = PublishedFile("48PTT", "48PTT.parquet", "1", 10)
LISTED = PublishedFile("48PTU", "48PTU.parquet", None, None)
REWRITTEN = (
    "A run for another reason writes shards that have other files without them, and leaves shards that have none as "
    "they are stored."
)
KEPT = "No run changes what is stored of it, for there is nothing to write it from."
FAILS = (
    "A run for another reason fails at the shards of those that are still listed (1), and keeps what is stored there."
)


@pytest.mark.parametrize(
    ("gone", "files", "said"),
    [
        (("48PTU",), (THERE,), [REWRITTEN]),
        (("48PTT", "48PTU"), (), [KEPT]),
        (("48PTU",), (THERE, LISTED), [FAILS]),
        (("48PTU", "48PTV"), (THERE, LISTED), [FAILS, REWRITTEN]),
        (("48PTU",), (LISTED,), [FAILS]),
    ],
    ids=["others are there", "none is left", "it is listed", "one of two is listed", "none is there, one is listed"],
)
def test_what_a_run_does_without_files_that_are_gone(
    gone: tuple[str, ...], files: tuple[PublishedFile, ...], said: list[str]
) -> None:
    assert say_what_a_run_does_without(gone, files) == " ".join(["Nothing is run for that.", *said])


def test_counts_and_names() -> None:
    assert [say_files(count) for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [say_looks(count) for count in (1, 2)] == ["1 look in a row", "2 looks in a row"]
    assert say_names(("a", "b")) == "a, b"
    assert say_names(tuple("abcdefghij")) == "a, b, c, d, e, f, g, h and 2 more"
