"""Hand-worked numbers of what lists are like beyond hits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from offline.ranking import beyond

# Items 0 and 1 are drama, item 2 is comedy, item 3 both, item 4 neither.
GROUPS = np.array([[1, 0], [1, 0], [0, 1], [1, 1], [0, 0]], np.float32)


def test_coverage_is_the_share_of_items_shown() -> None:
    assert beyond.coverage(np.array([3, 0, 1, 0])) == 0.5


def test_gini_of_equal_and_of_one_sided_exposure() -> None:
    assert beyond.gini(np.array([2, 2, 2, 2])) == pytest.approx(0.0)
    assert beyond.gini(np.array([0, 8, 0, 0])) == pytest.approx(0.75)  # 1 - 1/4
    # Differences over all ordered pairs, over 2 n^2 times the mean: 2 (2 + 1 + 1) / (2 * 9 * 2).
    assert beyond.gini(np.array([1, 3, 2])) == pytest.approx(8 / 36)


def test_self_information_counts_one_more() -> None:
    # 7 users and one more: items of 7, 3, 1 and no takers are 8, 4, 2 and 1 in 8.
    found = beyond.self_information(np.array([7, 3, 1, 0]), 7)
    assert found.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_novelty_is_a_mean_over_the_places_that_are_filled() -> None:
    information = np.array([0.0, 1.0, 2.0, 3.0])
    lists = np.array([[3, 1], [2, -1], [-1, -1]])
    found = beyond.novelty(lists, information)
    assert found[:2].tolist() == [2.0, 2.0]
    assert math.isnan(found[2])


def test_diversity_is_over_pairs() -> None:
    units = beyond.unit_rows(GROUPS)
    half = 1 - math.sqrt(0.5)  # of an item in one group and one in both
    lists = np.array([[0, 1, -1], [0, 2, -1], [0, 1, 3], [0, 4, -1]])
    expected = [0.0, 1.0, (0.0 + half + half) / 3, 1.0]
    assert beyond.diversity(lists, units).tolist() == pytest.approx(expected, abs=1e-6)
    assert np.isnan(beyond.diversity(np.array([[2, -1]]), units)).all()


def test_diversity_is_that_of_the_pairs_one_by_one() -> None:
    random = np.random.default_rng(0)
    units = beyond.unit_rows((random.random((30, 5)) < 0.4).astype(np.float32))
    lists = np.stack([random.permutation(30)[:6] for _ in range(8)])
    pairs = [(i, j) for i in range(6) for j in range(i)]
    expected = [np.mean([1 - units[row[i]] @ units[row[j]] for i, j in pairs]) for row in lists]
    assert beyond.diversity(lists, units).tolist() == pytest.approx(expected, abs=1e-6)


def test_shares_spread_an_item_over_its_groups() -> None:
    assert beyond.shares(GROUPS).tolist() == [[1, 0], [1, 0], [0, 1], [0.5, 0.5], [0, 0]]


def test_miscalibration_against_what_the_user_took() -> None:
    spread = beyond.shares(GROUPS)
    lists = np.array([[0, 2], [0, 1], [4, -1], [0, 2]])
    own = np.array([[3.0, 3.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    found = beyond.miscalibration(lists, spread, own)
    # The list mirrors the user; then it has drama alone, for a user of both:
    # q' is 0.99 + 0.005 and 0.005.
    second = 0.5 * math.log(0.5 / 0.995) + 0.5 * math.log(0.5 / 0.005)
    assert found[:2].tolist() == pytest.approx([0.0, second])
    assert np.isnan(found[2:]).all()  # a list, and a user, without groups
