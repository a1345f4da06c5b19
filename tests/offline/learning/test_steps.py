from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms.core.schedule import warm_cosine
from offline.bc import BCAgent, BCSettings
from offline.learning.data import Block
from offline.learning.steps import LearningError, LocalLearner
from tests.offline.learning.test_parallel import block_of
from tests.offline.log.made import HISTORY, SPEC


def make_agent(kind: type[BCAgent] = BCAgent, **settings: Any) -> BCAgent:
    torch.manual_seed(0)
    return kind(SPEC, HISTORY, 2, BCSettings(**{"hidden": (8,), **settings}).model_dump())


@pytest.fixture
def block(shards: Path) -> Block:
    return block_of(shards, make_agent())


def rates(block: Block, updates: int, budget: int, **settings: Any) -> list[float]:
    learner = LocalLearner(make_agent(**settings), budget)
    found = []
    for _ in range(updates):
        learner.learn(block, [block.drawn[:4]])
        found.append(learner.report()["learning_rate"])
    return found


def test_the_learning_rate_by_hand() -> None:
    assert warm_cosine(0.1, 0.5, 0.25) == pytest.approx(0.1 * 0.25 * 0.5)
    assert warm_cosine(0.1, 2.0, 3.0) == pytest.approx(0.0)
    assert warm_cosine(0.1, 0.5, 3.0, cosine=False) == 0.1


def test_the_learning_rate_warms_up_and_falls(block: Block) -> None:
    # Warm-up over 2, then half a cosine over 4: 1 + cos(pi t / 4) over 2.
    expected = [0.5, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 - math.cos(math.pi / 4)) / 2]
    assert rates(block, 4, 4, lr=1.0, warmup_updates=2) == pytest.approx(expected)
    settings = {"lr": 1.0, "warmup_updates": 0, "lr_schedule": "constant"}
    assert rates(block, 3, 3, **settings) == [1.0, 1.0, 1.0]


def test_the_gradient_is_clipped(block: Block) -> None:
    def step(clip: float) -> Tensor:
        agent = make_agent(grad_clip=clip, warmup_updates=0, lr=0.1)
        LocalLearner(agent, 10).learn(block, [block.drawn[:64]])
        return torch.cat([p.grad.flatten() for p in agent.parameters() if p.grad is not None])

    assert step(0.01).norm() == pytest.approx(0.01, rel=1e-3)
    assert step(1e6).norm() > 0.1


def test_reports_do_not_depend_on_where_they_are_cut(block: Block) -> None:
    whole, cut = LocalLearner(make_agent(), 9), LocalLearner(make_agent(), 9)
    order = list(block.drawn[:90].split(10))
    whole.learn(block, order)
    cut.learn(block, order[:4])
    state = cut.state()
    again = LocalLearner(make_agent(), 9)
    again.set_state(state)
    again.learn(block, order[4:])
    assert again.report() == whole.report()


class WithTarget(BCAgent):
    """Copies its weights every second update."""

    needs_target = True

    def update_target(self, target: Any, updates: int) -> None:
        if updates % 2 == 0:
            target.load_state_dict(self.state_dict())


def test_a_target_network_follows_as_the_agent_says(block: Block) -> None:
    agent = make_agent(WithTarget, warmup_updates=0)
    learner = LocalLearner(agent, 10)
    first = {k: v.clone() for k, v in agent.state_dict().items()}

    def is_like(weights: dict[str, Tensor]) -> bool:
        assert learner.target is not None
        return all(torch.equal(v, weights[k]) for k, v in learner.target.state_dict().items())

    learner.learn(block, [block.drawn[:8]])
    assert is_like(first)
    learner.learn(block, [block.drawn[:8]])
    assert is_like(agent.state_dict()) and not is_like(first)


def test_numbers_that_are_none_end_in_a_sentence(block: Block) -> None:
    learner = LocalLearner(make_agent(), 9)
    block.columns["candidates"][block.drawn[0]] = float("nan")
    learner.learn(block, [block.drawn[:4]])
    with pytest.raises(LearningError, match="nan after 1 updates; lower lr"):
        learner.report()


def test_held_out_losses_are_means_over_rows(block: Block) -> None:
    agent = make_agent(minibatch_size=7)
    learner = LocalLearner(agent, 9)
    columns = block.take(block.drawn, ())
    expected = agent.loss(columns, agent.predict(columns), None)["loss"].item()
    assert learner.held_out(block)["loss"] == pytest.approx(expected, rel=1e-5)
    assert learner.updates == 0
