from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from algorithms.core.agent import Exploration
from algorithms.core.slates import plackett_luce
from envs.registry import make_simulator
from offline.bc import BCAgent, BCSettings
from offline.learning.likelihood import slate_log_likelihood
from offline.log import Rows
from offline.observed import observation
from tests.offline.log.made import HISTORY, SPEC, make_rows


def make_agent(**settings: Any) -> BCAgent:
    torch.manual_seed(0)
    return BCAgent(SPEC, HISTORY, 2, BCSettings(**{"hidden": (16,), **settings}).model_dump())


def preferring(rows: Rows, taste: float) -> Rows:
    """Rows whose slates are drawn by a policy that likes quality, or dislikes it."""
    torch.manual_seed(1)
    weights = taste * torch.from_numpy(rows["candidates"][:, :, 3])
    mask = torch.from_numpy(rows["mask"])
    return rows.replace(slate=plackett_luce(weights, mask, 2).sample()[0].numpy())


@pytest.mark.parametrize("taste", [2.0, -1.0])
def test_the_policy_of_the_log_is_found(taste: float) -> None:
    rows = preferring(make_rows(sessions=1500, steps=2), taste)
    agent = make_agent()
    columns = agent.log_columns(rows)
    optimizer = torch.optim.Adam(agent.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        agent.loss(columns, agent.predict(columns), None)["loss"].backward()
        optimizer.step()
    fresh = preferring(make_rows(sessions=1500, steps=2, seed=7), taste)
    seen = agent.log_columns(fresh)
    found = agent.predict(seen)["log_likelihood"].mean().item()
    truth = taste * seen["candidates"][:, :, 3]
    best = slate_log_likelihood(truth, seen["mask"], seen["slate"]).mean().item()
    uniform = np.log(1 / 20)
    assert uniform + 0.3 < best
    assert found == pytest.approx(best, abs=0.05)


def test_it_acts_by_what_it_predicts() -> None:
    agent, rows = make_agent(), make_rows(sessions=3)
    policy = agent.distribution(observation(rows), Exploration(temperature=1.0))
    columns = agent.log_columns(rows)
    torch.testing.assert_close(
        policy.log_prob(columns["slate"]), agent.predict(columns)["log_likelihood"]
    )
    assert agent.decide(observation(rows), 2).best is None


def test_pinned_slots_are_not_learned_from() -> None:
    agent, rows = make_agent(), make_rows(sessions=3)
    pinned = agent.log_columns(rows.replace(pinned=rows["slate"]))
    assert not agent.predict(pinned)["log_likelihood"].any()
    free = agent.log_columns(rows)
    assert (agent.predict(free)["log_likelihood"] < -0.1).all()


def test_settings_shape_the_network_and_the_exploration() -> None:
    def sizes(**settings: Any) -> list[tuple[int, ...]]:
        return [tuple(p.shape) for p in make_agent(**settings).parameters()]

    for changed in ({"hidden": (8,)}, {"item_hidden": (6,)}, {"layer_norm": False}):
        assert sizes(**changed) != sizes()
    agent = make_agent(temperature=0.5, epsilon=0.1)
    assert agent.exploration == Exploration(0.1, 0.5)
    assert make_agent().exploration == Exploration(0.0, 1.0)


def test_the_appeal_is_used_where_it_is_declared() -> None:
    world = make_simulator("interest_evolution", 2, seed=0)

    def parameters(use: bool) -> int:
        settings = BCSettings(use_appeal=use).model_dump()
        agent = BCAgent(world.spec, world.history, world.slate_size, settings)
        return sum(p.numel() for p in agent.parameters())

    assert parameters(True) > parameters(False)
