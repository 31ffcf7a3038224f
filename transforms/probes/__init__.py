"""Probes: small models on frozen embeddings, scikit-learn style.

Belongs here: one file per probe, what they share (`base.py`, `scaling.py`, `principal_rows.py`, `inner_cv.py`,
`network_probe.py`), their registry (`registry.py`). Does not: folds (`transforms/folds.py`), budgets
(`transforms/budgets.py`), metrics, which arms are run.

Everything that a probe fits (scaling, hyper-parameters, weights) it fits on the rows that `fit` is given.
"""
