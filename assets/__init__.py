"""Assets: what is computed, one kind of table a module.

Belongs here: bodies that read a key, read tables, call transforms, write a table and describe it. The core of
each takes (warehouse, key), so tests call it plainly. Does not: numpy, SQL text, paths, `try`, Dagster's
context below the first line of a body.
"""
