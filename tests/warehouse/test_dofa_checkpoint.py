"""Weights from files: what is read, and what is said of files that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.warehouse.images import SMALL_BASE, write_checkpoint
from transforms.dofa.checkpoint import CheckpointError
from warehouse import dofa_checkpoint
from warehouse.dofa_checkpoint import PUBLISHED, read_checkpoint
from warehouse.errors import SourceFormatError, SourceMissingError


def test_weights_are_read_and_known_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_checkpoint(tmp_path / "DOFA_ViT_base_e100.pth")
    found = read_checkpoint(path, SMALL_BASE)
    assert (found.file_name, found.published_as, len(found.sha256)) == (path.name, "", 64)
    assert found.matched.dropped == ("mask_token",)
    assert found.matched.initialised == ("fc_norm.weight", "fc_norm.bias")
    monkeypatch.setattr(dofa_checkpoint, "PUBLISHED", {found.sha256: "somewhere/file.pth"})
    assert read_checkpoint(path, SMALL_BASE).published_as == "somewhere/file.pth"


def test_missing_files_say_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match=r"dofa\.pth: found no such file") as caught:
        read_checkpoint(tmp_path / "dofa.pth", SMALL_BASE)
    for name in ("https://huggingface.co", *PUBLISHED.values(), "dofav2"):
        assert name in str(caught.value)


def test_files_of_the_first_release_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_checkpoint(tmp_path / "old.pth")
    monkeypatch.setattr(dofa_checkpoint, "OUTDATED", (read_checkpoint(path, SMALL_BASE).sha256[:8],))
    with pytest.raises(CheckpointError, match="first release, whose kernels depend on the order of bands"):
        read_checkpoint(path, SMALL_BASE)


class Surprise:
    """What a pickle may not hold."""


@pytest.mark.parametrize("content", ["text", "cut", "object", "list"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    import torch

    path = tmp_path / "odd.pth"
    if content == "text":
        path.write_text("<html>404</html>")
    elif content == "cut":
        write_checkpoint(path)
        path.write_bytes(path.read_bytes()[:100_000])
    else:
        torch.save(Surprise() if content == "object" else [1, 2], path)
    with pytest.raises(SourceFormatError, match=r"odd\.pth: checkpoint: found"):
        read_checkpoint(path, SMALL_BASE)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    import torch

    path = write_checkpoint(tmp_path / "odd.pth", cls_token=torch.zeros(1, 1, 7))
    with pytest.raises(CheckpointError, match=r"odd\.pth: 1 weights of another shape: 'cls_token'"):
        read_checkpoint(path, SMALL_BASE)
