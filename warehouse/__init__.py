"""Storage without an orchestrator: settings, products, schemas, paths, files, DuckDB, source clients.

Belongs here: everything that touches a file. Does not: Dagster, arithmetic on vectors.
"""
