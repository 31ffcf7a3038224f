"""Sentences about published files, for the findings of a look at a source.

Belongs here: counting and naming files in words, what becomes of stored rows whose files are gone. Does not: deciding
(`release_decisions.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from transforms.releases import PublishedFile

#: So many names are spelled out in a message.
_NAMED = 8


def say_names(names: Sequence[str]) -> str:
    """List names, the first of them where there are many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def say_files(count: int) -> str:
    """Count files."""
    return f"{count} file{'' if count == 1 else 's'}"


def say_looks(count: int) -> str:
    """Count looks that followed each other."""
    return f"{count} look{'' if count == 1 else 's'} in a row"


def say_what_a_run_does_without(gone: Collection[str], files: Sequence[PublishedFile]) -> str:
    """Say what becomes of the stored rows of a year whose files are gone.

    A shard that has other files is written from those; one that has none left has no partition to write, so that what
    is stored stays; a file that is still listed cannot be read, and its shards fail.

    Args:
        gone: ground whose files are gone.
        files: of the year, as they are listed now.
    """
    listed = {file.ground for file in files if not file.is_there} & set(gone)
    parts = ["Nothing is run for that."]
    if listed:
        parts.append(
            f"A run for another reason fails at the shards of those that are still listed ({len(listed)}), and keeps "
            "what is stored there."
        )
    if not listed and not any(file.is_there for file in files):
        parts.append("No run changes what is stored of it, for there is nothing to write it from.")
    elif len(listed) < len(gone):
        parts.append(
            "A run for another reason writes shards that have other files without them, and leaves shards that have "
            "none as they are stored."
        )
    return " ".join(parts)
