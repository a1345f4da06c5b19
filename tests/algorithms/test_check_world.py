"""Agents refuse worlds that they could be built for but not act or learn in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from algorithms.core.agent import Agent, check_agent
from algorithms.registry import algorithm
from algorithms.rllib.config import ColumnarConfig
from envs.registry import make_simulator
from envs.simulator import Simulator

Arguments = Mapping[str, Any]
SLATES_OF_3_OF_12 = {"num_candidates": 12, "slate_size": 3}
# 60 * 59 * 58 = 205,320 ordered slates, and 59 * 58 * 57 = 195,054.
CASES = [
    ("dqn", SLATES_OF_3_OF_12, {"actions": "slates", "max_slates": 219}, "220 slates of 3"),
    ("dqn", SLATES_OF_3_OF_12, {"actions": "slates", "max_slates": 220}, None),
    (
        "dqn",
        SLATES_OF_3_OF_12,
        {"actions": "slates", "max_slates": 220, "ordered": True},
        "1,320 ordered slates of 3",
    ),
    (
        "ppo",
        {"num_candidates": 60, "slate_size": 3},
        {"entropy": "exact"},
        "205,320 ordered slates .* set entropy to 'shown'",
    ),
    ("ppo", {"num_candidates": 60, "slate_size": 3}, {"entropy": "shown"}, None),
    ("ppo", {"num_candidates": 59, "slate_size": 3}, {"entropy": "exact"}, None),
    (
        "a2c",
        {"num_candidates": 200_001, "slate_size": 1},
        {},
        "200,001 ordered slates .* lower num_candidates",
    ),
]


def options(name: str, settings: Arguments) -> dict[str, Any]:
    found: dict[str, Any] = algorithm(name).settings(**settings).model_dump()
    return found


def world(arguments: Arguments) -> Simulator:
    return make_simulator("interest_evolution", 1, **arguments)


@pytest.mark.parametrize(("name", "arguments", "settings", "message"), CASES)
def test_the_agent_refuses(
    name: str, arguments: Arguments, settings: Arguments, message: str | None
) -> None:
    agent_class, simulator = algorithm(name).agent, world(arguments)
    if message is None:
        check_agent(agent_class, simulator, options(name, settings))
        return
    with pytest.raises(ValueError, match=message):
        check_agent(agent_class, simulator, options(name, settings))


@pytest.mark.parametrize("name", ["dqn", "ppo"])
def test_so_does_the_library(name: str) -> None:
    _, arguments, settings, message = next(case for case in CASES if case[0] == name)
    config: ColumnarConfig = algorithm(name).load_config()
    config.environment("interest_evolution", env_config=dict(arguments)).training(**settings)
    with pytest.raises(ValueError, match=message):
        config.validate()


@pytest.mark.parametrize(("name", "settings"), [("ucb1", {}), ("linucb", {"models": "per_arm"})])
def test_arms_have_to_be_told_apart_among_what_may_be_shown(name: str, settings: Arguments) -> None:
    simulator = world({"num_candidates": 3, "slate_size": 1})
    agent: Agent = algorithm(name).agent(
        simulator.spec, simulator.history, 1, options(name, settings)
    )
    observation = simulator.reset()
    agent.check_world(observation)
    observation.candidates[0, 1] = 0.5
    with pytest.raises(ValueError, match="'features' should hold zeros and at most a single one"):
        agent.check_world(observation)
    agent.check_world(observation._replace(mask=torch.tensor([[True, False, True]])))


def test_a_model_of_all_items_needs_no_arms() -> None:
    simulator = world({"num_candidates": 3, "slate_size": 1})
    agent = algorithm("linucb").agent(simulator.spec, simulator.history, 1, options("linucb", {}))
    observation = simulator.reset()
    observation.candidates[0, 1] = 0.5
    agent.check_world(observation)


def test_checking_draws_no_global_random_numbers() -> None:
    before = torch.get_rng_state()
    check_agent(algorithm("ppo").agent, world({}), options("ppo", {}))
    assert torch.equal(torch.get_rng_state(), before)
