"""Objects in buckets and on web servers: requests, ranges of one version, blocks kept on the disk.

Belongs here: everything that speaks to a server, for sources and for the tables of a warehouse alike. Does not: what
the bytes mean (`sources/`, `reader.py`), where files are (`file_paths.py`).
"""
