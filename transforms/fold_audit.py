"""What folds are worth: distances, duplicates, coordinates alone, classes and blocks, fold by fold.

Belongs here: checks of a fold plan on units and their native vectors. Does not: making plans (`transforms/folds.py`),
scores of arms (`transforms/evaluation.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyproj
from scipy.spatial import cKDTree
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from transforms.block_folds import DROPPED
from transforms.block_sizing import EDGE_PER_RANGE
from transforms.evidence_units import Units
from transforms.fold_plan import FoldPlan
from transforms.ground import earth_xyz
from transforms.inference import MIN_BLOCKS_VERDICT
from transforms.metrics import confusion, macro_f1
from transforms.variogram import VariogramRange

FloatMatrix = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Status = Literal["ok", "warn", "failed", "info"]

#: Distances to blocks are right to less than this.
DISTANCE_TOLERANCE_M = 1.0
#: Cosine above which two vectors are near duplicates.
NEAR_DUPLICATE_COSINE = 0.9999
#: Neighbours that vote in the coordinates-only score.
N_NEIGHBOURS = 15
#: Why checks of classes are left out; patches of several classes are in none of them.
_NO_CLASS = "no units with one class on one side"
#: Units that are drawn for costly checks: tested, trained on, and per side of the adversarial classifier.
MAX_TESTED, MAX_TRAINED, MAX_SIDE = 1000, 20_000, 1000


@dataclass(frozen=True)
class AuditRow:
    """One finding.

    Attributes:
        fold: number of the fold; None = of the whole plan.
        check_name: what was looked at.
        value: what was found; None where it cannot be computed, `detail` says why.
        threshold: what it is held against, or None.
        status: `ok`, `warn` (read the scores with it in mind), `failed` (they are worth nothing), `info` (no rule).
        detail: in words.
    """

    fold: int | None
    check_name: str
    value: float | None
    threshold: float | None
    status: Status
    detail: str


def audit_plan(
    units: Units,
    plan: FoldPlan,
    features: FloatMatrix | None,
    class_names: Sequence[str],
    *,
    buffer_m: float,
    seed: int,
) -> list[AuditRow]:
    """Check a plan fold by fold.

    Args:
        units: the n units.
        plan: their plan.
        features: float32 (n, d) native vectors, NaN rows = no vector; None = there are none.
        class_names: by class id.
        buffer_m: the buffer in use.
        seed: of the draws.

    Returns:
        Rows of the whole plan, then of each fold; a fold with nothing to train or test on has one row that says so.
    """
    rows = _audit_whole(plan)
    known = _has_vector(features, len(units))
    vector_id = _vector_ids(features, known)
    for fold in range(plan.n_folds):
        train, test = np.flatnonzero(plan.trains(fold)), np.flatnonzero(plan.tests(fold))
        if not len(train) or not len(test):
            text = f"{len(train)} units to train on, {len(test)} to test on"
            rows.append(AuditRow(fold, "units", float(min(len(train), len(test))), 1.0, "failed", text))
            continue
        rng = np.random.default_rng([seed, fold])
        rows += [
            _audit_distance(units, plan, fold, train, test, buffer_m),
            *_audit_duplicates(units, vector_id, fold, train, test),
            *_audit_classes(units, class_names, fold, train, test),
            _audit_coordinates(units, len(class_names), fold, train, test, rng),
            AuditRow(fold, "n_blocks", float(len(np.unique(plan.block_id[test]))), None, "info", "blocks tested"),
            AuditRow(fold, "buffered_share", float(plan.in_buffer[:, fold].mean()), None, "info", "of all units"),
        ]
        if features is not None:
            with_vector = train[known[train]], test[known[test]]
            rows.append(_audit_near_duplicates(features, fold, *with_vector, rng))
            rows.append(_audit_adversary(features, plan, fold, *with_vector, rng))
    return rows


def audit_sizes(
    edge_m: float, buffer_m: float, ranges: Mapping[str, VariogramRange], *, has_buffer: bool
) -> list[AuditRow]:
    """Hold edge and buffer against the largest range of the unit's labels and features.

    Args:
        edge_m: edge in use.
        buffer_m: buffer in use.
        ranges: what was measured, by name.
        has_buffer: False for schemes without one.
    """
    if not ranges:
        return [AuditRow(None, "edge_m", edge_m, None, "info", "no variogram could be measured")]
    name = max(ranges, key=lambda one: ranges[one].range_m)
    widest = ranges[name]
    found = f"largest range {widest.range_m:.0f} m, of {name}"
    if not widest.is_found:
        found = f"no range of {name} below {widest.range_m:.0f} m, half of the extent"
    sizes = [("edge_m", edge_m, EDGE_PER_RANGE * widest.range_m)]
    sizes += [("buffer_m", buffer_m, widest.range_m)] if has_buffer else []
    return [
        AuditRow(None, size, value, least, "ok" if widest.is_found and value >= least else "warn", found)
        for size, value, least in sizes
    ]


def least_distance_m(units: Units, one: IntArray, other: IntArray) -> float:
    """Give the least ground distance between footprints of two sets of units (positions), metres.

    Footprints are taken as north-up squares; where they overlap the distance is 0.
    """
    xyz = earth_xyz(units.lon, units.lat)
    tree = cKDTree(xyz[other])
    distance, nearest = tree.query(xyz[one])
    best = int(np.argmin(distance))
    least = float(_gaps(units, one[[best]], other[nearest[[best]]])[0])
    if least == 0 or units.half_side_m == 0:
        return least
    # squares may be nearest where centres are not: look at all pairs that the corners could bring as near
    reach = least + 2 * np.sqrt(2.0) * units.half_side_m
    near = one[distance <= reach]
    lists = tree.query_ball_point(xyz[near], reach)
    lengths = [len(found) for found in lists]
    pairs = np.repeat(near, lengths), other[np.concatenate([np.asarray(found, np.int64) for found in lists])]
    return float(min(least, _gaps(units, *pairs).min(initial=np.inf)))


def _gaps(units: Units, one: IntArray, other: IntArray) -> npt.NDArray[np.float64]:
    """Give the distance between the squares of pairs of units."""
    azimuth, _, distance = pyproj.Geod(ellps="WGS84").inv(
        units.lon[one], units.lat[one], units.lon[other], units.lat[other]
    )
    turned, side = np.radians(azimuth), 2 * units.half_side_m
    aside = np.maximum(np.abs(distance * np.sin(turned)) - side, 0.0)
    along = np.maximum(np.abs(distance * np.cos(turned)) - side, 0.0)
    return np.hypot(aside, along)


def _audit_whole(plan: FoldPlan) -> list[AuditRow]:
    used, dropped = plan.fold >= 0, plan.fold == DROPPED
    n_blocks = len(np.unique(plan.block_id[used]))
    few = n_blocks < MIN_BLOCKS_VERDICT
    text = "too few for a verdict: enlarge the area" if few else "blocks with units"
    return [
        AuditRow(None, "n_blocks", float(n_blocks), float(MIN_BLOCKS_VERDICT), "warn" if few else "ok", text),
        AuditRow(None, "dropped_share", float(dropped.mean()), None, "info", "units that straddle a block border"),
    ]


def _audit_distance(
    units: Units, plan: FoldPlan, fold: int, train: IntArray, test: IntArray, buffer_m: float
) -> AuditRow:
    value = least_distance_m(units, train, test)
    if plan.scheme == "random":
        return AuditRow(fold, "least_distance_m", value, None, "info", "random folds keep no distance: a diagnostic")
    is_clear = value >= buffer_m - DISTANCE_TOLERANCE_M
    text = "training to test footprint" if is_clear else "a training footprint stands within the buffer of a test one"
    return AuditRow(fold, "least_distance_m", value, buffer_m, "ok" if is_clear else "failed", text)


def _has_vector(features: FloatMatrix | None, n_units: int) -> npt.NDArray[np.bool_]:
    if features is None:
        return np.zeros(n_units, np.bool_)
    return np.asarray(np.isfinite(features).all(axis=1), np.bool_)


def _vector_ids(features: FloatMatrix | None, known: npt.NDArray[np.bool_]) -> IntArray | None:
    """Number equal vectors alike, -1 = no vector."""
    if features is None:
        return None
    rows = np.ascontiguousarray(features[known])
    ids = np.full(len(features), -1, np.int64)
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
    ids[known] = np.unique(keys, return_inverse=True)[1]
    return ids


def _audit_duplicates(
    units: Units, vector_id: IntArray | None, fold: int, train: IntArray, test: IntArray
) -> list[AuditRow]:
    shared = int(np.isin(units.unit_id[test], units.unit_id[train]).sum())
    rows = [
        AuditRow(fold, "shared_unit_ids", float(shared), 0.0, "failed" if shared else "ok", "tested and trained on")
    ]
    if vector_id is not None:
        tested = vector_id[test]
        equal = int((np.isin(tested, vector_id[train]) & (tested >= 0)).sum())
        text = f"of {len(test)} tested units have a vector that is trained on, value for value"
        rows.append(AuditRow(fold, "equal_vectors", float(equal), 0.0, "warn" if equal else "ok", text))
    return rows


def _audit_classes(
    units: Units, class_names: Sequence[str], fold: int, train: IntArray, test: IntArray
) -> list[AuditRow]:
    train, test = (side[units.label[side] >= 0] for side in (train, test))
    if not len(train) or not len(test):
        return [AuditRow(fold, "class_share_gap", None, None, "info", _NO_CLASS)]
    counts = [np.bincount(units.label[side], minlength=len(class_names)) for side in (train, test)]
    present = (counts[0] + counts[1]) > 0
    rows = []
    for side, here in (("training", counts[0]), ("test", counts[1])):
        absent = [class_names[number] for number in np.flatnonzero(present & (here == 0)).tolist()]
        text = f"in the other part only: {', '.join(absent)}" if absent else "every class is there"
        rows.append(
            AuditRow(fold, f"classes_absent_in_{side}", float(len(absent)), 0.0, "warn" if absent else "ok", text)
        )
    shares = [here / here.sum() for here in counts]
    listed = "; ".join(
        f"{class_names[number]} {shares[1][number]:.3f} tested, {shares[0][number]:.3f} trained on"
        for number in np.flatnonzero(present).tolist()
    )
    gap = float(np.abs(shares[0] - shares[1]).max())
    return [*rows, AuditRow(fold, "class_share_gap", gap, None, "info", listed)]


def _audit_coordinates(
    units: Units, n_classes: int, fold: int, train: IntArray, test: IntArray, rng: np.random.Generator
) -> AuditRow:
    """Score the place alone: nearest neighbours on the ground, beside the majority class."""
    name = "coordinates_macro_f1"
    train, test = (side[units.label[side] >= 0] for side in (train, test))
    if not len(train) or not len(test):
        return AuditRow(fold, name, None, None, "info", _NO_CLASS)
    xyz = earth_xyz(units.lon, units.lat)
    trained, tested = _draw(train, MAX_TRAINED, rng), _draw(test, MAX_TESTED, rng)
    truth, labels = units.label[tested].astype(np.int64), units.label[trained].astype(np.int64)
    voters = KNeighborsClassifier(min(N_NEIGHBOURS, len(trained))).fit(xyz[trained], labels)
    value = float(macro_f1(confusion(truth, voters.predict(xyz[tested]), n_classes)))
    majority = np.full(len(truth), np.bincount(labels).argmax())
    prior = float(macro_f1(confusion(truth, majority, n_classes)))
    text = f"macro-F1 of {N_NEIGHBOURS} neighbours by place alone; the threshold is that of the majority class"
    return AuditRow(fold, name, value, prior, "info", text)


def _audit_near_duplicates(
    features: FloatMatrix, fold: int, train: IntArray, test: IntArray, rng: np.random.Generator
) -> AuditRow:
    name = "near_duplicate_share"
    if not len(train) or not len(test):
        return AuditRow(fold, name, None, None, "info", "no vectors on one side")
    trained, tested = (
        _unit(features[_draw(side, most, rng)]) for side, most in ((train, MAX_TRAINED), (test, MAX_TESTED))
    )
    share = float(((tested @ trained.T).max(axis=1) > NEAR_DUPLICATE_COSINE).mean())
    text = (
        f"of {len(tested)} tested units are within cosine {NEAR_DUPLICATE_COSINE} of one of {len(trained)} trained on"
    )
    return AuditRow(fold, name, share, 0.0, "warn" if share > 0 else "ok", text)


def _audit_adversary(
    features: FloatMatrix, plan: FoldPlan, fold: int, train: IntArray, test: IntArray, rng: np.random.Generator
) -> AuditRow:
    """Tell training from test ground by vectors, blocks held out: .5 = the same ground, 1 = another world."""
    name = "adversarial_auc"
    units = np.concatenate([_draw(side, MAX_SIDE, rng) for side in (train, test)])
    is_test = np.isin(units, test)
    blocks = plan.block_id[units]
    n_splits = min(3, *(len(np.unique(blocks[is_test == side])) for side in (False, True)))
    if n_splits < 2:
        return AuditRow(fold, name, None, None, "info", "fewer than two blocks on one side: none can be held out")
    score = np.full(len(units), np.nan)
    splits = StratifiedGroupKFold(n_splits, shuffle=True, random_state=int(rng.integers(2**31)))
    for fitted, held in splits.split(units, is_test, blocks):
        if len(np.unique(is_test[fitted])) == 2:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
            score[held] = model.fit(features[units[fitted]], is_test[fitted]).decision_function(features[units[held]])
    scored = np.isfinite(score)
    if len(np.unique(is_test[scored])) < 2:
        return AuditRow(fold, name, None, None, "info", "no held-out blocks of both sides")
    value = float(roc_auc_score(is_test[scored], score[scored]))
    return AuditRow(fold, name, value, 0.5, "info", "test from training ground by vectors, in held-out blocks")


def _draw(units: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    return units if len(units) <= most else np.sort(rng.choice(units, most, replace=False))


def _unit(vectors: FloatMatrix) -> FloatMatrix:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1.0), np.float32)
