"""Peak memory of this process: what the benchmarks report, each stage in a process of its own."""

from __future__ import annotations

from pathlib import Path


def peak_bytes() -> int:
    """Give the most memory that was resident at once; not `ru_maxrss`, which a child has from its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
