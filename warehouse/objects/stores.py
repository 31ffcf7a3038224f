"""obstore's stores, built from what the settings say.

Belongs here: options of obstore. Does not: requests (`client.py`).
"""

from __future__ import annotations

import json
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from obstore.store import GCSStore, HTTPStore, S3Store

from warehouse.file_paths import RemoteAccess

#: A slow line may take its time, as long as bytes come.
_WHOLE_REQUEST = timedelta(minutes=20)
_DEFAULT_REGION = "us-east-1"


def open_store(container: str, access: RemoteAccess) -> Any:
    """Open the store of a bucket or a server.

    Args:
        container: `s3://bucket`, `gs://bucket`, `https://host`.
        access: how it is reached.
    """
    scheme, _, name = container.partition("://")
    if scheme == "s3":
        return S3Store(name, **_s3_options(access), **_options(access))
    if scheme == "gs":
        return GCSStore(name, **_gcs_options(access), **_options(access))
    return HTTPStore.from_url(container, **_options(access))


def open_listing_store(container: str, prefix: str, access: RemoteAccess) -> tuple[Any, str]:
    """Open the store that lists a folder, and give the folder's prefix in it.

    Web servers have no listing of their own. Those in front of an object store often speak S3 as well, with the first
    folder as the bucket.

    Returns:
        (store, prefix); no store where the address names no bucket.
    """
    if not container.startswith("http"):
        return open_store(container, access), prefix
    bucket, _, folder = prefix.partition("/")
    if not bucket:
        return None, ""
    store = S3Store(
        bucket, endpoint=container, region=access.region or _DEFAULT_REGION, skip_signature=True, **_options(access)
    )
    return store, folder


def _options(access: RemoteAccess) -> dict[str, Any]:
    """Give what all stores share. obstore's own retries are off: `client.py` counts and words them."""
    stall = timedelta(seconds=access.timeout_s)
    return {
        "client_options": {
            "user_agent": f"isthmus/{version('isthmus')}",  # data.source.coop refuses clients without a name
            "allow_http": access.allow_http,
            "connect_timeout": stall,
            "read_timeout": stall,
            "timeout": _WHOLE_REQUEST,
        },
        "retry_config": {"max_retries": 0},
    }


def _s3_options(access: RemoteAccess) -> dict[str, Any]:
    options: dict[str, Any] = {"skip_signature": access.anonymous}
    if access.region is not None:
        options["region"] = access.region
    if access.endpoint is not None:
        options["endpoint"] = access.endpoint
    if access.anonymous:
        # a public bucket is where it is, whatever AWS_ENDPOINT_URL in the environment says of the user's own
        options["region"] = access.region or _DEFAULT_REGION
        options["endpoint"] = access.endpoint or f"https://s3.{options['region']}.amazonaws.com"
    return options


def _gcs_options(access: RemoteAccess) -> dict[str, Any]:
    options: dict[str, Any] = {"skip_signature": access.anonymous}
    if access.endpoint is not None:
        account = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        options["service_account_key"] = json.dumps({**account, "gcs_base_url": access.endpoint, "disable_oauth": True})
    return options
