"""How a bucket or a server is reached, as a settings file says it beside an address.

Belongs here: the keys that all addresses share, reading URLs with them. Does not: what is at an address
(`source_settings.py`, `warehouse_settings.py`), requests (`objects/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from warehouse.file_paths import FilePath, RemoteAccess, RemotePath, parse_url, refuse_password


class AccessSettings(BaseModel):
    """How a bucket or a server is reached.

    Attributes:
        region: of an S3 bucket.
        endpoint: of a store that speaks S3 elsewhere than at Amazon, e.g. `https://data.source.coop`.
        allow_http: without TLS, for servers at hand.
        connections: requests in flight at once.
        tries: of one request, before it is given up; each wait is about twice the one before.
        timeout_s: seconds without a byte, after which a try has failed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # how comes before where: URLs are read with it
    region: str | None = None
    endpoint: str | None = Field(default=None, pattern="^https?://")
    allow_http: bool = False
    connections: int = Field(default=8, ge=1, le=64)
    tries: int = Field(default=8, ge=1, le=30)
    timeout_s: float = Field(default=30.0, gt=0, le=600)

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint is not None:
            refuse_password(endpoint)
        return endpoint


def read_address(value: Any, given: Mapping[str, Any], *, anonymous: bool) -> FilePath:
    """Turn a URL into a path that knows how it is reached, and other text into a path.

    Args:
        value: of a settings file.
        given: checked values of the keys above; those that are wrong are missing.
        anonymous: requests are not signed.

    Raises:
        ValueError: neither, in words.
    """
    if isinstance(value, Path | RemotePath):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a folder or a URL")
    if "://" not in value:
        return Path(value)
    keys = {key: given[key] for key in AccessSettings.model_fields if key in given}
    return parse_url(value, RemoteAccess(**keys, anonymous=anonymous))


def write_address(path: FilePath | None) -> Path | str | None:
    """Give a URL as the settings file has it."""
    return path.url if isinstance(path, RemotePath) else path
