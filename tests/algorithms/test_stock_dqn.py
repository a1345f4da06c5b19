"""RLlib's own DQN on our worlds, and that it cannot do what the example says it cannot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.rllib.core.columns import Columns

from algorithms.dqn import DQNConfig
from docs.stock_dqn import flat, stock_dqn
from envs.views import RecSimEnv

pytestmark = pytest.mark.usefixtures("cluster")


def test_the_example_trains_and_lacks_what_it_says(tmp_path: Path) -> None:
    config = stock_dqn("modified_long_term_satisfaction")
    config.training(num_steps_sampled_before_learning_starts=8, train_batch_size=8)
    algo = config.build_algo()
    while not algo.train()["env_runners"]["num_episodes_lifetime"]:
        pass
    assert math.isfinite(algo.train()["env_runners"]["episode_return_mean"])
    observation = torch.as_tensor(flat({"name": "modified_long_term_satisfaction"}).reset()[0])
    batch = {Columns.OBS: observation[None]}
    acted = algo.get_module().forward_exploration(batch, t=10)
    assert acted[Columns.ACTIONS].shape == (1,)
    assert Columns.ACTION_LOGP not in acted
    kept = len(algo.local_replay_buffer)
    assert kept > 0
    assert kept_by_a_checkpoint(algo, tmp_path / "stock") == 0
    algo.stop()


def kept_by_a_checkpoint(algo: Any, path: Path) -> int:
    """Rows in the replay of an algorithm that continues from a checkpoint of this one."""
    algo.save_to_path(str(path))
    restored = type(algo).from_checkpoint(str(path))
    buffer = getattr(restored, "replay", None)
    kept = len(restored.local_replay_buffer if buffer is None else buffer)
    restored.stop()
    return kept


def test_ours_keeps_its_replay(tmp_path: Path) -> None:
    config = DQNConfig().environment("modified_long_term_satisfaction")
    config.env_runners(
        num_env_runners=0, num_envs_per_env_runner=8, rollout_fragment_length=4
    ).training(learning="replay", learning_starts=32, hidden=(8,), stagger_steps=4)
    algo = config.build_algo()
    algo.train()
    # 4 fragments of 4 steps of 8 users.
    assert len(algo.replay) == 128
    assert kept_by_a_checkpoint(algo, tmp_path / "ours") == 128
    algo.stop()


def test_it_refuses_worlds_of_many_slates() -> None:
    crowded = {"num_candidates": 20, "slate_size": 3}
    env = flat({"name": "interest_evolution", **crowded})
    assert not hasattr(env.action_space, "n")
    assert isinstance(env.unwrapped, RecSimEnv)
    # What RLlib says of it is about something else.
    with pytest.raises(ValueError, match="RLModule"):
        stock_dqn("interest_evolution", **crowded).build_algo()
