"""Indices and weights, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from algorithms.bandits.rules import (
    UNTRIED,
    confidence_index,
    inverse_gap_log_weights,
    thompson_log_weights,
    top_slate,
)

ALL = torch.ones(1, 3, dtype=torch.bool)


def test_confidence_bound_is_ucb1s() -> None:
    mean, count = tensor([0.5, 0.2, 0.0]).double(), tensor([4.0, 1.0, 0.0]).double()
    index = confidence_index(mean, count, math.sqrt(2))
    # 0.5 + sqrt(2 ln 5 / 4) = 1.3971; 0.2 + sqrt(2 ln 5 / 1) = 1.9941; never tried.
    assert index.tolist() == pytest.approx([1.3971, 1.9941, UNTRIED], abs=1e-4)


def test_fractions_of_an_observation_give_finite_bounds() -> None:
    # Discounted counts: less than one observation is left in all, and ln is not below 0.
    index = confidence_index(tensor([0.3]).double(), tensor([0.25]).double(), 1.0)
    assert index.tolist() == [pytest.approx(0.3)]


def test_thompson_weights_are_shares_of_draws() -> None:
    # Four draws of three items; the first is best in 3 of them, the second in 1.
    scores = tensor([[[9.0, 9.0, 9.0, 0.0], [5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 0.0, 0.0]]])
    weights = thompson_log_weights(scores, ALL, 1).exp()[0]
    assert weights.tolist() == pytest.approx([0.75, 0.25, 1e-6], rel=1e-4)


def test_later_slots_follow_the_later_ranks() -> None:
    scores = tensor([[[9.0, 9.0], [5.0, 1.0], [1.0, 5.0]]])
    weights = thompson_log_weights(scores, ALL, 2).double().exp()[0]
    # First place always the first item; second place shared by the others, a millionth of it.
    assert weights.tolist() == pytest.approx([1.0, 5e-7, 5e-7], rel=1e-4)


def test_thompson_weights_never_prefer_what_may_not_be_shown() -> None:
    scores = tensor([[[9.0], [5.0], [1.0]]])
    weights = thompson_log_weights(scores, tensor([[False, True, True]]), 1)[0]
    assert int(weights.argmax()) == 1


def test_inverse_gap_weights() -> None:
    weights = inverse_gap_log_weights(tensor([[1.0, 0.5, 0.0]]), ALL, gamma=4.0).exp()[0]
    # 1 / (3 + 4 * 0.5) = 0.2 and 1 / (3 + 4 * 1) = 1 / 7; the best takes the rest.
    assert weights.tolist() == pytest.approx([1 - 0.2 - 1 / 7, 0.2, 1 / 7])


def test_inverse_gap_counts_eligible_items_only() -> None:
    mask = tensor([[True, True, False]])
    weights = inverse_gap_log_weights(tensor([[1.0, 0.5, 9.0]]), mask, gamma=4.0).exp()[0]
    # 1 / (2 + 4 * 0.5) = 0.25 and the rest; the ineligible one's is nothing.
    assert weights[:2].tolist() == pytest.approx([0.75, 0.25])
    assert float(weights[2]) < 1e-30


def test_the_best_slate_leaves_out_the_ineligible_and_breaks_ties_by_position() -> None:
    slate = top_slate(tensor([[1.0, 2.0, 2.0]]), ALL, 2)
    assert slate.tolist() == [[1, 2]]
    assert top_slate(tensor([[1.0, 2.0, 2.0]]), tensor([[True, False, True]]), 2).tolist() == [
        [2, 0]
    ]
