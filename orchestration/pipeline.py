"""Running all jobs of one settings file, in order, from this process.

Belongs here: which job runs for which partition keys, what is done before, what a failure stops. Does not: the jobs
(`jobs.py`), which partitions are current (`warehouse/partition_states.py`), printing (`console.py`). In-process because
starting a step in a process of its own costs about 8 s; the bodies of steps go to the engine of the settings.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg

from orchestration.definitions import CONFIG_VARIABLE, build_defs
from orchestration.engines import build_engine
from orchestration.killed_runs import close_killed_runs, close_own_runs, tag_process
from orchestration.partitions import PartitionKeys, forget_partitions, format_key, seed_partitions
from orchestration.progress_log import PROGRESS_LOGGER
from orchestration.run_problems import list_failed_checks, list_problems
from orchestration.threads import call_in_thread, run_at_once
from orchestration.turns import DAGSTER_TURN
from warehouse.cell_files import drop_cells
from warehouse.errors import SourceMissingError
from warehouse.held_leases import check_lease
from warehouse.layout import ALL, PartitionKey
from warehouse.left_over import LeftOver, drop
from warehouse.partition_states import PartitionState, PartitionStates
from warehouse.run_lock import hold_warehouse, hold_year
from warehouse.settings import load_settings
from warehouse.sources.index import list_unreadable
from warehouse.store import Warehouse
from warehouse.unfinished import sweep_unfinished
from warehouse.write_errors import write_errors

#: Jobs whose tables come from one body.
_UNDIVIDED = ("oracles", "evaluate")
#: Heard by whoever shows progress (`progress_log.py`), else by nobody.
_progress = logging.getLogger("isthmus.progress.pipeline")
#: Template of an instance's configuration.
_INSTANCE_FILE = Path(__file__).resolve().parent.parent / "dagster.yaml"


@dataclass(frozen=True)
class Step:
    """One run of one job.

    Attributes:
        job: name of the job.
        key: partition.
        tables: assets to run; empty = all of the job.
        why: what made stored partitions stale; empty where they are missing or redone by force.
    """

    job: str
    key: PartitionKey
    tables: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.job}[{self.key}]"


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended.

    Attributes:
        step: what ran.
        seconds: how long.
        problems: messages of what failed; empty where it went well.
        warnings: checks that failed without blocking.
        skipped: True where it was not run, because something before it failed.
        done_before: True where it was not run, because what is stored is current.
    """

    step: Step
    seconds: float
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: bool = False
    done_before: bool = False

    @property
    def ok(self) -> bool:
        """Tell whether what it should write is there."""
        return not self.problems and not self.skipped


def open_instance(warehouse: Warehouse, config: Path) -> dg.DagsterInstance:
    """Open the Dagster instance of a settings file, so that `isthmus ui` shows the same history.

    Sets DAGSTER_HOME and ISTHMUS_CONFIG for this process and its children.

    Raises:
        NotWritableError: this user may not make its folder.
    """
    home = warehouse.settings.dagster.instance
    with write_errors("dagster.instance", home):
        home.mkdir(parents=True, exist_ok=True)
        if not (home / _INSTANCE_FILE.name).exists():
            shutil.copyfile(_INSTANCE_FILE, home / _INSTANCE_FILE.name)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ[CONFIG_VARIABLE] = str(config.resolve())
    return dg.DagsterInstance.get()


