"""Pooling: pixel vectors to patch vectors.

`operators.py` is the registry, `pooler.py` pools raster windows into boxes, `points.py` pools listed pixels.
Nothing is re-exported here: import from the module that owns a name.
"""
