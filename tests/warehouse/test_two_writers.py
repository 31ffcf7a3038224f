"""Two processes that write one partition at once: readers see one of the two, whole, at any time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from tests.documented import documented
from tests.tiny import PROJECT, hidden_files
from tests.warehouse.fake_tables import SPECS
from warehouse.layout import PartitionKey, partition_path
from warehouse.provenance import decode_footer

SPEC = SPECS["core_eg__patches"]
KEY = PartitionKey(2024, "48PTV")
#: Rows that each writer writes, by its name.
ROWS = {"one": 700, "two": 1100}
TIMES = 12

WRITER = """
import sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from tests.warehouse.fake_tables import PROVENANCE, declared_rows
from tests.warehouse.test_two_writers import KEY, ROWS, SPEC, TIMES
from warehouse.layout import partition_path
from warehouse.writer import write_table
root, name = Path(sys.argv[1]), sys.argv[2]
rows = declared_rows(SPEC, ROWS[name], np.random.default_rng(ROWS[name]))
(root / name).touch()
while not (root / "go").exists():
    time.sleep(0.001)
for _ in range(TIMES):
    write_table(partition_path(root, SPEC.name, KEY), SPEC, rows, replace(PROVENANCE, product=name))
"""


def start_writer(root: Path, name: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-W", "ignore", "-c", WRITER, str(root), name]
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True)


def who_wrote(path: Path) -> str:
    """Read a whole file; its rows must be those of the writer that its footer names."""
    with pq.ParquetFile(path) as file:
        name = str(decode_footer(file.schema_arrow.metadata)["product"])
        assert file.read().num_rows == ROWS[name]
    return name


def test_two_processes_that_write_one_partition_leave_one_of_the_two(tmp_path: Path) -> None:
    path = partition_path(tmp_path, SPEC.name, KEY)
    writers = [start_writer(tmp_path, name) for name in ROWS]
    try:
        while not all((tmp_path / name).exists() for name in ROWS):
            assert all(writer.poll() is None for writer in writers), [w.communicate() for w in writers]
        (tmp_path / "go").touch()
        seen = set()
        while any(writer.poll() is None for writer in writers):
            if path.exists():
                seen.add(who_wrote(path))
    finally:
        for writer in writers:
            writer.kill()
    assert [(writer.wait(), writer.communicate()[1]) for writer in writers] == [(0, "")] * 2
    assert documented("two writers of one partition").outcome == "one"
    assert seen <= set(ROWS)
    assert who_wrote(path) in ROWS
    assert hidden_files(tmp_path) == []
