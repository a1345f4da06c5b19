"""RLlib's own DQN on our worlds: `python docs/stock_dqn.py`.

`FlatView` gives it what it knows, one box in and one number out for each
ordered slate. What it cannot do, and `algorithms.train dqn` does:

- state the probability of what it shows, without which its logs are of no use
  to off-policy evaluation: its exploration returns actions alone;
- continue from a checkpoint as if nothing had happened: the replay buffer is
  not in it (`store_buffer_in_checkpoints` is accepted and ignored);
- act on worlds with more slates than it has outputs: from `max_discrete` on
  the flat view's actions are a MultiDiscrete, and building it fails;
- meet another number of candidates than it was trained with.
"""

import ray
from ray.rllib.algorithms.dqn import DQNConfig
from ray.tune.registry import register_env

from envs.views import FlatView, RecSimEnv


def flat(config):
    return FlatView(RecSimEnv(**config))


def stock_dqn(name, **arguments):
    register_env("flat", flat)
    return (
        DQNConfig()
        .environment("flat", env_config={"name": name, **arguments})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .training(num_steps_sampled_before_learning_starts=500)
        .debugging(log_level="ERROR")
    )


if __name__ == "__main__":
    ray.init(address="local", num_cpus=1)
    algo = stock_dqn("modified_long_term_satisfaction").build_algo()
    for _ in range(10):
        result = algo.train()["env_runners"]
        steps = result["num_env_steps_sampled_lifetime"]
        print(f"{steps:,.0f} steps: return {result['episode_return_mean']:.1f}")
    algo.stop()
