"""Running all jobs of one settings file, in order, from this process.

Belongs here: which job runs for which partition keys, what a failure stops. Does not: the jobs (`jobs.py`),
printing (`cli.py`). In-process because starting a step in a process of its own costs about 8 s; the bodies of steps go
to the engine of the settings.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg
import psutil

from orchestration.definitions import CONFIG_VARIABLE, build_defs
from orchestration.engines import build_engine
from orchestration.partitions import format_key, seed_partitions
from orchestration.pipeline_job import HOST_TAG, PID_TAG, tag_process
from orchestration.progress_log import PROGRESS_LOGGER
from orchestration.run_problems import list_failed_checks, list_problems
from orchestration.threads import call_in_thread, run_at_once
from orchestration.turns import DAGSTER_TURN
from warehouse.errors import SourceMissingError
from warehouse.layout import ALL, PartitionKey
from warehouse.products import Product
from warehouse.settings import load_settings
from warehouse.sources.index import list_unreadable
from warehouse.store import Warehouse
from warehouse.write_errors import write_errors

#: Template of an instance's configuration.
_INSTANCE_FILE = Path(__file__).resolve().parent.parent / "dagster.yaml"


@dataclass(frozen=True)
class Step:
    """One run of one job.

    Attributes:
        job: name of the job.
        key: partition.
        tables: assets to run; None = all of the job.
    """

    job: str
    key: PartitionKey
    tables: tuple[str, ...] | None = None

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
    """

    step: Step
    seconds: float
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: bool = False

    @property
    def ok(self) -> bool:
        """Tell whether it ran and went well."""
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

    Args:
        config: settings file.
    """

    def __init__(self, config: Path) -> None:
        self.warehouse = Warehouse(load_settings(config))
        self._instance = open_instance(self.warehouse, config)
        close_orphaned_runs(self._instance)
        self._defs = build_defs(config)
        jobs = [job.name for job in self._defs.jobs or []]
        self._jobs = {name: self._defs.resolve_job_def(name) for name in jobs}

    def run(self, started: Callable[[Step], None]) -> Iterator[StepOutcome]:
        """Run everything; one bad partition leaves the others alone, but stops the answers that need it.

        Args:
            started: told each step before it runs.

        Yields:
            The outcome of each step.
        """
        plan = self._run(Step("plan", ALL), started)
        yield plan
        if not plan.ok:
            return
        self._seed()
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

        Args:
            started: told each step before it runs.

        Yields:
            The outcome of each step.
        """
        self._seed()
        yield from self._answer(False, started)

    def run_oracles(self, started: Callable[[Step], None]) -> Iterator[StepOutcome]:
        """Run the oracles, and of what they need what is not stored: places of patches and their labels.

        Args:
            started: told each step before it runs.

        Yields:
            The outcome of each step.

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
        plan = self._run(Step("plan", ALL), started)
        yield plan
        if not plan.ok:
            return
        self._seed()
        failed: list[Step] = []
        for job in ("grid", "label", "oracles"):
            for outcome in self._run_all(self._missing_for_oracles(job), failed, started):
                if not outcome.ok:
                    failed.append(outcome.step)
                yield outcome

    def _missing_for_oracles(self, job: str) -> list[Step]:
        """List the steps of a job whose patch tables are not stored; all steps of the oracles themselves."""
        if job == "oracles":
            return self._steps(job)
        missing = []
        for step in self._steps(job):
            tables = [name for name in step.tables or ("core_grid__patches",) if name.endswith("__patches")]
            wanted = tuple(name for name in tables if step.key not in self.warehouse.partitions(name))
            missing += [Step(job, step.key, wanted)] if wanted else []
        return missing

    def _run_all(
        self, steps: Sequence[Step], failed: Sequence[Step], started: Callable[[Step], None]
    ) -> Iterator[StepOutcome]:
        """Run steps, as many at once as the engine takes, but those that need what failed.

        `failed` may grow meanwhile. Steps of one job do not wait for each other.
        """
        works = [partial(self._run_unless_spoiled, step, failed, started) for step in steps]
        try:
            yield from run_at_once(works, self._count_at_once() if works else 1)
        except KeyboardInterrupt:
            _close_runs(self._instance, lambda pid: pid == os.getpid())
            raise

    def _count_at_once(self) -> int:
        """Count the steps that are under way at once; a cluster may have grown since the last job."""
        settings = self.warehouse.settings.engine
        return settings.at_once or build_engine(settings).count_threads()

    def _run_unless_spoiled(self, step: Step, failed: Sequence[Step], started: Callable[[Step], None]) -> StepOutcome:
        spoiled = any(_needs(step, bad) for bad in failed)
        return StepOutcome(step, 0.0, skipped=True) if spoiled else self._run(step, started)

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
            outcome = StepOutcome(step, 0.0, skipped=True) if has_failed else self._run(step, started)
            has_failed = has_failed or not outcome.ok
            yield outcome
        if "publish" in self._jobs:
            yield self._run(Step("publish", ALL), started)

    def _seed(self) -> None:
        settings = self.warehouse.settings
        label_years = {of for label in settings.labels.values() for year, of in label.years.items()}
        shards = [shard.key for shard in self.warehouse.shards()]
        seed_partitions(self._instance, years=settings.years, label_years=label_years, shards=shards)

    def _steps(self, job: str) -> list[Step]:
        """List the partitions of a job that have something to read."""
        if job not in self._jobs:
            return []
        shards = [shard.key for shard in self.warehouse.shards()]
        settings = self.warehouse.settings
        if job == "grid":
            return [Step(job, PartitionKey(shard=shard)) for shard in shards]
        if job == "label":
            years = sorted({of for label in settings.labels.values() for of in label.years.values()})
            tables = {year: self._label_tables(year) for year in years}
            return [Step(job, PartitionKey(year, shard), tables[year]) for year in years for shard in shards]
        if job == "evaluate":
            assert settings.evaluate is not None  # the job exists only with it
            labelled = self.warehouse.label(settings.evaluate.label).years
            return [Step(job, PartitionKey(year)) for year in settings.years if year in labelled]
        if job == "oracles":
            mapped = {year for label in settings.labels.values() for year in label.years}
            return [Step(job, PartitionKey(year)) for year in settings.years if year in mapped]
        if job == "bases":
            tables_of = {year: self._base_tables(year, shards) for year in settings.years}
            return [Step(job, PartitionKey(year), tables) for year, tables in tables_of.items() if tables]
        return self._year_shard_steps(job, shards)

    def _year_shard_steps(self, job: str, shards: Sequence[str]) -> list[Step]:
        steps = []
        for year in self.warehouse.settings.years:
            for shard in shards:
                here = [p for p in self.warehouse.products.values() if self._has_files(p, year, shard)]
                tables = _core_tables(here) if job == "ingest" else self._derived_tables(here)
                if tables:
                    steps.append(Step(job, PartitionKey(year, shard), tables))
        return steps

    def _base_tables(self, year: int, shards: Sequence[str]) -> tuple[str, ...]:
        """List what can be fitted in a year: the basis where there are patches, codebooks where there are pixels."""
        pixels, patches = self.warehouse.pixel_product, self.warehouse.patch_product
        wanted = []
        if patches is not None and any(self._has_files(patches, year, shard) for shard in shards):
            wanted.append(f"out_patch__{patches.name}_basis")
        if pixels is not None and any(self._has_files(pixels, year, shard) for shard in shards):
            wanted.append(f"out_pixel__{pixels.name}_codebook")
        executable = {key.to_user_string() for key in self._jobs["bases"].asset_layer.executable_asset_keys}
        return tuple(name for name in wanted if name in executable)

    def _label_tables(self, year: int) -> tuple[str, ...]:
        """List the label tables whose source is mapped to a label year: another source has nothing for it."""
        tables = self._jobs["label"].asset_layer.executable_asset_keys
        mapped = [name for name in self.warehouse.settings.labels if self.warehouse.embedding_years(name, year)]
        wanted = {f"core_label_{name}__{grain}" for name in mapped for grain in ("pixels", "patches")}
        return tuple(sorted(wanted & {key.to_user_string() for key in tables}))

    def _has_files(self, product: Product, year: int, shard: str) -> bool:
        bbox = self.warehouse.owner_rule(shard).shard.bbox
        return self.warehouse.index_rows(product, year, bbox).num_rows > 0

    def _derived_tables(self, here: Sequence[Product]) -> tuple[str, ...]:
        """List what can be derived where these products have files."""
        pixels, patches = self.warehouse.pixel_product, self.warehouse.patch_product
        tables = []
        if pixels is None or patches is None or pixels not in here:
            return ()
        if self.warehouse.pools:
            tables.append(f"out_patch__{pixels.name}_pooled")
        if patches in here and self.warehouse.asks("T5"):
            tables.append(f"out_pixel__{patches.name}_upsampled")
        return tuple(tables)

    def _run(self, step: Step, started: Callable[[Step], None]) -> StepOutcome:
        started(step)
        watch = time.perf_counter()
        job = self._jobs[step.job]
        if step.tables:
            # a selection of assets would bring their checks along, and those look at every other partition too
            keys = {dg.AssetKey(table) for table in step.tables}
            job = job.get_subset(asset_selection=keys, asset_check_selection=set())
        try:
            result = call_in_thread(partial(self._execute, job, step.key))
        except KeyboardInterrupt:
            _close_runs(self._instance, lambda pid: pid == os.getpid())
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


def close_orphaned_runs(instance: dg.DagsterInstance) -> None:
    """Cancel the runs of command lines that were killed: Dagster would queue every click behind them."""
    _close_runs(instance, lambda pid: not psutil.pid_exists(pid))


def _close_runs(instance: dg.DagsterInstance, is_over: Callable[[int], bool]) -> None:
    """Cancel unfinished runs of command lines that are over; else they would look as if they went on for ever.

    Those of other machines are left alone: nobody here can tell whether their processes live.
    """
    here = socket.gethostname()
    open_states = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    for run in instance.get_runs(dg.RunsFilter(statuses=open_states)):
        pid = run.tags.get(PID_TAG, "")
        if run.tags.get(HOST_TAG, here) == here and pid.isdigit() and is_over(int(pid)):
            instance.report_run_canceled(run, message="The command line that ran this was interrupted.")


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


def _core_tables(products: Sequence[Product]) -> tuple[str, ...]:
    return tuple(f"core_{p.name}__{'patches' if p.grain == 'patch' else 'pixels'}" for p in products)
