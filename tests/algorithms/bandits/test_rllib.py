"""Bandits on the columnar runner: workers ship sums, the learner merges them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from algorithms.bandits import LinUCBConfig
from algorithms.registry import algorithm

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.mark.parametrize(
    ("name", "workers", "settings"),
    [
        ("sliding_window_ucb", 0, {"window": 5}),
        ("neural_linear", 0, {"feedback_delay": 1, "train_every": 3, "hidden": (8,)}),
        # Remote workers act one update behind, and their windows and rows are the learner's.
        ("sliding_window_ucb", 1, {"window": 5}),
        pytest.param(
            "neural_linear", 2, {"train_every": 3, "hidden": (8,)}, marks=pytest.mark.slow
        ),
        pytest.param("lints", 2, {"feedback_delay": 1, "window": 5}, marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_continues_as_if_nothing_had_happened(
    tmp_path: Path, name: str, workers: int, settings: dict[str, Any]
) -> None:
    config = algorithm(name).load_config().environment("interest_evolution")
    config.env_runners(
        num_env_runners=workers, num_envs_per_env_runner=4, rollout_fragment_length=2
    ).training(stagger_steps=2, **settings).debugging(seed=1)
    algo = config.build_algo()
    for _ in range(2):  # 8 updates, more than the window holds
        algo.train()
    algo.save_to_path(str(tmp_path))
    before = algo.agent().state_dict()
    algo.train()
    expected = algo.agent().state_dict()
    algo.stop()
    restored = type(algo).from_checkpoint(str(tmp_path))
    restored.train()
    found = restored.agent().state_dict()
    restored.stop()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    learned = "score" if "score" in expected else "ridge.theta"
    assert not torch.equal(before[learned], expected[learned])
    assert not [key for key in expected if "recent" in key]


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
