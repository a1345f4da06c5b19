"""RLlib's own DQN on our worlds, and that it cannot do what the example says it cannot."""

from __future__ import annotations

import math

import pytest
import torch
from ray.rllib.core.columns import Columns

from docs.stock_dqn import flat, stock_dqn
from envs.views import RecSimEnv

pytestmark = pytest.mark.usefixtures("cluster")


def test_the_example_trains_and_lacks_what_it_says() -> None:
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
    assert len(algo.local_replay_buffer) > 0
    assert not [name for name in algo.get_state() if "replay" in name or "buffer" in name]
    algo.stop()


def test_it_refuses_worlds_of_many_slates() -> None:
    crowded = {"num_candidates": 20, "slate_size": 3}
    env = flat({"name": "interest_evolution", **crowded})
    assert not hasattr(env.action_space, "n")
    assert isinstance(env.unwrapped, RecSimEnv)
    # What RLlib says of it is about something else.
    with pytest.raises(ValueError, match="RLModule"):
        stock_dqn("interest_evolution", **crowded).build_algo()
