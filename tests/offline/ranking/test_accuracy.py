"""Hand-worked numbers, and ir-measures as a second opinion."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from offline.ranking import accuracy
from offline.ranking.evaluating import in_rows
from offline.ranking.top import top_k

# Three lists of four places; 2, 1 and 5 relevant items.
HITS = np.array([[True, False, True, False], [False, False, False, True], [False] * 4])
RELEVANT = np.array([2, 1, 5])


def test_precision_is_over_places() -> None:
    assert accuracy.precision(HITS, RELEVANT).tolist() == [0.5, 0.25, 0.0]


def test_recall_is_over_relevant_items() -> None:
    assert accuracy.recall(HITS, RELEVANT).tolist() == [1.0, 1.0, 0.0]
    assert accuracy.recall(HITS[:1], np.array([8])).tolist() == [0.25]


def test_hit_rate_is_one_hit_or_more() -> None:
    assert accuracy.hit_rate(HITS, RELEVANT).tolist() == [1.0, 1.0, 0.0]


def test_average_precision_divides_by_all_relevant_items() -> None:
    # Hits in places 1 and 3: (1/1 + 2/3) / 2. A hit in place 4: 1/4.
    found = accuracy.average_precision(HITS, RELEVANT)
    assert found.tolist() == pytest.approx([5 / 6, 0.25, 0.0])
    # Six relevant items in a list of four: no list could reach 1.
    every = accuracy.average_precision(np.ones((1, 4), bool), np.array([6]))
    assert every.tolist() == pytest.approx([4 / 6])


def test_ndcg_is_against_the_best_list_of_as_many_places() -> None:
    # Gains 1, 1/log2(3), 1/2, 1/log2(5). The best two places hold 1 + 1/log2(3).
    best_two = 1 + 1 / math.log2(3)
    found = accuracy.ndcg(HITS, RELEVANT)
    assert found.tolist() == pytest.approx([1.5 / best_two, 1 / math.log2(5), 0.0])
    assert accuracy.ndcg(np.ones((1, 4), bool), np.array([9])).tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("k", [1, 3, 10])
def test_as_ir_measures(k: int) -> None:
    """Ties, several relevant items, more of them than places, and items out of reach."""
    random = np.random.default_rng(k)
    users, items = 60, 40
    scores = random.integers(0, 6, (users, items)).astype(np.float32)
    relevant = csr_matrix(random.random((users, items)) < random.uniform(0.03, 0.6, (users, 1)))
    relevant = relevant[np.diff(relevant.indptr) > 0]
    scores = scores[: relevant.shape[0]]
    lists = top_k(scores, k)
    hits, count = in_rows(relevant, lists), np.diff(relevant.indptr)
    # trec_eval breaks ties its own way, so it gets the places as scores.
    run = [
        ir_measures.ScoredDoc(str(user), str(item), float(k - place))
        for user, row in enumerate(lists.tolist())
        for place, item in enumerate(row)
    ]
    truth = [
        ir_measures.Qrel(str(user), str(item), 1)
        for user, item in zip(*(part.tolist() for part in relevant.nonzero()), strict=True)
    ]
    names = {
        "precision": ir_measures.P @ k,
        "recall": ir_measures.R @ k,
        "ndcg": ir_measures.nDCG @ k,
        "map": ir_measures.AP @ k,
        "hit_rate": ir_measures.Success @ k,
    }
    assert set(names) == set(accuracy.METRICS)
    for name, measure in names.items():
        ours = accuracy.METRICS[name](hits, count)
        theirs = {
            int(each.query_id): each.value for each in ir_measures.iter_calc([measure], truth, run)
        }
        assert len(theirs) == len(ours)
        expected = [theirs[user] for user in range(len(ours))]
        assert ours.tolist() == pytest.approx(expected, abs=1e-9), name
        assert 0.0 < ours.mean() < 1.0
