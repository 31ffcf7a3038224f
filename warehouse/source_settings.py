"""`[sources.<name>]` and `[cache]` of a settings file: where a product's files are, and how they are reached.

Belongs here: what a user may set about sources, and its limits. Does not: reading files (`sources/`), other sections
(`sections.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_serializer, field_validator

from warehouse.access_settings import AccessSettings, read_address, write_address
from warehouse.file_paths import CacheLimits, FilePath
from warehouse.local_paths import LocalPath

_BYTES_PER_GB = 10**9


class SourceSettings(AccessSettings):
    """Where the files of one product are, beside how they are reached.

    Attributes:
        anonymous: requests are not signed; false: with the credentials of the environment (`AWS_ACCESS_KEY_ID`,
            `GOOGLE_APPLICATION_CREDENTIALS`, ...).
        root: folder that holds the published tree or the files, or its URL: `s3://`, `gs://`, `https://`. Products
            with a public root (`warehouse/products.toml`) need none.
        files: glob below `root` for products without a fixed layout.
        index: index file for products that have one; None = the published name below `root`.
        year: year of files that do not name one.
        years: calendar years of this product; None = those of the settings.
    """

    anonymous: bool = True
    root: FilePath
    files: str = "*"
    index: FilePath | None = None
    year: int | None = None
    years: tuple[int, ...] | None = None

    @field_validator("root", "index", mode="before")
    @classmethod
    def _read_url(cls, value: Any, info: ValidationInfo) -> FilePath | None:
        return None if value is None else read_address(value, info.data, anonymous=info.data.get("anonymous", True))

    @field_serializer("root", "index")
    def _write_url(self, value: FilePath | None) -> Path | str | None:
        return write_address(value)


class CacheSettings(BaseModel):
    """Where blocks of remote files are kept, so that none is fetched twice.

    Attributes:
        root: folder; may be shared by any number of warehouses and processes.
        max_gb: size that it is kept below, 10^9 bytes; 0 = no cache.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: LocalPath = Path("~/.cache/isthmus")
    max_gb: float = Field(default=10.0, ge=0)

    @property
    def limits(self) -> CacheLimits | None:
        """The cache as readers take it; None where there is none."""
        if not self.max_gb:
            return None
        return CacheLimits(self.root, int(self.max_gb * _BYTES_PER_GB))
