"""What is written to a store is there whole or not at all, whatever fails on the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from tests.bucket import Bucket
from warehouse.errors import SourceForbiddenError, SourceMissingError, SourceUnavailableError
from warehouse.file_paths import FileFacts, RemotePath
from warehouse.objects import fetch_loop
from warehouse.objects.client import open_client
from warehouse.unfinished import replace_file, sweep_unfinished

pytestmark = pytest.mark.usefixtures("short_waits")

#: More than one part of an upload in parts.
LONG = bytes(range(256)) * 50_000
DOWN = GenericError("status code: 503")


@pytest.fixture
def place(bucket: Bucket, tmp_path: Path) -> RemotePath:
    return bucket.path(tmp_path.name, tmp_path / "scratch") / "x.parquet"


@pytest.fixture
def fail_puts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let the next uploads fail, after the store has taken them or before."""

    def fail(place: RemotePath, times: int, *, is_taken: bool = False, error: Exception = DOWN) -> list[str]:
        client, seen = open_client(place), []
        store = client._store

        class Failing:
            def __getattr__(self, name: str) -> Any:
                return getattr(store, name)

            async def put_async(self, key: str, *args: Any, **options: Any) -> Any:
                seen.append(key)
                if len(seen) > times:
                    return await store.put_async(key, *args, **options)
                if is_taken:
                    await store.put_async(key, *args, **options)
                raise error

        monkeypatch.setattr(client, "_store", Failing())
        return seen

    return fail


def send(place: RemotePath, content: bytes, error: Exception | None = None) -> None:
    """Replace an object; fail in the middle if there is an error to raise."""
    with replace_file(place, "table") as temporary:
        temporary.write_bytes(content)
        if error is not None:
            raise error


@pytest.mark.parametrize("content", [b"", b"short", LONG], ids=["empty", "short", "long"])
def test_a_file_is_sent_whole_and_leaves_nothing_here(bucket: Bucket, place: RemotePath, content: bytes) -> None:
    with replace_file(place, "table") as temporary:
        temporary.write_bytes(content)
        assert place.name not in bucket.keys(place.parent.key)
    assert bucket.get(place.key) == content
    assert list((place.access.scratch or Path()).iterdir()) == []


@pytest.mark.parametrize(("name", "kind"), [("r.html", "text/html"), ("x.parquet", "octet-stream"), ("a.json", "json")])
def test_a_browser_is_told_what_an_object_is(bucket: Bucket, place: RemotePath, name: str, kind: str) -> None:
    with replace_file(place.with_name(name), "page") as temporary:
        temporary.write_text("{}")
    assert kind in bucket.head(place.with_name(name).key)["ContentType"]


def test_a_write_that_fails_leaves_what_was_there(bucket: Bucket, place: RemotePath) -> None:
    bucket.put(place.key, b"old")
    with pytest.raises(RuntimeError):
        send(place, b"half", RuntimeError())
    assert bucket.get(place.key) == b"old"
    assert list((place.access.scratch or Path()).iterdir()) == []


@pytest.mark.parametrize("is_taken", [False, True])
def test_an_upload_is_tried_again(
    bucket: Bucket, place: RemotePath, fail_puts: Callable[..., list[str]], is_taken: bool
) -> None:
    tried = fail_puts(place, 2, is_taken=is_taken)
    with replace_file(place, "table") as temporary:
        temporary.write_bytes(LONG)
    assert len(tried) == 3
    assert bucket.get(place.key) == LONG


def test_a_store_that_is_down_is_said_and_keeps_the_old_file(
    bucket: Bucket, place: RemotePath, fail_puts: Callable[..., list[str]]
) -> None:
    bucket.put(place.key, b"old")
    tried = fail_puts(place, 100)
    with pytest.raises(SourceUnavailableError, match=rf"{place.url}.*{place.access.tries} tries.*503"):
        send(place, b"new")
    assert len(tried) == place.access.tries
    assert bucket.get(place.key) == b"old"


def test_a_user_who_may_not_write_is_told_at_once(place: RemotePath, fail_puts: Callable[..., list[str]]) -> None:
    tried = fail_puts(place, 100, error=PermissionDeniedError("status code: 403 Forbidden"))
    with pytest.raises(SourceForbiddenError, match="403 Forbidden"):
        send(place, b"new")
    assert len(tried) == 1


def test_a_bucket_that_is_not_there_is_said(place: RemotePath) -> None:
    elsewhere = RemotePath("s3://none-of-these/x.parquet", place.access)
    with pytest.raises(SourceMissingError, match="s3://none-of-these"):
        send(elsewhere, b"new")


def test_a_swap_needs_the_version_that_was_seen(bucket: Bucket, place: RemotePath) -> None:
    client = open_client(place)

    def swap(content: bytes, expected: FileFacts | None) -> FileFacts | None:
        return fetch_loop.wait(client.swap(place.key, content, expected))

    first = swap(b"1", None)
    assert first is not None
    assert first.size_bytes == 1
    assert swap(b"2", None) is None
    second = swap(b"2", first)
    assert second is not None
    assert swap(b"3", first) is None
    assert bucket.get(place.key) == b"2"
    fetch_loop.wait(client.delete(place.key))
    assert swap(b"3", second) is None


def test_of_many_swaps_one_wins(bucket: Bucket, place: RemotePath) -> None:
    won = []

    def swap(number: int) -> None:
        if fetch_loop.wait(open_client(place).swap(place.key, str(number).encode(), None)) is not None:
            won.append(number)

    threads = [threading.Thread(target=swap, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert bucket.get(place.key) == str(won[0]).encode()


def test_what_is_not_there_counts_as_removed(bucket: Bucket, place: RemotePath) -> None:
    bucket.put(place.key, b"x")
    for _ in range(2):
        fetch_loop.wait(open_client(place).delete(place.key))
    assert place.name not in bucket.keys(place.parent.key)


def test_what_killed_processes_left_in_the_scratch_folder_is_swept(place: RemotePath, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with replace_file(place, "table") as temporary:
        temporary.write_bytes(b"x")
        left = temporary.with_name(temporary.name.replace(f".{os.getpid()}.", f".{2**22 + 1}."))
        left.write_bytes(b"half")
        assert sweep_unfinished(place.parent) == [left]
        assert temporary.exists()
    assert list(scratch.iterdir()) == []
