"""A bucket on loopback for the tests of warehouses in an object store: moto's S3 server.

Belongs here: the server, what lies in it. Does not: assertions, faults (`fault_server.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from warehouse.file_paths import RemoteAccess, RemotePath

REGION = "us-east-1"
#: What moto takes for credentials; to be set in the environment.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


@dataclass(frozen=True)
class Bucket:
    """A bucket.

    Attributes:
        name: of the bucket.
        endpoint: of its server.
    """

    name: str
    endpoint: str

    def path(self, folder: str, scratch: Path | None = None) -> RemotePath:
        """Give a folder as the settings would."""
        access = RemoteAccess(REGION, self.endpoint, anonymous=False, allow_http=True, scratch=scratch)
        return RemotePath(f"s3://{self.name}/{folder}", access)

    def section(self, folder: str) -> dict[str, Any]:
        """Give `[warehouse]` of a settings file."""
        return {"root": f"s3://{self.name}/{folder}", "endpoint": self.endpoint, "region": REGION, "allow_http": True}

    def keys(self, folder: str = "") -> list[str]:
        """List the objects below a folder, relative to it."""
        prefix = f"{folder}/" if folder else ""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return sorted(one["Key"].removeprefix(prefix) for page in pages for one in page.get("Contents", ()))

    def head(self, key: str) -> dict[str, Any]:
        """Give what the server says of an object."""
        return dict(self._client().head_object(Bucket=self.name, Key=key))

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self._client().put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        """Read an object."""
        return bytes(self._client().get_object(Bucket=self.name, Key=key)["Body"].read())

    def download(self, folder: str, target: Path) -> Path:
        """Copy a folder to the disk."""
        for key in self.keys(folder):
            path = target / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.get(f"{folder}/{key}"))
        return target

    def upload(self, source: Path, folder: str) -> None:
        """Copy a folder from the disk."""
        for path in source.rglob("*"):
            if path.is_file():
                self.put(f"{folder}/{path.relative_to(source).as_posix()}", path.read_bytes())

    def _client(self) -> Any:
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip


@contextmanager
def serve_bucket(name: str) -> Iterator[Bucket]:
    """Serve an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    bucket = Bucket(name, f"http://{host}:{port}")
    try:
        bucket._client().create_bucket(Bucket=name)
        yield bucket
    finally:
        server.stop()
