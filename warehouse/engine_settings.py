"""The `[engine]` section: what computes partitions.

Belongs here: the kinds of engine and their limits. Does not: other sections (`sections.py`), engines themselves
(`orchestration/engines.py`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class EngineSettings(BaseModel):
    """What computes partitions.

    Attributes:
        kind: `local` (the process that runs the job) or `dask` (the workers of a Dask cluster).
        address: of the Dask scheduler, e.g. `tcp://scheduler:8786`.
        at_once: partitions that the command line has under way at once. None: one in this process, one a thread of a
            cluster.
        wait_s: how long a cluster may be without a scheduler or a worker before a partition fails, seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local", "dask"] = "local"
    address: str | None = None
    at_once: int | None = Field(default=None, ge=1, le=1024)
    wait_s: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> EngineSettings:
        if self.kind == "dask" and self.address is None:
            raise ValueError("kind 'dask' needs address, e.g. tcp://scheduler:8786")
        if self.kind == "local" and (self.address is not None or self.at_once not in (None, 1)):
            raise ValueError("address and at_once are those of a cluster: set kind = 'dask', or leave them out")
        return self
