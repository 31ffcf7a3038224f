"""The public layout behind a whole S3 server, as far as moto is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from warehouse.errors import SourceMissingError, SourceRefusedError
from warehouse.products import Product
from warehouse.source_settings import SourceSettings
from warehouse.sources.index import read_index
from warehouse.sources.patches import read_unique_patches

BUCKET = "us-west-2.opendata.source.coop"
EG = "earthgenome/earthindexembeddings"
EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)


@pytest.fixture(scope="module")
def s3(tiny_world: Path) -> Iterator[str]:
    """Endpoint of a server whose bucket has the patch files of the tiny world."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-west-2", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    public = {"ACL": "public-read"}
    for path in (tiny_world / EG).rglob("*.parquet"):
        name = path.relative_to(tiny_world / EG).as_posix()
        client.upload_file(str(path), BUCKET, f"{EG}/{name}", ExtraArgs=public)
        client.upload_file(str(path), BUCKET, f"private/{name}")
    client.upload_file(str(tiny_world / "SIMULATED.json"), BUCKET, "SIMULATED.json", ExtraArgs=public)
    try:
        yield endpoint
    finally:
        server.stop()


@pytest.mark.parametrize("url", [f"s3://{BUCKET}/{EG}", f"{{endpoint}}/{BUCKET}/{EG}"])
def test_rows_are_those_of_the_folder(tiny_world: Path, s3: str, products: dict[str, Product], url: str) -> None:
    there = SourceSettings(
        root=url.format(endpoint=s3),  # type: ignore[arg-type]
        endpoint=s3 if url.startswith("s3") else None, region="us-west-2", allow_http=True,
    )  # fmt: skip
    local = SourceSettings(root=tiny_world / EG)
    index, expected = (read_index(products["eg"], source, [2024]) for source in (there, local))
    same = [name for name in expected.column_names if name != "etag"]
    assert index.select(same) == expected.select(same)
    assert all(index["is_simulated"].to_pylist())
    found, wanted = (
        read_unique_patches(products["eg"], source, rows, EVERYWHERE).patches
        for source, rows in ((there, index), (local, expected))
    )
    assert (found.patch_id == wanted.patch_id).all()
    assert (found.vectors == wanted.vectors).all()


def test_a_private_bucket_is_read_with_credentials(
    s3: str, products: dict[str, Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    private: dict[str, Any] = {"root": f"s3://{BUCKET}/private", "endpoint": s3, "region": "us-west-2"}
    with pytest.raises(SourceRefusedError, match=r"403 Forbidden.*anonymous = false"):
        read_index(products["eg"], SourceSettings(**private, allow_http=True), [2024])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    index = read_index(products["eg"], SourceSettings(**private, allow_http=True, anonymous=False), [2024])
    assert index["etag"].null_count == 0


def test_a_bucket_that_is_not_there_is_said(s3: str, products: dict[str, Product]) -> None:
    source = SourceSettings(root="s3://none/eg", endpoint=s3, allow_http=True, tries=2)  # type: ignore[arg-type]
    with pytest.raises(SourceMissingError, match=r"s3://none/eg/2024: found 404 Not Found.*source root"):
        read_index(products["eg"], source, [2024])
