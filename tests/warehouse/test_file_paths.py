from __future__ import annotations

import pickle
from pathlib import Path, PurePosixPath

import pytest

from warehouse.file_paths import CacheLimits, FileFacts, RemoteAccess, parse_url

URL = "s3://bucket/annual/2024/48N/a-0000000000-0000008192.tiff"


def test_a_remote_path_has_the_parts_of_a_path() -> None:
    remote, local = parse_url(URL, RemoteAccess()), PurePosixPath("/annual/2024/48N/a-0000000000-0000008192.tiff")
    assert (remote.name, remote.stem, remote.suffix) == (local.name, local.stem, local.suffix)
    assert (remote.container, remote.key) == ("s3://bucket", str(local)[1:])
    assert [str(parent) for parent in remote.parents] == [
        "s3://bucket/annual/2024/48N",
        "s3://bucket/annual/2024",
        "s3://bucket/annual",
        "s3://bucket",
    ]
    assert str(remote) == URL


@pytest.mark.parametrize("url", ["https://host:8000", "https://host:8000/"])
def test_a_container_alone_is_a_path(url: str) -> None:
    root = parse_url(url, RemoteAccess())
    assert (root.container, root.key, root.parents) == ("https://host:8000", "", [])
    assert str(root / "a" / "" / "b.tiff") == "https://host:8000/a/b.tiff"


def test_another_file_is_not_bound_to_the_version_of_this_one() -> None:
    bound = parse_url(URL, RemoteAccess()).at(FileFacts(1, "a"))
    assert (bound / "x").version is None
    assert all(parent.version is None for parent in bound.parents)
    assert bound != parse_url(URL, RemoteAccess())
    assert bound.through(CacheLimits(Path("/c"), 1)).version == bound.version


def test_it_travels_to_other_processes() -> None:
    bound = parse_url(URL, RemoteAccess(region="us-west-2")).at(FileFacts(1, "a"))
    assert pickle.loads(pickle.dumps(bound)) == bound


@pytest.mark.parametrize(
    ("url", "access", "problem"),
    [
        ("ftp://host/a", RemoteAccess(), "folder or a URL with one of.*s3://"),
        ("s3:///a", RemoteAccess(), "no bucket"),
        ("https:///a", RemoteAccess(), "no host"),
        ("http://host/a", RemoteAccess(), "allow_http = true"),
        ("s3://bucket/a", RemoteAccess(endpoint="http://127.0.0.1:9000"), "allow_http = true"),
        ("https://me:secret@host/a", RemoteAccess(), r"no password.*anonymous = false.*AWS_ACCESS_KEY_ID"),
        ("s3://key:secret@bucket/a", RemoteAccess(), "no password"),
        ("https://host/a.tiff?X-Amz-Signature=secret", RemoteAccess(), "signed URLs"),
        ("s3://bucket/a/*.tiff", RemoteAccess(), "must have no"),
    ],
)
def test_a_bad_url_is_said(url: str, access: RemoteAccess, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parse_url(url, access)
    assert "secret" not in str(caught.value)
