"""Bodies of assets on the workers of a Dask cluster.

Belongs here: talking to the scheduler, and what a worker does with a body. Does not: the resource that assets see
(`engines.py`), starting a cluster (docs/deploy.md).

Dask gives the body of a worker that died to another one; a body writes whole files, so a second try gives the same
rows. A body that raised is not tried again: what is worth another try, such as a time-out, is tried again inside it.
"""

from __future__ import annotations

import importlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from orchestration.engines import EngineError, MissingDaskError
from orchestration.turns import DAGSTER_TURN
from warehouse.file_paths import FilePath
from warehouse.held_leases import check_lease, work_under
from warehouse.layout import PartitionKey
from warehouse.provenance import code_version
from warehouse.run_lease import LentLease, lend_leases
from warehouse.settings import Settings
from warehouse.store import Warehouse
from warehouse.unfinished import unfinished_name
from warehouse.write_errors import write_errors

T = TypeVar("T")
#: How often a waiting run hands on messages and looks whether the cluster is still there, seconds.
_LOOK_S = 0.5


@dataclass(frozen=True)
class Order:
    """A body and its arguments, as they travel to a worker.

    Attributes:
        body: module-level function.
        settings: of the warehouse, as the sender reads them: a worker needs neither the file nor its environment.
        args: after the warehouse.
        code: version of the sender's code.
        mark: file that the sender made in the warehouse, which tells a shared folder from another of the same name.
        leases: of the sender on a warehouse in a bucket; the body works under them.
        topic: under which the body's messages are sent; None: it says nothing.
    """

    body: Callable[..., Any]
    settings: Settings
    args: tuple[object, ...]
    code: str
    mark: Path | None
    leases: tuple[LentLease, ...]
    topic: str | None


@dataclass(frozen=True)
class DaskCluster:
    """A cluster, by the address of its scheduler.

    Attributes:
        address: e.g. `tcp://scheduler:8786`.
        wait_s: how long it may be without a scheduler or a worker, seconds.
    """

    address: str
    wait_s: float

    def run(
        self, body: Callable[..., T], warehouse: Warehouse, args: Sequence[object], report: Callable[[str], None] | None
    ) -> T:
        """Compute a body on a worker and give what it returns (see `EngineResource.run`)."""
        keys = [str(one).replace("|", "-") for one in args if isinstance(one, PartitionKey)]
        name = "-".join([body.__name__, *keys, uuid.uuid4().hex[:12]])
        messages: SimpleQueue[str] = SimpleQueue()
        with self._connect() as client, _mark_folder(warehouse.root) as mark:
            if report is not None:
                client.subscribe_topic(name, lambda event: messages.put(event[1]))
            topic = name if report is not None else None
            leases = lend_leases(warehouse.root)
            order = Order(body, warehouse.settings, tuple(args), code_version(), mark, leases, topic)
            future = client.submit(compute, order, key=name, pure=False)
            for _ in self._watch(client, future):
                _hand_on(messages, report)
                check_lease(warehouse.root)  # else it would wait for rows that no worker may store
            _hand_on(messages, report)
            return self._give_result(future)

    def count_threads(self) -> int:
        """Count the threads of all workers, once there is one."""
        with self._connect() as client:
            try:
                client.wait_for_workers(1, timeout=self.wait_s)
            except TimeoutError as error:
                raise self._without_workers() from error
            return sum(client.nthreads().values())

    @contextmanager
    def _connect(self) -> Iterator[Any]:
        distributed = import_distributed()
        try:
            client = distributed.Client(self.address, timeout=self.wait_s, set_as_default=False)
        except (OSError, ValueError) as error:  # nobody listens, or the address is none
            raise EngineError(
                self.address,
                f"no scheduler ({error})",
                "one that answers",
                "Start `dask scheduler`, or mend the address.",
            ) from error
        with client:
            yield client

    def _watch(self, client: Any, future: Any) -> Iterator[None]:
        """Wait for a future, and come up now and then; stop waiting where nobody is left to compute it."""
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        seen = time.monotonic()
        while not _wait_a_moment(ended):
            yield
            if client.nthreads():
                seen = time.monotonic()
            elif time.monotonic() - seen > self.wait_s:
                raise self._without_workers()

    def _give_result(self, future: Any) -> Any:
        distributed = import_distributed()
        try:
            return future.result()
        except distributed.KilledWorker as error:
            raise EngineError(
                self.address,
                f"that {future.key} ended worker after worker, last {error.last_worker.address}",
                "workers that live through it",
                "Most likely memory: give workers more (`--memory-limit`), or fewer threads (`--nthreads 1`).",
            ) from error
        except distributed.client.FutureCancelledError as error:
            raise EngineError(
                self.address, "that the scheduler went away", "one that stays", "Start it, and run the same again."
            ) from error

    def _without_workers(self) -> EngineError:
        return EngineError(
            self.address,
            f"no worker for {self.wait_s:g} s",
            "at least one",
            "Start `dask worker ADDRESS --nthreads 1` in the same environment as the scheduler.",
        )


def compute(order: Order) -> Any:
    """Compute a body; runs on a worker.

    Raises:
        EngineError: the worker runs other code, or sees another warehouse: its rows would not be those of the sender.
    """
    worker = import_distributed().get_worker()
    if code_version() != order.code:
        raise EngineError(
            worker.address, f"code {code_version()}", f"that of the sender, {order.code}", "Update one of them."
        )
    if order.mark is not None and not order.mark.exists():
        raise EngineError(
            worker.address, f"no {order.mark}", "the sender's folder", "Mount the warehouse there under the same path."
        )
    with ExitStack() as under:
        for lease in order.leases:
            if lease.is_lost():
                raise EngineError(
                    worker.address, f"no lease of the sender at {lease.place}", "the sender's bucket and its lease",
                    "Reach the same store from the worker, or run the same command again.",
                )  # fmt: skip
            under.enter_context(work_under(lease))
        return _call(order, worker)


def _call(order: Order, worker: Any) -> Any:
    warehouse = Warehouse(order.settings)
    if order.topic is None:
        return order.body(warehouse, *order.args)
    return order.body(warehouse, *order.args, lambda text: worker.log_event(order.topic, text))


def import_distributed() -> Any:
    """Give the package `distributed`.

    Raises:
        MissingDaskError: it is not installed.
    """
    try:
        return importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise MissingDaskError from error


@contextmanager
def _mark_folder(root: FilePath) -> Iterator[Path | None]:
    """Leave a file in a warehouse for as long as a body runs; a URL needs none.

    It is named as unfinished files are: readers pass it by, and the next run removes that of a killed process. Its name
    is new each time: a worker that has asked for it before might be told from a cache of NFS that it is not there.
    """
    if not isinstance(root, Path):
        yield None
        return
    mark = root / unfinished_name("mark")
    with write_errors("warehouse.root", root):
        mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def _wait_a_moment(ended: threading.Event) -> bool:
    """Wait, and let other runs of this process go on meanwhile; tell whether it has ended."""
    with DAGSTER_TURN.set_aside():
        return ended.wait(_LOOK_S)


def _hand_on(messages: SimpleQueue[str], report: Callable[[str], None] | None) -> None:
    while report is not None:
        try:
            report(messages.get_nowait())
        except Empty:
            return