class Pipeline:
    """All jobs of one settings file.

    Partitions whose fingerprint is current are not written again. One pipeline runs on a warehouse at a time.

    Args:
        config: settings file.
        force: write everything again, cells of the evaluation too.
        waiting: told who is waited for, where another run holds the warehouse; None = refuse.
    """

    def __init__(self, config: Path, *, force: bool = False, waiting: Callable[[str], None] | None = None) -> None:
        self.warehouse = Warehouse(load_settings(config))
        self._force = force
        self._waiting = waiting
        self._instance = open_instance(self.warehouse, config)
        close_killed_runs(self._instance)
        self._defs = build_defs(config)
        jobs = [job.name for job in self._defs.jobs or []]
        self._jobs = {name: self._defs.resolve_job_def(name) for name in jobs}

    def run(self, started: Callable[[Step], None]) -> Iterator[StepOutcome]:
        """Run everything; one bad partition leaves the others alone, but stops the answers that need it.

        Args:
            started: told each step before it runs.

        Yields:
            The outcome of each step.

        Raises:
            WarehouseBusyError: another run holds the warehouse.
        """
        with self._hold():
            plan = self._plan(started)
            yield plan
            if not plan.ok:
                return
            unreadable = self._unreadable()
            if unreadable:
                yield StepOutcome(Step("plan", ALL), 0.0, problems=unreadable)
            failed: list[Step] = []
            for job in ("grid", "ingest", "label", "oracles", "bases", "derive"):
                for outcome in self._run_all(self._steps(job), failed, started):
                    if not outcome.ok and job != "oracles":  # nothing reads them: verdicts stand without
                        failed.append(outcome.step)
                    yield outcome
            yield from self._answer(bool(failed or unreadable), started)

    def run_answers(self, started: Callable[[Step], None]) -> Iterator[StepOutcome]:
        """Evaluate and report what is stored; cells that are done are not run again.

        Arguments, outcomes and errors are those of `run`.
        """
        with self._hold():
            self._look_again()
            yield from self._answer(False, started)

    def run_oracles(self, started: Callable[[Step], None]) -> Iterator[StepOutcome]:
        """Run the oracles, and of what they need what is not current: places of patches and their labels.

        Arguments, outcomes and errors are those of `run`.

        Raises:
            SourceMissingError: the settings have no labels of patches.
        """
        if "oracles" not in self._jobs:
            raise SourceMissingError(
                f"settings '{self.warehouse.settings.name}'",
                "no labels of patches",
                "a label source",
                "Add [labels.<name>] and compare.patches.",
            )
        with self._hold():
            plan = self._plan(started)
            yield plan
            if not plan.ok:
                return
            failed: list[Step] = []
            for job in ("grid", "label", "oracles"):
                wanted = [step for step in map(_only_patches, self._steps(job)) if step.tables]
                for outcome in self._run_all(wanted, failed, started):
                    if not outcome.ok:
                        failed.append(outcome.step)
                    yield outcome

    def plan(self, started: Callable[[Step], None]) -> Iterator[StepOutcome]:
        """Look at the sources and cut the area of interest by the settings as they are now; write nothing else.

        Arguments, outcomes and errors are those of `run`.
        """
        with self._hold():
            yield self._plan(started)

    def left_over(self) -> list[LeftOver]:
        """List what is stored and not asked for; after `plan`."""
        return self._states.left_over()

    def drop(self, left_over: Sequence[LeftOver], started: Callable[[Step], None]) -> Iterator[StepOutcome]:
        """Remove stored partitions that are not asked for, forget their keys, and publish what is left.

        Args:
            left_over: some of `left_over()`.
            started: told each step before it runs.

        Yields:
            The outcome of publishing.

        Raises:
            WarehouseBusyError: another run holds the warehouse.
        """
        chosen = {(one.table, one.key) for one in left_over}
        with self._hold():
            self._look_again()  # a run in between may have been asked for some of it
            drop([one for one in self.left_over() if (one.table, one.key) in chosen], self.warehouse.root)
            forget_partitions(self._instance, **self._keys())
            if "publish" in self._jobs:
                yield self._run(Step("publish", ALL), started)

    def _plan(self, started: Callable[[Step], None]) -> StepOutcome:
        """Write indexes and shards anew, and take them in."""
        outcome = self._run(Step("plan", ALL), started)
        if outcome.ok:
            self._look_again()
        return outcome

    @contextlib.contextmanager
    def _hold(self) -> Iterator[None]:
        """Keep other runs off the warehouse, and remove what killed ones left."""
        with hold_warehouse(self.warehouse.root, waiting=self._waiting):
            sweep_unfinished(self.warehouse.root)
            yield

    def _look_again(self) -> None:
        """Take in the indexes and shards that the plan has written, and seed their keys."""
        self.warehouse = Warehouse(self.warehouse.settings)
        self._states = PartitionStates(self.warehouse)
        seed_partitions(self._instance, **self._keys())

    def _keys(self) -> PartitionKeys:
        """Give the keys of all partitions that the settings ask for."""
        settings = self.warehouse.settings
        label_years = {of for label in settings.labels.values() for year, of in label.years.items()}
        return {
            "years": settings.years,
            "label_years": label_years,
            "shards": [shard.key for shard in self.warehouse.shards()],
        }

    def _run_all(
        self, steps: Sequence[Step], failed: Sequence[Step], started: Callable[[Step], None]
    ) -> Iterator[StepOutcome]:
        """Run the steps that are not done, as many at once as the engine takes, but those that need what failed.

        `failed` may grow meanwhile. Steps of one job do not wait for each other.
        """
        todo = [(step, self._leave_out_current(step)) for step in steps]
        yield from (StepOutcome(step, 0.0, done_before=True) for step, wanted in todo if wanted is None)
        works = [partial(self._run_unless_spoiled, wanted, failed, started) for _, wanted in todo if wanted is not None]
        try:
            yield from run_at_once(works, self._count_at_once() if works else 1)
        except KeyboardInterrupt:
            close_own_runs(self._instance)
            raise

    def _count_at_once(self) -> int:
        """Count the steps that are under way at once; a cluster may have grown since the last job."""
        settings = self.warehouse.settings.engine
        return settings.at_once or build_engine(settings).count_threads()

    def _run_unless_spoiled(self, step: Step, failed: Sequence[Step], started: Callable[[Step], None]) -> StepOutcome:
        spoiled = any(_needs(step, bad) for bad in failed)
        return StepOutcome(step, 0.0, skipped=True) if spoiled else self._run(step, started)

    def _leave_out_current(self, step: Step) -> Step | None:
        """Reduce a step to the tables that are not current; None where all are."""
        if self._force:
            return step
        states = [self._states.status(table, step.key) for table in step.tables]
        todo = [one for one in states if one.state is not PartitionState.CURRENT]
        if not todo:
            return None
        reasons = dict.fromkeys(reason for one in todo if one.state is PartitionState.STALE for reason in one.reasons)
        tables = step.tables if step.job in _UNDIVIDED else tuple(one.table for one in todo)
        return Step(step.job, step.key, tables, tuple(reasons))

    def _unreadable(self) -> tuple[str, ...]:
        """Say which source files no shard will read, because not even their place is known."""
        warehouse = self.warehouse
        return tuple(
            message
            for name, product in warehouse.products.items()
            for message in list_unreadable(product, warehouse.source(name), warehouse.read(f"raw_{name}__index"))
        )

    def _answer(self, has_failed: bool, started: Callable[[Step], None]) -> Iterator[StepOutcome]:
        """Check and evaluate; a verdict from part of the area would look like one from all of it."""
        answers = [Step("check_tables", ALL), *self._steps("evaluate"), Step("check_evidence", ALL)]
        for step in [step for step in answers if step.job in self._jobs]:
            todo = self._leave_out_current(step) if step.tables else step
            if has_failed:
                outcome = StepOutcome(step, 0.0, skipped=True)
            elif todo is None:
                outcome = StepOutcome(step, 0.0, done_before=True)
            else:
                if self._force and step.job == "evaluate":
                    with hold_year(self.warehouse.root, step.key.require_year(), _progress.info):
                        drop_cells(self.warehouse, step.key)
                outcome = self._run(todo, started)
            has_failed = has_failed or not outcome.ok
            yield outcome
        if "publish" in self._jobs:
            yield self._run(Step("publish", ALL), started)

    def _steps(self, job: str) -> list[Step]:
        """List the partitions of a job that have something to read, in the order of years and shards."""
        if job not in self._jobs:
            return []
        executable = {key.to_user_string() for key in self._jobs[job].asset_layer.executable_asset_keys}
        rank = {shard.key: number for number, shard in enumerate(self.warehouse.shards())}
        tables_of: dict[PartitionKey, list[str]] = {}
        for table in sorted(executable & set(self._states.lineage.recipes)):
            for key in self._states.lineage.keys(table):
                tables_of.setdefault(key, []).append(table)
        ordered = sorted(tables_of, key=lambda key: (key.year or 0, rank.get(str(key.shard), 0)))
        return [Step(job, key, tuple(tables_of[key])) for key in ordered]

    def _run(self, step: Step, started: Callable[[Step], None]) -> StepOutcome:
        check_lease(self.warehouse.root)  # a run that has lost it could store nothing that it computes
        started(step)
        watch = time.perf_counter()
        job = self._jobs[step.job]
        if step.tables and step.job not in _UNDIVIDED:
            # a selection of assets would bring their checks along, and those look at every other partition too
            keys = {dg.AssetKey(table) for table in step.tables}
            job = job.get_subset(asset_selection=keys, asset_check_selection=set())
        try:
            result = call_in_thread(partial(self._execute, job, step.key))
        except KeyboardInterrupt:
            close_own_runs(self._instance)
            raise
        return StepOutcome(step, time.perf_counter() - watch, list_problems(result), list_failed_checks(result, "WARN"))

    def _execute(self, job: dg.JobDefinition, key: PartitionKey) -> dg.ExecuteInProcessResult:
        with DAGSTER_TURN.take():
            return job.execute_in_process(
                instance=self._instance,
                tags=tag_process(os.getpid()),
                partition_key=format_key(key),
                raise_on_error=False,
                # events are in the instance's history; the console shows only what a user must act on
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}, PROGRESS_LOGGER: {}}},
            )


def _needs(step: Step, bad: Step) -> bool:
    """Tell whether a step reads what a failed step should have written.

    Upsampling reads the patches of neighbours, so a failed ingest spoils the derived tables of its whole year: a
    border interpolated without them would look like any other. Bases are fitted on all shards of a year.
    """
    if step.job == "oracles":  # all patches and labels, no embeddings
        return bad.job in ("grid", "label")
    if (step.job, bad.job) in (("derive", "ingest"), ("bases", "ingest"), ("derive", "bases")):
        return step.key.year == bad.key.year
    return step.key.shard == bad.key.shard and (step.job == "label" or bad.key.year in (None, step.key.year))


def _only_patches(step: Step) -> Step:
    """Leave out the labels of pixels, which oracles do not read."""
    if step.job != "label":
        return step
    return Step(step.job, step.key, tuple(table for table in step.tables if table.endswith("__patches")))
