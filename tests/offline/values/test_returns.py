"""Corrected returns, choice probabilities and the penalty, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from algorithms.core.returns import lambda_returns
from offline.values.penalty import conservative_gap
from offline.values.returns import choice_probability, corrected_returns


def column(*numbers: float) -> torch.Tensor:
    return tensor(numbers)[:, None]


def returns(
    keep: torch.Tensor,
    terminated: torch.Tensor | None = None,
    cut: torch.Tensor | None = None,
    discount: float = 0.5,
) -> list[float]:
    no = torch.zeros(3, 1, dtype=torch.bool)
    found = corrected_returns(
        column(1.0, 2.0, 3.0),
        no if terminated is None else terminated,
        no if cut is None else cut,
        column(10.0, 20.0, 30.0),
        column(99.0, 4.0, 6.0),
        keep,
        discount=discount,
    )
    return found[:, 0].tolist()


def test_returns_follow_the_log_as_far_as_kept() -> None:
    # G_2 = 3 + 0.5 * 30 = 18
    # G_1 = 2 + 0.5 * (20 + 0.5 * (18 - 6)) = 15
    # G_0 = 1 + 0.5 * (10 + 0.25 * (15 - 4)) = 7.375
    assert returns(column(9.0, 0.25, 0.5)) == [7.375, 15.0, 18.0]


def test_returns_stop_where_the_user_leaves_and_where_nothing_more_is_known() -> None:
    flag = tensor([[False], [True], [False]])
    # G_1 = 2 alone; G_0 = 1 + 0.5 * (10 + 0.25 * (2 - 4)) = 5.75
    assert returns(column(9.0, 0.25, 0.5), terminated=flag) == [5.75, 2.0, 18.0]
    # G_1 = 2 + 0.5 * 20 = 12; G_0 = 1 + 0.5 * (10 + 0.25 * (12 - 4)) = 7
    assert returns(column(9.0, 0.25, 0.5), cut=flag) == [7.0, 12.0, 18.0]


def test_a_constant_factor_is_what_online_lambda_returns_do() -> None:
    generator = torch.Generator().manual_seed(0)
    reward, value, chosen = (torch.randn(9, 5, generator=generator) for _ in range(3))
    ended = torch.rand(9, 5, generator=generator) < 0.2
    cut = torch.rand(9, 5, generator=generator) < 0.2
    ours = corrected_returns(
        reward, ended, cut, value, chosen, torch.full((9, 5), 0.7), discount=0.9
    )
    theirs = lambda_returns(reward, ended, cut, value, chosen, lam=0.7, discount=0.9)
    torch.testing.assert_close(ours, theirs)


def test_multinomial_choice_probabilities() -> None:
    masses = tensor([[1.0, 2.0, 5.0]]).expand(4, -1)
    slates = tensor([[0, 1], [0, 1], [0, 1], [1, -1]])
    found = choice_probability(
        "multinomial_proportional", masses, 1.0, slates, tensor([1, -1, 2, 1])
    )
    # 2 / (1 + 2 + 1); no click 1 / 4; not on the slate; alone on it 2 / (2 + 1).
    torch.testing.assert_close(found, tensor([0.5, 0.25, 0.0, 2 / 3]))


def test_cascade_choice_probabilities() -> None:
    masses = tensor([[0.5, 0.2, 0.9]]).expand(4, -1)
    slates = tensor([[1, 0], [1, 0], [1, 0], [1, -1]])
    found = choice_probability("exponential_cascade", masses, 7.0, slates, tensor([1, 0, -1, -1]))
    # The first is taken with 0.2, the second with 0.8 * 0.5; nothing with 0.8 * 0.5.
    torch.testing.assert_close(found, tensor([0.2, 0.4, 0.4, 0.8]))


def test_the_gap_is_a_soft_maximum_less_what_was_chosen() -> None:
    values = tensor([[0.0, math.log(3.0), 50.0]])
    # log((1 * 1 + 1 * 3) / 2) - log 3 = log(2 / 3); the third may not be shown.
    assert conservative_gap(values, tensor([[1.0, 1.0, 0.0]]), tensor([1])).item() == (
        pytest.approx(math.log(2 / 3))
    )
    # Weights 3 and 1: log((3 * 1 + 1 * 3) / 4) - 0 = log 1.5
    assert conservative_gap(values, tensor([[3.0, 1.0, 0.0]]), tensor([0])).item() == (
        pytest.approx(math.log(1.5))
    )


def test_the_gap_lowers_the_others_and_raises_what_was_chosen() -> None:
    values = tensor([[0.0, math.log(3.0), 50.0]], requires_grad=True)
    conservative_gap(values, tensor([[1.0, 1.0, 0.0]]), tensor([0])).sum().backward()
    # Softmax (1/4, 3/4, 0) less 1 at what was chosen.
    assert values.grad is not None
    torch.testing.assert_close(values.grad, tensor([[-0.75, 0.75, 0.0]]))
