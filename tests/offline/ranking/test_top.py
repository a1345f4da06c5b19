"""The first K, also where scores are equal or nothing may be shown."""

from __future__ import annotations

import numpy as np
import pytest

from offline.ranking.top import top_k

NOTHING = -np.inf


def test_best_first_and_of_equal_ones_the_smaller_number() -> None:
    scores = np.array([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    assert top_k(scores, 3).tolist() == [[1, 2, 3], [0, 1, 2]]


def test_what_may_not_be_shown_leaves_the_list_short() -> None:
    scores = np.array([[NOTHING, 5.0, NOTHING], [NOTHING] * 3], np.float32)
    assert top_k(scores, 2).tolist() == [[1, -1], [-1, -1]]


def test_a_list_longer_than_the_catalogue_ends_with_nothing() -> None:
    assert top_k(np.array([[1.0, 2.0]], np.float32), 4).tolist() == [[1, 0, -1, -1]]


@pytest.mark.parametrize("place", [0, 6])
def test_no_number_is_refused(place: int) -> None:
    scores = np.zeros((1, 7), np.float32)
    scores[0, place] = np.nan
    with pytest.raises(ValueError, match="a score is NaN"):
        top_k(scores, 1)


@pytest.mark.parametrize("values", [1, 4, 200, 10**6])
@pytest.mark.parametrize("items", [1, 7, 101, 1013])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_as_a_stable_sort_of_everything(values: int, items: int, k: int) -> None:
    random = np.random.default_rng(values + items)
    scores = random.integers(0, values, (40, items)).astype(np.float32)
    scores[random.random(scores.shape) < 0.2] = NOTHING
    scores[:2] = NOTHING
    order = np.argsort(-scores, axis=1, kind="stable")
    there = np.isfinite(np.take_along_axis(scores, order, axis=1))
    expected = np.full((40, max(k, items)), -1)
    expected[:, :items] = np.where(there, order, -1)
    assert top_k(scores, k).tolist() == expected[:, :k].tolist()
