"""Every probe by name.

Belongs here: the registry, how a probe of it is built, options that a study sets for all probes. Does not: models.
A probe is added by one file and one entry here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from transforms.errors import IsthmusError
from transforms.probes.base import Probe, Reads, Target, TargetError
from transforms.probes.conv_head import ConvHeadProbe
from transforms.probes.knn import KnnProbe
from transforms.probes.logistic import LogisticProbe
from transforms.probes.majority import MajorityProbe
from transforms.probes.mlp import MlpProbe
from transforms.probes.random_forest import RandomForestProbe
from transforms.probes.ridge import RidgeProbe


@dataclass(frozen=True)
class ProbeOptions:
    """What a study sets for its probes; each probe takes what concerns it.

    Attributes:
        c_grid: inverse regularisation strengths of logistic regression; more than one: inner block CV picks.
        alpha_grid: regularisation strengths of ridge regression; more than one: inner block CV picks.
        inner_folds: folds of inner block CV.
        n_trees: trees of the random forest.
        threads: threads of one fit, where a probe can use them; results do not depend on it.
    """

    c_grid: tuple[float, ...] = (0.1,)
    alpha_grid: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)
    inner_folds: int = 3
    n_trees: int = 500
    threads: int = 1


Build = Callable[[int, Target, int, ProbeOptions], Probe]


@dataclass(frozen=True)
class ProbeEntry:
    """One probe of the registry.

    Attributes:
        name: key.
        build: makes an unfitted probe from (n_outputs, target, seed, options).
        targets: what it can predict.
        reads: what one row of features is.
        n_seeds: runs with different seeds that a score is the mean of; 1 where the seed hardly matters.
        needs: the optional dependency that it is fitted with, or None.
        description: one sentence.
    """

    name: str
    build: Build
    targets: frozenset[Target]
    reads: Reads
    n_seeds: int
    needs: str | None
    description: str


class UnknownProbeError(IsthmusError):
    """A probe is not in the registry. Permanent."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, PROBES, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        super().__init__(f"probe: found {name!r}, expected one of {', '.join(PROBES)}. {hint}Correct the name.")


_ALL: frozenset[Target] = frozenset({"class", "multilabel", "continuous"})
_LABELS: frozenset[Target] = frozenset({"class", "multilabel"})


def _knn(n_neighbours: int) -> ProbeEntry:
    def build(n_outputs: int, target: Target, seed: int, options: ProbeOptions) -> Probe:
        return KnnProbe(n_outputs, target, n_neighbours=n_neighbours, seed=seed)

    who = "The nearest training row by cosine" if n_neighbours == 1 else f"The {n_neighbours} nearest by cosine"
    return ProbeEntry(f"knn_{n_neighbours}", build, _ALL, "vector", 1, None, f"{who}; fits nothing to labels.")


#: Every probe by its name in `out_probe__metrics`.
PROBES: Mapping[str, ProbeEntry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            ProbeEntry(
                "majority", lambda n, target, seed, o: MajorityProbe(n, target, seed=seed), _ALL, "vector", 1, None,
                "Training frequencies or the training mean; looks at no feature.",
            ),
            _knn(1),
            _knn(3),
            _knn(5),
            _knn(20),
            ProbeEntry(
                "ridge",
                lambda n, target, seed, o: RidgeProbe(
                    n, target, alpha_grid=o.alpha_grid, inner_folds=o.inner_folds, seed=seed
                ),
                _ALL, "vector", 1, None,
                "Least squares with an L2 penalty, alpha by inner block CV; one-hot for classes.",
            ),
            ProbeEntry(
                "logistic",
                lambda n, target, seed, o: LogisticProbe(
                    n, target, c_grid=o.c_grid, inner_folds=o.inner_folds, seed=seed
                ),
                _LABELS, "vector", 1, None,
                "Multinomial logistic regression, or one fit a label, C by inner block CV: the primary probe.",
            ),
            ProbeEntry(
                "random_forest",
                lambda n, target, seed, o: RandomForestProbe(
                    n, target, n_trees=o.n_trees, threads=o.threads, seed=seed
                ),
                _ALL, "vector", 1, None,
                "Fully grown trees, 500 by the protocol; features as they are.",
            ),
            ProbeEntry(
                "mlp", lambda n, target, seed, o: MlpProbe(n, target, seed=seed), _ALL, "vector", 5, "torch",
                "One hidden layer of 256 with dropout, number of epochs by held-out blocks.",
            ),
            ProbeEntry(
                "conv_head", lambda n, target, seed, o: ConvHeadProbe(n, target, seed=seed),
                _ALL, "neighbourhood", 5, "torch",
                "A small convolution over a patch and its eight neighbours.",
            ),
        )
    }
)  # fmt: skip


def find_probe(name: str) -> ProbeEntry:
    """Look a probe up.

    Args:
        name: key in `PROBES`.

    Returns:
        Its entry.

    Raises:
        UnknownProbeError: not in the registry; the message has the nearest names.
    """
    if name not in PROBES:
        raise UnknownProbeError(name)
    return PROBES[name]


def build_probe(name: str, target: Target, n_outputs: int, *, seed: int, options: ProbeOptions) -> Probe:
    """Make an unfitted probe.

    Args:
        name: key in `PROBES`.
        target: what is predicted.
        n_outputs: k classes, k labels or m values.
        seed: of every random draw in it.
        options: of the study.

    Returns:
        The probe.

    Raises:
        UnknownProbeError: not in the registry.
        TargetError: the probe does not serve the target.
    """
    entry = find_probe(name)
    if target not in entry.targets:
        able = ", ".join(other.name for other in PROBES.values() if target in other.targets)
        raise TargetError(name, target, f"one of {', '.join(sorted(entry.targets))}", f"Probes for {target}: {able}.")
    return entry.build(n_outputs, target, seed, options)
