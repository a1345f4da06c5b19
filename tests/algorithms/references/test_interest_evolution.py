"""The full-information reference: its arithmetic, and that it refuses other worlds."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from algorithms.evaluation import evaluate_policy
from algorithms.policy import baseline
from algorithms.references.interest_evolution import advantage, price
from envs.registry import make_simulator

WORLD = {"name": "interest_evolution", "full_information": True}


def test_taste_for_good_topics_makes_budget_dear() -> None:
    good = tensor([0.0, 1.0, 3.0])
    # Tastes (0.5 - 0.5 * 3) / 4 = -0.25, and 0: 1.4 - 0.6 * 0.25.
    interests = tensor([[1.0, 0.5, -0.5], [-1.0, 0.0, 0.0]])
    torch.testing.assert_close(price(interests, good), tensor([[1.25], [1.4]]))


def test_an_advantage_by_hand() -> None:
    found = advantage(tensor([[0.5]]), tensor([[3.4]]), tensor([[100.0]]), 200.0, tensor([[2.0]]))
    # 4 minutes; they cost 4 (1 - 0.9) = 0.4 of budget, 0.1 less than no click: + 0.2. The interest
    # steps by 0.5 * 0.15 * 0.5 = 0.0375 on average: 5 * 3.4 * 0.0375 / 2 = 0.31875.
    torch.testing.assert_close(found, tensor([[4.51875]]))


def test_the_last_minutes_are_all_that_can_be_watched() -> None:
    found = advantage(tensor([[0.0]]), tensor([[0.0]]), tensor([[1.0]]), 200.0, tensor([[2.0]]))
    torch.testing.assert_close(found, tensor([[0.0]]))  # 1 minute for 1 - 0.5 of budget at price 2


def test_it_earns_more_than_learners_of_the_real_world() -> None:
    simulator = make_simulator(num_users=1, history=[], **WORLD)  # type: ignore[arg-type]
    policy = baseline("full_information", simulator.spec, simulator.history, 3)
    found = evaluate_policy(policy, WORLD, 400, seed=1_000_003).mean_return
    # 283.0 +- 0.9 with 2,000 users; SlateQ reaches 282 after 5 M steps, 278 after 1 M.
    assert found.mean == pytest.approx(283.0, abs=3 * 2.2)
    assert found.high - found.mean < 2 * 2.2


@pytest.mark.parametrize(
    "world",
    [
        {"name": "interest_evolution"},
        {"name": "boredom"},
    ],
)
def test_it_refuses_worlds_that_it_does_not_know(world: dict[str, str]) -> None:
    simulator = make_simulator(num_users=1, **world)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="full_information: true in the world"):
        baseline("full_information", simulator.spec, simulator.history, simulator.slate_size)
