"""Kill -9 in a loop: does a run that is killed again and again end with the rows of an undisturbed one?

Measures nothing but that. A tiny world is run once without disturbance. Then runs of a second warehouse are killed,
each a random moment after it began to write the tables of a stage that goes round; when a run reaches its end, its rows
are compared with the undisturbed ones, and the next round begins with an empty warehouse. Meanwhile a reader opens
stored files as fast as it can, to see whether half a file can be seen.

    python benchmarks/kill_loop.py --kills 25 --out build/kill_loop
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.tiny import clean_environment, digest_rows, hidden_files, stored_files, tiny_settings, write_settings  # noqa: E402
from warehouse.world import build_world  # noqa: E402

#: Stage -> tables that show that it has begun.
STAGES = {
    "plan and grid": ("raw_aef__index", "core_grid__shards", "core_grid__patches"),
    "ingest": ("core_aef__pixels", "core_eg__patches"),
    "label": ("core_label_worldcover__pixels", "core_label_worldcover__patches"),
    "derive": ("out_patch__aef_pooled", "out_pixel__eg_upsampled"),
    "evaluate": ("out_probe__folds", "out_probe__metrics", "out_probe__confusions", "out_probe__predictions"),
}
#: A round: each kill finds what the ones before it left.
ORDER = ("plan and grid", "ingest", "ingest", "label", "derive", "derive", "evaluate", "evaluate", "evaluate")
#: A kill comes at most so long after its stage began.
LONGEST_S = {"ingest": 6.0, "derive": 6.0, "evaluate": 10.0, "label": 4.0, "plan and grid": 4.0}


@dataclass
class Kill:
    """One line of the table.

    Attributes:
        number: which kill.
        round: which warehouse.
        stage: what the run was meant to be writing.
        after_s: seconds from the first file of that stage to the kill.
        stored: whole files in the warehouse after it.
        unfinished: files that it left half-written, under names that no reader looks at.
        unreadable: stored files that cannot be read as a whole.
        locked: whether its lock survived it.
    """

    number: int
    round: int
    stage: str
    after_s: float
    stored: int
    unfinished: int
    unreadable: int
    locked: bool


class Reader(threading.Thread):
    """Reads stored files, whole, until it is told to stop."""

    def __init__(self, warehouse: Path) -> None:
        super().__init__(daemon=True)
        self._warehouse = warehouse
        self.is_over = threading.Event()
        self.reads = 0
        self.problems: list[str] = []

    def run(self) -> None:
        while not self.is_over.wait(0.02):
            try:
                names = stored_files(self._warehouse)
            except FileNotFoundError:  # the warehouse of the round before is being removed
                continue
            for name in random.sample(names, min(len(names), 10)):
                problem = read_whole(self._warehouse / name)
                self.reads += 1
                self.problems += [problem] if problem else []


def read_whole(path: Path) -> str:
    """Read all columns of a file; say what is wrong with it. One that was removed meanwhile is no problem."""
    try:
        with pq.ParquetFile(path) as file:
            file.read()
    except FileNotFoundError:
        return ""
    except Exception as error:  # whatever it is, it is what this script looks for
        return f"{path.name}: {error}"
    return ""


def start_run(config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-m", "orchestration.cli", "run", "--config", str(config)]
    log = (config.parent / "run.log").open("ab")
    with clean_environment():
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT, env=environment)


def has_begun(warehouse: Path, stage: str, since: float) -> bool:
    """Tell whether anything was written in the tables of a stage, or of one after it."""
    names = list(STAGES)
    folders = [warehouse / table for name in names[names.index(stage) :] for table in STAGES[name]]
    files = [path for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    return any(_changed(path) > since for path in files)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def kill_in(config: Path, stage: str, rng: random.Random) -> float | None:
    """Start a run and kill it in a stage; None where the run came to its end before."""
    warehouse = config.parent / "warehouse"
    since = time.time()
    process = start_run(config)
    while not has_begun(warehouse, stage, since):
        if process.poll() is not None:
            return None
        time.sleep(0.005)
    after = rng.uniform(0.0, LONGEST_S[stage])
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return after
    return None


def is_locked(warehouse: Path) -> bool:
    from warehouse.errors import WarehouseBusyError
    from warehouse.run_lock import hold_warehouse

    try:
        with hold_warehouse(warehouse):
            return False
    except WarehouseBusyError:
        return True


def finish(config: Path, expected: dict[str, str]) -> str:
    """Let a run go to its end and compare; empty text where all is as expected."""
    code = start_run(config).wait()
    warehouse = config.parent / "warehouse"
    found = digest_rows(warehouse)
    problems = [f"exit {code}"] if code else []
    problems += [f"{len(set(expected) ^ set(found))} files differ"] if set(expected) != set(found) else []
    problems += [f"rows of {name} differ" for name in expected if found.get(name, expected[name]) != expected[name]]
    return "; ".join(problems + hidden_files(warehouse))


def examine(warehouse: Path, number: int, round_number: int, stage: str, after_s: float) -> Kill:
    """Look at what a kill left."""
    stored = stored_files(warehouse)
    unreadable = sum(bool(read_whole(warehouse / name)) for name in stored)
    left = len(hidden_files(warehouse))
    return Kill(number, round_number, stage, round(after_s, 2), len(stored), left, unreadable, is_locked(warehouse))


def run_round(config: Path, kills: list[Kill], wanted: int, number: int, rng: random.Random) -> None:
    """Kill runs of one warehouse, stage by stage, until there are enough kills or nothing is left to do."""
    for stage in ORDER:
        if len(kills) == wanted:
            return
        after_s = kill_in(config, stage, rng)
        if after_s is None:
            return
        kills.append(examine(config.parent / "warehouse", len(kills) + 1, number, stage, after_s))
        print(json.dumps(asdict(kills[-1])), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=PROJECT / "build" / "kill_loop")
    options = parser.parse_args()
    rng, out = random.Random(options.seed), options.out.resolve()
    build_world(out / "world", "tiny", 0)
    settings = tiny_settings(out / "world") | {"years": [2024]}
    calm = write_settings(out / "calm/tiny.toml", settings)
    assert start_run(calm).wait() == 0, (out / "calm/run.log").read_text()
    expected = digest_rows(out / "calm/warehouse")
    config = write_settings(out / "killed/tiny.toml", settings)
    reader = Reader(config.parent / "warehouse")
    reader.start()
    kills: list[Kill] = []
    rounds: list[str] = []
    while len(kills) < options.kills:
        shutil.rmtree(config.parent / "warehouse", ignore_errors=True)
        run_round(config, kills, options.kills, len(rounds) + 1, rng)
        rounds.append(finish(config, expected) or "equal")
        print(f"round {len(rounds)}, {len(kills)} kills so far: {rounds[-1]}", flush=True)
    reader.is_over.set()
    reader.join()
    record = {"kills": [asdict(one) for one in kills], "rounds": rounds, "reads": reader.reads}
    record |= {"problems_of_reader": reader.problems}
    (out / "kills.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"{len(kills)} kills in {len(rounds)} rounds; {reader.reads} reads, {len(reader.problems)} of them bad")


if __name__ == "__main__":
    main()
