"""Bandits on the columnar runner: workers ship sums, the learner merges them."""

from __future__ import annotations

import pytest
import torch

from algorithms.bandits import LinUCBConfig


@pytest.mark.usefixtures("cluster")
def test_every_row_of_every_worker_counts_once() -> None:
    config = LinUCBConfig().environment("interest_evolution")
    config.env_runners(
        num_env_runners=2, num_envs_per_env_runner=4, rollout_fragment_length=2
    ).training(stagger_steps=2, feedback="click", context=("one", "item", "appeal"))
    algo = config.build_algo()
    result = algo.train()
    agent = algo.agent()
    # 4 updates of 2 workers, each 2 steps of 4 users and 3 slots.
    assert float(agent.ridge.statistics["count"]) == 4 * 2 * 2 * 4 * 3
    assert result["learners"]["default_policy"]["observations"] == 192
    gram = agent.ridge.statistics["gram"][0]
    # `one` and the 20 topics come first: the constant's row counts topics, the diagonal as well.
    assert float(gram[0, 0]) == 192
    assert torch.equal(gram[0, 1:21], gram.diagonal()[1:21])
    # The appeal is no whole number; sums of its float32 values need more digits than float32 has.
    assert float(gram[21, 21]) != float(gram[21, 21].float())
    assert int(agent.version) == 4
    algo.stop()
