"""Learners that share minibatches take the same steps as one."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from algorithms.cluster import WorkersLost
from offline.bc import BCAgent, BCSettings
from offline.learning.agent import OfflineAgent
from offline.learning.data import Block, Feed
from offline.learning.parallel import ParallelLearner, parts_of
from offline.learning.steps import LocalLearner
from offline.log import open_log
from offline.marwil import MARWILAgent, MARWILSettings
from tests.offline.log.made import HISTORY, SPEC

KINDS = {"bc": (BCAgent, BCSettings), "marwil": (MARWILAgent, MARWILSettings)}


def make_agent(kind: str) -> OfflineAgent:
    agent, settings = KINDS[kind]
    torch.manual_seed(0)
    options = settings(hidden=(8,), warmup_updates=0, lr=0.01, grad_clip=0.1)
    return agent(SPEC, HISTORY, 2, options.model_dump())


def test_parts_add_up() -> None:
    parts, shares = parts_of(torch.arange(5), 2)
    assert [part.tolist() for part in parts] == [[0, 1, 2], [3, 4]]
    assert shares == [0.6, 0.4]
    parts, shares = parts_of(torch.arange(1), 2)
    assert [part.tolist() for part in parts] == [[0], [0]] and shares == [0.5, 0.5]


def block_of(shards: Path, agent: OfflineAgent) -> Block:
    feed = Feed(open_log(shards), agent, None, memory=2**30, holdout=0.0, seed=0)
    return next(feed.blocks(0))


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("kind", KINDS)
def test_one_and_two_learners_end_where_one_process_does(kind: str, shards: Path) -> None:
    here = make_agent(kind)
    block = block_of(shards, here)
    # Odd sizes, and one of fewer rows than learners.
    order = [*block.drawn[:77].split(11), block.drawn[200:201]]
    local = LocalLearner(here, 10)
    local.learn(block, order)
    expected, fresh = local.report(), make_agent(kind)
    for learners in (1, 2):
        shared = ParallelLearner(block_agent(kind, shards), 10, learners)
        shared.learn(block, order[:3])
        shared.learn(block, order[3:])
        found = shared.report()
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6)
        # Not weight by weight: what adds one number to all log-weights has no gradient but
        # rounding, which Adam makes large.
        assert closest(shared.agent, here, block) < 1e-4 < 0.1 < closest(fresh, here, block)
        assert shared.held_out(block) == pytest.approx(local.held_out(block), rel=1e-4)
        shared.close()
        assert shared.agent.state_dict()  # stays


def closest(one: OfflineAgent, other: OfflineAgent, block: Block) -> float:
    """The largest difference in what two agents predict."""
    columns = block.take(block.drawn, ())
    with torch.no_grad():
        pairs = zip(one.predict(columns).values(), other.predict(columns).values(), strict=True)
        return max(float((a - b).abs().max()) for a, b in pairs)


def block_agent(kind: str, shards: Path) -> OfflineAgent:
    """An agent that has seen the log, as one that is trained."""
    agent = make_agent(kind)
    block_of(shards, agent)
    return agent


@pytest.mark.usefixtures("cluster")
def test_a_state_continues_with_the_same_numbers(shards: Path) -> None:
    first = ParallelLearner(block_agent("marwil", shards), 10, 2)
    block = block_of(shards, make_agent("marwil"))
    order = list(block.drawn[:60].split(10))
    first.learn(block, order[:3])
    saved = copy.deepcopy(first.state())
    first.learn(block, order[3:])
    expected = first.report()
    first.close()
    second = ParallelLearner(block_agent("marwil", shards), 10, 2)
    second.set_state(saved)
    second.learn(block, order[3:])
    assert second.report() == expected
    for one, other in zip(first.agent.parameters(), second.agent.parameters(), strict=True):
        assert torch.equal(one, other)
    second.close()


@pytest.mark.usefixtures("cluster")
def test_a_lost_learner_is_told_in_a_sentence(shards: Path) -> None:
    learner = ParallelLearner(block_agent("bc", shards), 10, 1)
    block = block_of(shards, make_agent("bc"))
    learner.close()
    learner.learn(block, [block.drawn[:5]])
    with pytest.raises(WorkersLost, match="a learner was lost"):
        learner.report()
