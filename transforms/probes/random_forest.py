"""Random forest: a probe that is not linear and needs no scaling.

Belongs here: this probe. Does not: the trees, which are scikit-learn's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from transforms.probes.base import BaseProbe, FloatArray, IntArray, Target, TargetArray, list_seen_classes


class RandomForestProbe(BaseProbe):
    """A forest of fully grown trees (Breiman 2001), each on a bootstrap sample, square root of d features a split.

    The square root is used for values too: a third of the features, as is usual there, would be 128 instead of 20 of
    384 to search at every split. All labels, or all values, share their trees. A label that no or every training row
    has is predicted as such. For one seed the forest is the same with any number of threads.

    A fitted forest is large: 500 trees on 6,000 rows took 0.2 GB for 10 classes and 1.1 GB for 19 labels, because
    scikit-learn keeps all shares at every node. Do not keep more of them than are being read.

    Args:
        n_outputs: k classes, k labels or m values.
        target: what is predicted.
        n_trees: trees.
        threads: threads that grow them.
        seed: of bootstrap samples and feature draws.
    """

    name = "random_forest"

    def __init__(
        self, n_outputs: int, target: Target = "class", *, n_trees: int = 500, threads: int = 1, seed: int = 0
    ) -> None:
        super().__init__(n_outputs, target, seed=seed)
        self.n_trees = n_trees
        self.threads = threads

    def _fit(self, X: FloatArray, y: TargetArray, groups: IntArray | None) -> None:
        self._seen = list_seen_classes(y) if self.target == "class" else np.arange(self.n_outputs)
        kind = RandomForestRegressor if self.target == "continuous" else RandomForestClassifier
        self._forest: Any = kind(
            self.n_trees, max_features="sqrt", bootstrap=True, n_jobs=self.threads, random_state=self.seed
        )
        # scikit-learn wants one output as a vector
        self._forest.fit(X, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)
        self.hp_ = {"n_trees": self.n_trees}
        self.n_parameters_ = self._count_parameters(y)

    def _outputs(self, X: FloatArray) -> FloatArray:
        if self.target == "continuous":
            return np.asarray(self._forest.predict(X), np.float32).reshape(len(X), self.n_outputs)
        found = self._forest.predict_proba(X)
        proba = np.zeros((len(X), self.n_outputs), np.float32)
        if self.target == "class":
            proba[:, self._seen] = found
            return proba
        one_label = self.n_outputs == 1
        per_label = [(found, self._forest.classes_)] if one_label else zip(found, self._forest.classes_, strict=True)
        for label, (shares, values) in enumerate(per_label):
            if values[-1]:  # else no training row has it
                proba[:, label] = shares[:, -1]
        return proba

    def _count_parameters(self, y: TargetArray) -> int:
        """Count thresholds of inner nodes and free numbers of leaves: a leaf of k class shares has k - 1."""
        if self.target == "class":
            per_leaf = len(self._seen) - 1
        elif self.target == "multilabel":
            per_leaf = int((y.any(axis=0) & ~y.all(axis=0)).sum())
        else:
            per_leaf = self.n_outputs
        leaves = sum(int(tree.tree_.n_leaves) for tree in self._forest.estimators_)
        nodes = sum(int(tree.tree_.node_count) for tree in self._forest.estimators_)
        return (nodes - leaves) + leaves * per_leaf
