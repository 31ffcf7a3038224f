"""Recipes: what every table is made of, declared in one place (`table.py`).

Belongs here: the declaration, and the parts that it is put together from. Does not: hashing
(`warehouse/fingerprints.py`), which partitions are current (`warehouse/partition_states.py`).
"""
