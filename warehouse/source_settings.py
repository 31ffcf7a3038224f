"""`[sources.<name>]` and `[cache]` of a settings file: where a product's files are, and how they are reached.

Belongs here: what a user may set about sources, and its limits. Does not: reading files (`sources/`), other sections
(`sections.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_serializer, field_validator

from warehouse.file_paths import CacheLimits, FilePath, RemoteAccess, RemotePath, parse_url, refuse_password
from warehouse.local_paths import LocalPath

_BYTES_PER_GB = 10**9
_ACCESS_KEYS = ("region", "endpoint", "anonymous", "allow_http", "connections", "tries", "timeout_s")


class SourceSettings(BaseModel):
    """Where the files of one product are.

    Attributes:
        region: of an S3 bucket.
        endpoint: of a store that speaks S3 elsewhere than at Amazon, e.g. `https://data.source.coop`.
        anonymous: requests are not signed; false: with the credentials of the environment (`AWS_ACCESS_KEY_ID`,
            `GOOGLE_APPLICATION_CREDENTIALS`, ...).
        allow_http: without TLS, for servers at hand.
        connections: requests in flight at once.
        tries: of one request, before it is given up; each wait is about twice the one before.
        timeout_s: seconds without a byte, after which a try has failed.
        root: folder that holds the published tree or the files, or its URL: `s3://`, `gs://`, `https://`. Products
            with a public root (`warehouse/products.toml`) need none.
        files: glob below `root` for products without a fixed layout.
        index: index file for products that have one; None = the published name below `root`.
        year: year of files that do not name one.
        years: calendar years of this product; None = those of the settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # how comes before where: URLs are read with it
    region: str | None = None
    endpoint: str | None = Field(default=None, pattern="^https?://")
    anonymous: bool = True
    allow_http: bool = False
    connections: int = Field(default=8, ge=1, le=64)
    tries: int = Field(default=8, ge=1, le=30)
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    root: FilePath
    files: str = "*"
    index: FilePath | None = None
    year: int | None = None
    years: tuple[int, ...] | None = None

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint is not None:
            refuse_password(endpoint)
        return endpoint

    @field_validator("root", "index", mode="before")
    @classmethod
    def _read_url(cls, value: Any, info: ValidationInfo) -> Any:
        """Turn URLs into paths that know how they are reached."""
        if value is None or isinstance(value, Path | RemotePath):
            return value
        if not isinstance(value, str):
            raise ValueError("must be a folder or a URL")
        if "://" not in value:
            return Path(value)
        return parse_url(value, RemoteAccess(**{key: info.data[key] for key in _ACCESS_KEYS if key in info.data}))

    @field_serializer("root", "index")
    def _write_url(self, value: FilePath | None) -> Path | str | None:
        """Give URLs as the settings file has them."""
        return value.url if isinstance(value, RemotePath) else value


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
