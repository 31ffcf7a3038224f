"""Worlds whose answer is known: S1, S6, and light versions of S7 and S8 of the evidence design."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import ClassifierMixin
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from transforms.block_folds import build_longitude_assignment
from transforms.block_sizing import size_blocks
from transforms.blocks import EQUAL_AREA_EPSG
from transforms.folds import FoldPlan, apply_block_assignment, fold_split, plan_block_folds, plan_random_folds
from transforms.inference import Contrast, contrast_arms
from transforms.metrics import balanced_accuracy, confusion_by_block, overall_accuracy
from transforms.utm import unproject
from transforms.variogram import class_indicators, empirical_variogram, first_component, fit_range

EDGE_M = 5000.0
#: Centre of the worlds in EPSG:6933 (near 30 N, where the grid keeps distances).
ORIGIN_M = (9_650_000.0, 3_650_000.0)


def to_degrees(x_m: np.ndarray, y_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return unproject(x_m + ORIGIN_M[0], y_m + ORIGIN_M[1], EQUAL_AREA_EPSG)


def gaussian_fields(xy_km: np.ndarray, range_km: float, n_fields: int, rng: np.random.Generator) -> np.ndarray:
    """Independent unit-variance squared-exponential fields by random Fourier features, (n, n_fields).

    The variogram reaches 95 % of its sill at `range_km`, which is sqrt(6) correlation lengths.
    """
    fields = []
    for _ in range(n_fields):
        waves = rng.normal(0, np.sqrt(6) / range_km, (2, 150))
        phases = rng.uniform(0, 2 * np.pi, 150)
        fields.append(np.cos(xy_km @ waves + phases).sum(axis=1) / np.sqrt(75))
    return np.stack(fields, axis=1)


def cross_validate(
    plan: FoldPlan, probe: ClassifierMixin, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit in each fold; give tested units and their predictions, by position."""
    pred = np.full(len(y), -1)
    for fold in range(plan.n_folds):
        train, test = fold_split(plan, fold)
        pred[test] = probe.fit(X[train], y[train]).predict(X[test])
    tested = np.flatnonzero(plan.fold >= 0)
    return tested, pred[tested]


