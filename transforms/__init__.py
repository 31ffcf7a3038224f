"""Pure functions on arrays and Arrow tables.

Belongs here: quantisation, grids, H3, pooling, upsampling, folds, probes, metrics, inference, simulation.
Does not: Dagster, files, network, clock, environment. Randomness comes in as an explicit `rng`.
"""
