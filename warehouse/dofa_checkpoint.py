"""DOFA's weights from a local file.

Belongs here: which files are published, reading one. Does not: what fits the model (`transforms/dofa/checkpoint.py`).

The weights are not ours to ship: users download them. The first release of 2024 belongs to a patch embedding that mixed
the kernels of bands (torchgeo pull request 2256); its files have the same names and shapes inside, so they are told
apart by their SHA-256.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transforms.dofa.checkpoint import CheckpointError, MatchedWeights, match_checkpoint
from transforms.dofa.sizes import DofaSize
from transforms.upsampling.torch_training import import_torch
from warehouse.errors import SourceFormatError, SourceMissingError

#: SHA-256 of the published files that are read, and where they are on Hugging Face.
PUBLISHED: Mapping[str, str] = MappingProxyType(
    {
        "4720985e42b918ac0307009eb06121a3435d9bbce6fd95446f84824a538165b1": "earthflow/DOFA/DOFA_ViT_base_e100.pth",
        "ea9910bc026268ca36c30b76fd1169aeaca9ea51af5eaff840a20f150ea03d49": "earthflow/DOFA/DOFA_ViT_large_e100.pth",
        "a027595480a4b0641d0be330d876034439bcb6ead8b9ce10f4949227426856c6": (
            "torchgeo/dofa/dofa_base_patch16_224-a0275954.pth"
        ),
        "0ff904d35418b0ae26e15812f2669f906a047f94517823bfbc3824eac9328291": (
            "torchgeo/dofa/dofa_large_patch16_224-0ff904d3.pth"
        ),
    }
)
#: First digits of the SHA-256 of files of the first release; torchgeo's names end in them.
OUTDATED = ("7cc0f413", "fbd47fa9")

_WHERE = (
    "Download one of them from https://huggingface.co (4 files, CC-BY-4.0): "
    + ", ".join(PUBLISHED.values())
    + ". Not read: dofav2_*, *_full_weight.pth, weight generators alone"
)


@dataclass(frozen=True)
class DofaCheckpoint:
    """Weights with what identifies them.

    Attributes:
        file_name: of the file that was read.
        sha256: of its bytes.
        published_as: repository and file that have these bytes; empty where none of those we know has.
        matched: the weights.
    """

    file_name: str
    sha256: str
    published_as: str
    matched: MatchedWeights


def read_checkpoint(path: Path, size: DofaSize) -> DofaCheckpoint:
    """Read weights and match them to the model. Nothing but tensors is unpickled.

    Args:
        path: a `.pth` file of the published layout.
        size: of the model.

    Raises:
        SourceMissingError: no such file; the message says where to get it.
        SourceFormatError: torch cannot read it, or it holds something else than weights by name.
        CheckpointError: names or shapes do not fit, or the file is of the first release.
        MissingTorchError: torch is not installed.
    """
    if not path.is_file():
        raise SourceMissingError(str(path), "no such file", "a checkpoint of DOFA", f"{_WHERE}.")
    sha256 = _hash_file(path)
    if sha256.startswith(OUTDATED):
        raise CheckpointError(
            str(path),
            ["found weights of the first release, whose kernels depend on the order of bands"],
            f"{_WHERE}.",
        )
    found = _load(path)
    if not isinstance(found, Mapping) or not found:
        raise SourceFormatError(str(path), "checkpoint", type(found).__name__, "weights by name", f"{_WHERE}.")
    return DofaCheckpoint(path.name, sha256, PUBLISHED.get(sha256, ""), match_checkpoint(found, size, str(path)))


def _load(path: Path) -> Any:
    torch = import_torch("DOFA")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceFormatError(
            str(path), "checkpoint", f"{path.stat().st_size} bytes that torch refuses ({cause})", "a .pth of weights",
            "Is the download complete?",
        ) from error  # fmt: skip


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
