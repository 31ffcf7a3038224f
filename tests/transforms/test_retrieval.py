from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics.pairwise import cosine_similarity

from transforms import retrieval
from transforms.errors import ShapeError, TooFewUnitsError
from transforms.retrieval import (
    mean_precision,
    precision_at,
    rank_database,
    retrieval_sums_by_block,
    units_of_queries,
)

#: Vectors of few values: zero vectors, copies and multiples are common, so cosines tie.
vectors = hnp.arrays(np.int64, st.tuples(st.integers(1, 9), st.just(3)), elements=st.integers(-1, 2))


def rank_slowly(queries: np.ndarray, database: np.ndarray, k_max: int) -> np.ndarray:
    cosines = np.rint(cosine_similarity(queries.astype(float), database.astype(float)) * 2**30)
    return np.array([sorted(range(len(row)), key=lambda i: (-row[i], i))[:k_max] for row in cosines])


@settings(deadline=None)
@given(vectors, vectors, st.integers(1, 12))
def test_ranking_equals_sorting_all_cosines(queries: np.ndarray, database: np.ndarray, k_max: int) -> None:
    found = rank_database(queries, database, k_max)
    assert found.shape == (len(queries), min(k_max, len(database)))
    assert np.array_equal(found, rank_slowly(queries, database, k_max))


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    queries, database = rng.normal(size=(60, 16)).astype(np.float32), rng.normal(size=(400, 16)).astype(np.float32)
    database[100:200] = database[:100]  # copies tie
    whole = rank_database(queries, database, 50)
    monkeypatch.setattr(retrieval, "_CELLS_PER_BLOCK", 7 * 400)
    assert np.array_equal(rank_database(queries, database, 50), whole)
    assert np.array_equal(rank_database(queries, database, 7), whole[:, :7])
    assert np.array_equal(whole, rank_slowly(queries, database, 50))
    # a copy follows its original at once
    copies = np.argwhere(whole == whole % 100 + 100)
    for query, place in copies:
        assert whole[query, place - 1] == whole[query, place] - 100


def test_length_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    queries, database = rng.normal(size=(20, 8)), rng.normal(size=(90, 8))
    scaled = database * 2.0 ** rng.integers(-3, 4, (90, 1))
    assert np.array_equal(rank_database(queries, scaled, 10), rank_database(4 * queries, database, 10))


@settings(deadline=None)
@given(vectors, vectors, st.data())
def test_precision_counts_relevant_units(queries: np.ndarray, database: np.ndarray, data: st.DataObject) -> None:
    ks = (1, 3, 10)
    of_queries, of_database = (
        data.draw(hnp.arrays(np.int16, len(rows), elements=st.integers(0, 3))) for rows in (queries, database)
    )
    ranking = rank_database(queries, database, 10)
    found = precision_at(ranking, of_queries, of_database, ks)
    for query, order in enumerate(rank_slowly(queries, database, len(database))):
        same = of_database[order] == of_queries[query]
        assert found[query] == pytest.approx([same[:k].mean() for k in ks])
    # a class is a label set of one
    as_flags = precision_at(ranking, of_queries[:, None] == np.arange(4), of_database[:, None] == np.arange(4), ks)
    assert np.array_equal(as_flags, found)
    # looking at the whole database is the prevalence of the class
    assert found[:, 2] == pytest.approx([np.mean(of_database == label) for label in of_queries])


@settings(deadline=None)
@given(st.integers(1, 11), st.integers(0, 2**32 - 1))
def test_multi_label_relevance_is_one_shared_label(n_labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    of_queries, of_database = rng.random((8, n_labels)) < 0.2, rng.random((15, n_labels)) < 0.3
    ranking = rng.permuted(np.tile(np.arange(15), (8, 1)), axis=1)
    found = precision_at(ranking, of_queries, of_database, (4, 15))
    for query in range(8):
        if not of_queries[query].any():
            assert np.isnan(found[query]).all()
            continue
        shares = [bool((of_queries[query] & of_database[row]).any()) for row in ranking[query]]
        assert found[query] == pytest.approx([np.mean(shares[:4]), np.mean(shares)])


def test_a_random_ranking_scores_the_prevalence() -> None:
    rng = np.random.default_rng(2)
    of_queries, of_database = rng.integers(0, 3, 3000), rng.choice(3, 200, p=[0.6, 0.3, 0.1])
    ranking = rng.permuted(np.tile(np.arange(200), (3000, 1)), axis=1)
    scored = precision_at(ranking, of_queries, of_database, (1, 10)).mean(axis=0)
    assert scored == pytest.approx([np.mean(of_queries[:, None] == of_database)] * 2, abs=0.03)


def test_sums_per_block() -> None:
    precision = np.array([[1.0, 0.5], [0.0, 0.25], [np.nan, np.nan], [1.0, 1.0]])
    blocks, sums = retrieval_sums_by_block(precision, [9, 4, 5, 9])
    assert blocks.tolist() == [4, 9]  # block 5 holds no query with a label
    assert sums.tolist() == [[[1, 0.0], [1, 0.25]], [[2, 2.0], [2, 1.5]]]
    assert mean_precision(sums) == pytest.approx(np.array([[0.0, 0.25], [1.0, 0.75]]))
    assert mean_precision(sums.sum(axis=0)) == pytest.approx(np.nanmean(precision, axis=0))
    assert np.isnan(mean_precision(np.zeros((2, 2)))).all()
    assert units_of_queries(sums).tolist() == [[1, 1], [2, 2]]
    with pytest.raises(ShapeError, match="one block per query"):
        retrieval_sums_by_block(precision, [1, 2])


def test_bad_vectors_and_labels_are_refused() -> None:
    good, ids = np.eye(3), np.arange(3)
    with pytest.raises(ShapeError, match="1 rows not finite"):
        rank_database(good, np.array([[1.0, np.nan, 0.0]]), 1)
    with pytest.raises(ShapeError, match="by one arm"):
        rank_database(good, np.eye(4), 1)
    with pytest.raises(ShapeError, match="k_max"):
        rank_database(good, good, 0)
    with pytest.raises(TooFewUnitsError, match="database"):
        rank_database(good, np.empty((0, 3)), 1)
    ranking = rank_database(good, good, 2)
    with pytest.raises(ShapeError, match=r"k_max = max\(ks\)"):
        precision_at(ranking, ids, ids, (3,))
    with pytest.raises(ShapeError, match=r"k_max = max\(ks\)"):
        precision_at(ranking, ids[:2], ids, (2,))
    with pytest.raises(ShapeError, match=r"k_max = max\(ks\)"):
        precision_at(ranking, ids, ids, (0, 2))
    with pytest.raises(ShapeError, match="Leave nodata out"):
        precision_at(ranking, ids - 1, ids, (1,))
    for other in (ids * 1.0, np.eye(3, dtype=bool), ids[:, None]):
        with pytest.raises(ShapeError, match="class ids or flags of both"):
            precision_at(ranking, ids, other, (1,))
