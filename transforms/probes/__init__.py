"""Probes: small models on frozen embeddings, scikit-learn style.

Belongs here: one file per probe, what they share (`base.py`, `scaling.py`, `inner_cv.py`, `torch_networks.py`), their
registry (`registry.py`). Does not: folds (`transforms/folds.py`), budgets (`transforms/budgets.py`), metrics, which
arms are run.

Everything that a probe fits (scaling, hyper-parameters, weights) it fits on the rows that `fit` is given.
"""
