"""Engines: what computes the body of an asset.

Belongs here: the resource that assets hand their bodies to. Does not: bodies (`assets/`), how a Dask cluster is talked
to (`dask_engine.py`), in which order partitions run (`pipeline.py`).

A body is a module-level function of (warehouse, key, ...): it gets all that it needs as arguments and writes whole
files, so any process that sees the same folders may compute it, and compute it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import dagster as dg

from transforms.errors import IsthmusError
from warehouse.engine_settings import EngineSettings
from warehouse.store import Warehouse

T = TypeVar("T")
Report = Callable[[str], None]


class EngineError(IsthmusError):
    """A cluster did not compute a body: it is not there, lost its workers, or is not set up like this process."""

    def __init__(self, address: str, found: str, expected: str, fix: str) -> None:
        super().__init__(f"engine {address}: found {found}, expected {expected}. {fix}")


class MissingDaskError(IsthmusError):
    """The settings name a Dask cluster, and this environment cannot talk to one. Permanent."""

    def __init__(self) -> None:
        super().__init__(
            "engine dask: found no package distributed, expected it to be installed. Run: pip install 'isthmus[dask]', "
            "or leave [engine] out of the settings."
        )


class EngineResource(dg.ConfigurableResource):
    """What computes bodies: this process, or the workers of a Dask cluster.

    Attributes:
        address: of the Dask scheduler, e.g. `tcp://scheduler:8786`. None: this process computes.
        wait_s: how long a cluster may be without a scheduler or a worker before a body fails, seconds.
    """

    address: str | None = None
    wait_s: float = EngineSettings().wait_s

    def run(self, body: Callable[..., T], warehouse: Warehouse, *args: object, report: Report | None = None) -> T:
        """Compute a body and give what it returns.

        Args:
            body: module-level function of (warehouse, *args), and of `report` where that is given.
            warehouse: its first argument; a worker opens the same one from its settings.
            args: the others; they can be pickled.
            report: called in this process with what the body says while it runs.

        Raises:
            EngineError: the cluster is not there, lost its workers, or runs other code.
        """
        if self.address is None:
            return body(warehouse, *args) if report is None else body(warehouse, *args, report)
        from orchestration.dask_engine import DaskCluster  # needs the extra `dask`

        return DaskCluster(self.address, self.wait_s).run(body, warehouse, args, report)

    def count_threads(self) -> int:
        """Count the bodies that can be computed at once.

        Raises:
            EngineError: the cluster is not there, or has no worker.
        """
        if self.address is None:
            return 1
        from orchestration.dask_engine import DaskCluster  # needs the extra `dask`

        return DaskCluster(self.address, self.wait_s).count_threads()


def build_engine(settings: EngineSettings) -> EngineResource:
    """Make the resource that a settings file asks for."""
    return EngineResource(address=settings.address, wait_s=settings.wait_s)
