"""`[warehouse]` of a settings file: where the tables are.

Belongs here: a folder or a bucket, and how it is reached. Does not: other sections (`sections.py`), paths of tables
(`layout.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationInfo, field_serializer, field_validator

from warehouse.access_settings import AccessSettings, read_address, write_address
from warehouse.file_paths import FilePath, RemotePath
from warehouse.local_paths import LocalPath


class WarehouseSettings(AccessSettings):
    """Where the tables are, beside how a bucket is reached: with the credentials of the environment.

    Attributes:
        scratch: folder of this machine in which files for a bucket are written before they are sent; None = that of the
            system for temporary files.
        root: folder of the tables, or their URL, `s3://bucket/folder`.
    """

    scratch: LocalPath | None = None
    root: FilePath

    @field_validator("root", mode="before")
    @classmethod
    def _read_url(cls, value: Any, info: ValidationInfo) -> FilePath:
        root = read_address(value, info.data, anonymous=False)
        if isinstance(root, RemotePath) and root.scheme != "s3":
            raise ValueError("must be a folder or s3://bucket/folder: tables are written, and only S3 was tried")
        return root

    @field_serializer("root")
    def _write_url(self, value: FilePath) -> Path | str | None:
        return write_address(value)
