"""Offline DQN of single items: targets and options."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms.dqn import DQNAgent
from offline.dqn import OfflineDQNAgent
from offline.log import Rows
from tests.offline.values.made import played


@pytest.fixture(scope="module")
def log() -> tuple[Any, Rows]:
    return played("modified_long_term_satisfaction", users=12)


def agent_of(simulator: Any, **settings: Any) -> OfflineDQNAgent:
    torch.manual_seed(0)
    given = {"hidden": (8,), "item_hidden": (4,), "initial_value": 5.0, "window": 5, **settings}
    agent = OfflineDQNAgent(simulator.spec, simulator.history, simulator.slate_size, given)
    with torch.no_grad():  # so that items differ
        agent.online.network.head.weight.mul_(20)
    return agent


@torch.no_grad()
def loss_of(agent: OfflineDQNAgent, columns: dict[str, Tensor]) -> dict[str, Tensor]:
    return agent.loss(columns, agent.predict(columns), copy.deepcopy(agent))


def test_traces_go_on_where_the_best_item_was_shown(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator, trace="retrace")
    given = rows.tensors(agent.reads)
    given["position"] = agent.chosen(given)
    found = agent.valued(given)
    code = agent.online.network.encode(given["user"], given["history"])
    values = agent.online.values(code, given["candidates"], given["mask"], 1)[0]
    shown = given["slate"][:, 0]
    assert torch.equal(found.keep, (values.argmax(1) == shown).float())
    assert 0 < int(found.keep.sum()) < len(rows)
    torch.testing.assert_close(found.value, values.max(1).values)
    torch.testing.assert_close(found.chosen_value, values.gather(1, shown[:, None])[:, 0])
    assert bool((agent_of(simulator, trace="full").valued(given).keep == 1).all())


def test_the_last_step_is_worth_its_reward(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator)
    columns = agent.log_columns(rows)
    last = columns["terminated"].flatten()
    torch.testing.assert_close(agent.returns(columns)[last], columns["reward"].flatten()[last])


def test_the_penalty_counts_eligible_items_only(log: tuple[Any, Rows]) -> None:
    simulator, rows = log
    agent = agent_of(simulator, penalty=0.5)
    columns = agent.log_columns(rows)
    only = torch.zeros_like(columns["mask"]).scatter_(2, columns["slate"], True)
    assert float(loss_of(agent, columns)["gap"].abs()) > 1e-3
    # Nothing else could have been shown, so there is nothing to be too hopeful about.
    assert float(loss_of(agent, {**columns, "mask": only})["gap"]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "changed",
    [{"dueling": True}, {"penalty": 0.0}, {"gamma": 0.5}, {"lambda_": 0.0}, {"trace": "retrace"}],
    ids=str,
)
def test_every_option_changes_what_is_learned(
    log: tuple[Any, Rows], changed: dict[str, Any]
) -> None:
    simulator, rows = log
    losses = [
        float(loss_of(agent, agent.log_columns(rows))["loss"])
        for agent in (agent_of(simulator), agent_of(simulator, **changed))
    ]
    assert losses[0] != losses[1]


def test_the_exported_policy_is_an_ordinary_one(log: tuple[Any, Rows]) -> None:
    simulator, _ = log
    assert type(agent_of(simulator).export()) is DQNAgent


def test_slates_of_several_items_are_refused() -> None:
    simulator, _ = played("interest_evolution", users=2)
    with pytest.raises(ValueError, match="hold 3 items, and offline dqn values single ones"):
        OfflineDQNAgent(simulator.spec, simulator.history, 3, {})
