"""Pools: what partitions that run at once share, and should not ask too much of.

Belongs here: the names of pools, which assets claim. Does not: their limits, which are those of an instance
(`dagster.yaml`, `dagster instance concurrency set POOL LIMIT`).
"""

#: Bodies that read published files: the answers of a server, and its patience.
SOURCE_HTTP = "source_http"
#: Bodies that hold the rows of a shard or of a year: the memory of one machine.
MEMORY = "memory"
