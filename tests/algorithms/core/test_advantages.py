"""Advantages and returns against hand-worked fragments."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from algorithms.core.advantages import generalised_advantages, returns_to_go, standardised

NO = tensor([[False], [False], [False]])
REWARD = tensor([[1.0], [2.0], [3.0]])
VALUE = tensor([[10.0], [20.0], [30.0]])


def column(*numbers: float) -> torch.Tensor:
    return tensor(numbers)[:, None]


def flags(*steps: int) -> torch.Tensor:
    return tensor([[step in steps] for step in range(3)])


def advantages(terminated=NO, truncated=NO, value_next=None, **options):
    following = column(20.0, 30.0, 40.0) if value_next is None else value_next
    return generalised_advantages(
        REWARD, terminated, truncated, following, VALUE, **{"lam": 0.5, "discount": 0.5, **options}
    )


def test_the_fragments_edge_bootstraps() -> None:
    # d = 1 + 10 - 10 = 1; 2 + 15 - 20 = -3; 3 + 20 - 30 = -7.
    # A2 = -7; A1 = -3 + .25 * -7 = -4.75; A0 = 1 + .25 * -4.75 = -.1875.
    found, returns = advantages()
    torch.testing.assert_close(found, column(-0.1875, -4.75, -7.0))
    torch.testing.assert_close(returns, column(9.8125, 15.25, 23.0))


def test_nothing_follows_a_terminated_step() -> None:
    # d1 = 2 - 20 = -18, whatever the next user's value; A0 = 1 + .25 * -18 = -3.5.
    value_next = column(20.0, float("nan"), 40.0)
    found, returns = advantages(terminated=flags(1), value_next=value_next)
    torch.testing.assert_close(found, column(-3.5, -18.0, -7.0))
    torch.testing.assert_close(returns, column(6.5, 2.0, 23.0))


def test_a_truncated_step_bootstraps_and_is_not_joined_to_the_next_session() -> None:
    # The final observation is worth 50: d1 = 2 + 25 - 20 = 7; A1 = 7; A0 = 1 + .25 * 7 = 2.75.
    found, _ = advantages(truncated=flags(1), value_next=column(20.0, 50.0, 40.0))
    torch.testing.assert_close(found, column(2.75, 7.0, -7.0))


def test_lambda_one_sums_rewards_and_lambda_zero_looks_one_step_ahead() -> None:
    # 1 + 2 + 3 + 40 - 10 = 36; 2 + 3 + 40 - 20 = 25; 3 + 40 - 30 = 13.
    whole, _ = advantages(lam=1.0, discount=1.0)
    torch.testing.assert_close(whole, column(36.0, 25.0, 13.0))
    # 1 + 20 - 10 = 11; 2 + 30 - 20 = 12; 3 + 40 - 30 = 13.
    single, _ = advantages(lam=0.0, discount=1.0)
    torch.testing.assert_close(single, column(11.0, 12.0, 13.0))


def test_returns_run_to_the_end_of_each_session() -> None:
    reward = tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    ended = tensor([[False, True], [True, False], [False, False]])
    returns, complete = returns_to_go(reward, ended, discount=0.5)
    # Left: 1 + .5 * 2 = 2, then 2, then a session still running. Right: 1, then 2 + .5 * 4.
    assert returns.tolist() == [[2.0, 1.0], [2.0, 4.0], [4.0, 4.0]]
    assert complete.tolist() == [[True, True], [True, False], [False, False]]
    assert reward.tolist() == [[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]]


def test_standardised_advantages() -> None:
    # Mean 2, deviation sqrt((1 + 1) / 2) = 1.
    torch.testing.assert_close(standardised(tensor([1.0, 3.0])), tensor([-1.0, 1.0]))
    assert standardised(tensor([7.0, 7.0])).tolist() == [0.0, 0.0]


def test_a_wrong_lambda_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lam is 1\.5"):
        advantages(lam=1.5)
