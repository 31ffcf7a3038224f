"""One module per kind of label source, all with one contract.

Belongs here: classes or numbers at given places, from rasters, tables, geometries and BigEarthNet. Does not: Arrow
rows (`transforms/label_rows.py`), file formats (`warehouse/sources/`), choosing among the kinds
(`warehouse/label_sources.py`).
"""
