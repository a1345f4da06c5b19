"""User-steps per CPU-second, sampling and learning: SlateQ against RLlib's stock DQN.

Both train in one process with one Ray, in turns, one torch thread, and all
processes' CPU is counted. DQN plays the same batched simulator through a flat
view: one box in, one number for each ordered slate out. It gets the simulator
64 users at a time, which spares it Gymnasium's loop over 64 environments.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from algorithms.accounting import cpu_seconds
from algorithms.cluster import quiet, ray_running
from algorithms.config import load_config
from benchmarks.core import Benchmark, Numbers, Row, at_least
from envs.views import FlatView, RecSimEnv, RecSimVectorEnv

ENVIRONMENTS = 64


class FlatVector(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """`RecSimVectorEnv` with a box for observations and a number for each ordered slate."""

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "autoreset_mode": AutoresetMode.NEXT_STEP
    }

    def __init__(self, name: str, num_envs: int) -> None:
        """A view of `num_envs` users."""
        self.env = RecSimVectorEnv(name, num_envs, noise="stream")
        self.num_envs = num_envs
        single = FlatView(RecSimEnv(name))
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = batch_space(single.observation_space, num_envs)
        self.action_space = batch_space(single.action_space, num_envs)
        assert isinstance(single.action_space, spaces.Discrete)
        self._slates = np.stack([single.slate(i) for i in range(int(single.action_space.n))])

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Start sessions in all rows."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._flat(observation), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Show the slates that the actions stand for."""
        observation, *rest = self.env.step(self._slates[actions])
        # Without the infos, which RLlib would take apart for every environment.
        return self._flat(observation), *rest[:3], {}

    def _flat(self, observation: dict[str, Any]) -> Any:
        parts = [observation[name].reshape(self.num_envs, -1) for name in FlatView.parts]
        return np.concatenate(parts, axis=1)


def _environment(config: Any) -> Any:
    if "num_envs" in config:
        return FlatVector("interest_evolution", config["num_envs"])
    return FlatView(RecSimEnv("interest_evolution"))


def stock_dqn(batched: bool) -> Any:
    """RLlib's DQN with its defaults; `batched` environments, or 64 single ones."""
    from ray.rllib.algorithms.dqn import DQNConfig
    from ray.tune.registry import register_env

    register_env("flat_interest_evolution", _environment)
    config = (
        DQNConfig()
        .environment("flat_interest_evolution")
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=ENVIRONMENTS,
            gym_env_vectorize_mode="vector_entry_point" if batched else "sync",
        )
        .debugging(log_level="ERROR")
    )
    return config.build_algo()


def slateq() -> Any:
    """What `make train` trains."""
    from algorithms.training import build

    return build(load_config("slateq"))


def stock_steps(algo: Any) -> int:
    """User-steps that DQN has sampled."""
    return int(algo.metrics.peek(("env_runners", "num_env_steps_sampled_lifetime"), default=0))


def speed(train: Callable[[], Any], steps: Callable[[], int], seconds: float) -> float:
    """User-steps per CPU-second of the process tree over about `seconds`."""
    began, spent, before = cpu_seconds(), 0.0, steps()
    while spent < seconds:
        train()
        spent = cpu_seconds() - began
    return (steps() - before) / spent


def measure(quick: bool) -> Numbers:
    """In turns, after a warm-up; the medians count."""
    quiet()
    torch.set_num_threads(1)
    seconds, rounds = (0.5, 1) if quick else (5.0, 3)
    with ray_running(1):
        ours, stock, single = slateq(), stock_dqn(True), stock_dqn(False)
        players = {
            "slateq": (ours.train, lambda: ours.env_steps),
            "dqn": (stock.train, lambda: stock_steps(stock)),
            "dqn_single": (single.train, lambda: stock_steps(single)),
        }
        for train, steps in players.values():
            while steps() < 4_000:
                train()
            speed(train, steps, seconds)
        found: dict[str, list[float]] = {name: [] for name in players}
        for _, name in itertools.product(range(rounds), players):
            found[name].append(speed(*players[name], seconds))
        settings = {
            "train_batch_size": stock.config.total_train_batch_size,
            "sampled_between_updates": ENVIRONMENTS * stock.config.get_rollout_fragment_length(),
            "replay_buffer": stock.config.replay_buffer_config["type"],
        }
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {
        **{name: round(value) for name, value in medians.items()},
        "ratio": round(medians["slateq"] / medians["dqn"], 1),
        "ratio_single": round(medians["slateq"] / medians["dqn_single"], 1),
        "dqn_settings": settings,
    }


def in_words(numbers: Numbers) -> str:
    """The ratio, what it is made of, and how hard the stock DQN learns."""
    settings = numbers["dqn_settings"]
    return (
        f"{numbers['ratio']:.0f} times ({numbers['slateq']:,} against {numbers['dqn']:,}; DQN by "
        f"its defaults: {settings['train_batch_size']} rows from a "
        f"{settings['replay_buffer']} for every {settings['sampled_between_updates']} steps, "
        f"where SlateQ learns from each step once; DQN given our batched simulator, with 64 "
        f"single environments {numbers['dqn_single']:,})"
    )


BENCHMARKS = (
    Benchmark(
        "throughput",
        "user-steps per CPU-second against RLlib's stock DQN",
        measure,
        (
            Row(
                "user-steps per CPU-second, sampling and learning, against RLlib's stock DQN with "
                "64 environments on the same world, one run",
                in_words,
                at_least("10 times", "ratio", 10),
                at_least("20 times", "ratio", 20),
            ),
        ),
    ),
)