class TestS1PatchIsMeanOfPixels:
    """The patch product is the mean of the pixel product in other axes: pooling loses nothing."""

    N_CLASSES = 4

    def make_world(self) -> tuple[FoldPlan, np.ndarray, np.ndarray, np.ndarray]:
        """25 blocks of 20 patches of 8 x 8 pixels: plan, pixels, patch vectors (n, 384), labels."""
        rng = np.random.default_rng(1)
        n_patches = 25 * 20
        col, row = np.divmod(np.arange(n_patches) // 20, 5)
        x, y = (EDGE_M * (index + rng.uniform(0.1, 0.9, n_patches)) for index in (col, row))
        labels = rng.integers(0, self.N_CLASSES, n_patches)
        signal = rng.normal(0, 0.25, (self.N_CLASSES, 64))[labels]
        pixels = signal[:, None, :] + rng.normal(0, 4.0, (n_patches, 64, 64))
        lift = np.linalg.qr(rng.normal(size=(384, 64)))[0].T
        patches = pixels.mean(axis=1) @ lift
        plan = plan_block_folds(
            *to_degrees(x, y), labels, edge_m=EDGE_M, buffer_m=1280.0, n_folds=5, rng=rng, half_side_m=160.0
        )
        return plan, pixels, patches, labels

    def contrast(
        self, plan: FoldPlan, probe: ClassifierMixin, labels: np.ndarray, arm: np.ndarray, native: np.ndarray
    ) -> Contrast:
        counts = []
        for X in (arm, native):
            tested, pred = cross_validate(plan, probe, X, labels)
            counts.append(confusion_by_block(labels[tested], pred, plan.block_id[tested], self.N_CLASSES)[1])
        return contrast_arms(counts[0], counts[1], metric="macro_f1", margin=0.02, rng=np.random.default_rng(0))

    @pytest.mark.parametrize(
        "probe", [KNeighborsClassifier(5, metric="cosine"), RidgeClassifier(alpha=1.0)], ids=["knn", "ridge"]
    )
    def test_pooled_is_non_inferior_and_never_superior(self, probe: ClassifierMixin) -> None:
        plan, pixels, patches, labels = self.make_world()
        found = self.contrast(plan, probe, labels, pixels.mean(axis=1), patches)
        assert (found.delta, found.lo, found.hi, found.n_blocks) == (0.0, 0.0, 0.0, 25)
        assert found.verdict == "non-inferior"

    @pytest.mark.parametrize(
        "probe", [KNeighborsClassifier(5, metric="cosine"), RidgeClassifier(alpha=1.0)], ids=["knn", "ridge"]
    )
    def test_the_same_machinery_sees_a_worse_and_a_better_arm(self, probe: ClassifierMixin) -> None:
        plan, pixels, patches, labels = self.make_world()
        four_pixels = pixels[:, :4].mean(axis=1)  # a mean over a sixteenth of the patch: four times the noise
        assert self.contrast(plan, probe, labels, four_pixels, patches).verdict == "inferior"
        assert self.contrast(plan, probe, labels, patches, four_pixels).verdict == "superior"


class TestS6Leakage:
    """Features that know the place but nothing of the labels."""

    AREA_KM = 60.0
    LABEL_RANGE_KM = 2.5
    N_UNITS = 16_000
    N_CLASSES = 3

    def make_world(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(6)
        xy_km = rng.uniform(0, self.AREA_KM, (self.N_UNITS, 2))
        labels = gaussian_fields(xy_km, self.LABEL_RANGE_KM, self.N_CLASSES, rng).argmax(axis=1)
        features = gaussian_fields(xy_km, 7.5, 24, rng)
        lon, lat = to_degrees(*(xy_km.T * 1000))
        return lon, lat, features, labels

    @staticmethod
    def plan(scheme: str, lon: np.ndarray, lat: np.ndarray, features: np.ndarray, labels: np.ndarray) -> FoldPlan:
        """Five folds; `auto` blocks and their buffer have the size that the variograms give."""
        edge_m, buffer_m = EDGE_M, TestS6Leakage.LABEL_RANGE_KM * 1000
        if scheme == "auto":
            rng = np.random.default_rng(1)
            chosen = rng.choice(len(lon), 2000, replace=False)
            values = {"labels": class_indicators(labels), "features": first_component(features)}
            ranges = {
                name: fit_range(empirical_variogram(lon[chosen], lat[chosen], value[chosen]))
                for name, value in values.items()
            }
            sizing = size_blocks("auto", "auto", ranges, reach_m=1280.0)
            edge_m, buffer_m = sizing.edge_m, sizing.buffer_m
            # features forget over 7.5 km, so blocks are of about 15 km
            assert 10_000 < edge_m < 22_000, sizing.reason
        if scheme == "random":
            return plan_random_folds(lon, lat, labels, edge_m=edge_m, n_folds=5, rng=np.random.default_rng(0))
        if scheme == "longitude":
            bands = build_longitude_assignment(lon, lat, edge_m=edge_m, n_folds=5)
            return apply_block_assignment(bands, lon, lat, buffer_m=buffer_m, scheme="longitude")
        return plan_block_folds(
            lon, lat, labels, edge_m=edge_m, buffer_m=buffer_m, n_folds=5, rng=np.random.default_rng(0)
        )

    @pytest.mark.parametrize("scheme", ["block", "auto", "longitude", "random"])
    def test_smooth_features_score_only_by_leakage(self, scheme: str) -> None:
        lon, lat, features, labels = self.make_world()
        plan = self.plan(scheme, lon, lat, features, labels)
        tested, pred = cross_validate(plan, KNeighborsClassifier(1), features, labels)
        _, by_block = confusion_by_block(labels[tested], pred, plan.block_id[tested], self.N_CLASSES)
        counts = by_block.sum(axis=0)
        if scheme == "random":
            assert overall_accuracy(counts) > 0.8
            return
        assert len(by_block) >= (12 if scheme == "auto" else 144)
        prior = np.bincount(labels).max() / len(labels)
        assert overall_accuracy(counts) < prior + 0.03
        assert balanced_accuracy(counts) == pytest.approx(1 / self.N_CLASSES, abs=0.04)


class TestS7CoverageAndS8Calibration:
    """Arms whose true difference is known, with blocks that differ as blocks do."""

    N_CLASSES = 4
    N_RUNS = 300
    MARGIN = 0.02

    def draw_arms(self, n_blocks: int, difference: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Per-block confusions of arm and reference.

        Classes are exchangeable and errors fall evenly on the others, so that in the limit accuracy and
        macro-F1 are both the mean hit rate: the true difference is `difference`, exactly.
        """
        shape = (n_blocks, 1, 1)
        mix = rng.dirichlet(np.ones(self.N_CLASSES), n_blocks)
        truth = rng.multinomial(150, mix)
        hit_reference = rng.uniform(0.5, 0.8, shape)
        hit_arm = hit_reference + difference + rng.uniform(-0.08, 0.08, shape)
        others = self.N_CLASSES - 1
        arm, reference = (
            rng.multinomial(truth, np.where(np.eye(self.N_CLASSES, dtype=bool), hit, (1 - hit) / others))
            for hit in (hit_arm, hit_reference)
        )
        return arm, reference

    def run(self, n_blocks: int, difference: float) -> list[Contrast]:
        rng = np.random.default_rng([n_blocks, int(-difference * 1000)])
        return [
            contrast_arms(*self.draw_arms(n_blocks, difference, rng), metric="macro_f1", margin=self.MARGIN, rng=rng)
            for _ in range(self.N_RUNS)
        ]

    def limit(self, rate: float) -> float:
        """A rate plus two Monte-Carlo standard errors."""
        return rate + 2 * np.sqrt(rate * (1 - rate) / self.N_RUNS)

    # 24: jackknife; 36: the smallest demo, bootstrap
    @pytest.mark.parametrize("n_blocks", [24, 36])
    def test_equal_arms(self, n_blocks: int) -> None:
        runs = self.run(n_blocks, 0.0)
        assert np.mean([run.lo <= 0 <= run.hi for run in runs]) >= 0.90
        assert np.mean([run.verdict == "superior" for run in runs]) <= self.limit(0.05)
        assert np.mean([run.p < 0.05 for run in runs]) <= self.limit(0.10)

    @pytest.mark.parametrize("n_blocks", [24, 36])
    def test_an_arm_worse_by_exactly_the_margin(self, n_blocks: int) -> None:
        runs = self.run(n_blocks, -self.MARGIN)
        assert np.mean([run.lo <= -self.MARGIN <= run.hi for run in runs]) >= 0.90
        accepted = [run.verdict in ("superior", "non-inferior") for run in runs]
        assert np.mean(accepted) <= self.limit(0.05)
        assert np.mean([run.verdict == "inferior" for run in runs]) <= self.limit(0.05)

    @pytest.mark.parametrize("n_blocks", [24, 36])
    def test_clear_differences_are_seen(self, n_blocks: int) -> None:
        worse = self.run(n_blocks, -0.07)
        assert np.mean([run.verdict == "inferior" for run in worse]) > 0.8

    @pytest.mark.parametrize("n_side", [5, 6])
    def test_coverage_when_errors_are_smooth_and_blocks_touch(self, n_side: int) -> None:
        # The hardest case that the fold rule admits: both arms err where an exact Gaussian field of 2.5 km
        # range is high, and the edge is twice that range, so neighbouring blocks are not quite independent.
        # Long-run coverage: .911 with 25 blocks (jackknife, 1,500 runs), .921 with 36 (bootstrap, 3,000 runs).
        rng = np.random.default_rng(n_side)
        block_km, n_units = EDGE_M / 1000, 60 * n_side**2
        xy_km = rng.uniform(0, n_side * block_km, (n_units, 2))
        blocks = np.floor(xy_km / block_km) @ [n_side, 1]
        length_km = 2.5 / np.sqrt(6)
        covariance = np.exp(-cdist(xy_km, xy_km, "sqeuclidean") / (2 * length_km**2))
        root = np.linalg.cholesky(covariance + 1e-6 * np.eye(n_units))
        truth = rng.integers(0, 2, n_units)
        covered = []
        for _ in range(self.N_RUNS):
            wrong = root @ rng.normal(size=(n_units, 2)) > 0.5
            arm, reference = (
                confusion_by_block(truth, np.where(miss, 1 - truth, truth), blocks, 2)[1] for miss in wrong.T
            )
            found = contrast_arms(arm, reference, metric="mean_iou", margin=0.05, rng=rng)
            covered.append(found.lo <= 0.0 <= found.hi)
        assert np.mean(covered) >= 0.90 - 2 * np.sqrt(0.90 * 0.10 / self.N_RUNS)
