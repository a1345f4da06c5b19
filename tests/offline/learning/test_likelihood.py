import math

import pytest
import torch
from torch import tensor

from algorithms.core.slates import plackett_luce
from offline.learning.likelihood import slate_log_likelihood

WEIGHTS = tensor([[1.0, 2.0, 3.0, 4.0]]).log()
ALL = torch.ones((1, 4), dtype=torch.bool)


def likelihood(slate: list[int], pinned: list[int] | None = None, mask: object = ALL) -> float:
    pins = None if pinned is None else tensor([pinned])
    return slate_log_likelihood(WEIGHTS, mask, tensor([slate]), pins).exp().item()


def test_a_slate_is_drawn_without_replacement() -> None:
    # 3 / 10, then 1 / (10 - 3).
    assert likelihood([2, 0]) == pytest.approx(3 / 10 * 1 / 7)


def test_padding_adds_nothing_wherever_the_slate_ends() -> None:
    assert likelihood([2, 0, -1]) == pytest.approx(3 / 10 * 1 / 7)
    assert likelihood([2, -1, -1]) == pytest.approx(3 / 10)


def test_candidates_that_are_not_eligible_take_no_share() -> None:
    assert likelihood([2, 0], mask=tensor([[True, False, True, False]])) == pytest.approx(3 / 4)


def test_pinned_slots_are_not_chosen_and_their_items_not_offered() -> None:
    # Item 3 stands in slot 0 from outside; of the others, 3 of 1 + 2 + 3, then 1 of 1 + 2.
    assert likelihood([3, 2, 0], [3, -1, -1]) == pytest.approx(3 / 6 * 1 / 3)
    assert likelihood([2, 3, 0], [-1, 3, -1]) == pytest.approx(3 / 6 * 1 / 3)


def test_it_agrees_with_the_distribution_that_acts() -> None:
    torch.manual_seed(0)
    weights, mask = torch.randn(50, 6), torch.ones((50, 6), dtype=torch.bool)
    slates, _ = plackett_luce(weights, mask, 3).sample()
    expected = plackett_luce(weights, mask, 3).log_prob(slates)
    torch.testing.assert_close(slate_log_likelihood(weights, mask, slates), expected)


def test_the_gradient_of_a_padded_row_is_finite() -> None:
    weights = WEIGHTS.clone().requires_grad_()
    slate_log_likelihood(weights, ALL, tensor([[1, -1]]), tensor([[1, -1]])).sum().backward()
    assert weights.grad is not None and not weights.grad.any()
    weights = WEIGHTS.clone().requires_grad_()
    slate_log_likelihood(weights, ALL, tensor([[2, -1]])).sum().backward()
    # One-hot minus the probabilities.
    assert weights.grad is not None
    torch.testing.assert_close(weights.grad, tensor([[-0.1, -0.2, 0.7, -0.4]]))
    assert math.isfinite(weights.grad.sum())
