"""A simulated landscape and the embeddings that two producers would publish of it.

Belongs here: the landscape as arrays, pixel vectors and patch vectors as functions of it. Does not: files
(`warehouse/world.py`). Everything is a function of (specification, strengths, seed).
"""
