"""An RLlib EnvRunner that steps a batched simulator and returns columns."""

from __future__ import annotations

import copy
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import ray
import torch
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable

from algorithms.core.agent import Exploration
from algorithms.core.collect import Collector
from algorithms.core.fragment import Failure, Fragment, Sample, SessionStatistics
from algorithms.core.revalue import revalued
from envs.views import action_space, observation_space

if TYPE_CHECKING:
    from algorithms.rllib.config import ColumnarConfig

_COLLECTOR = "collector"
_AHEAD = "ahead"


@dataclass
class _Played:
    fragment: Fragment
    statistics: SessionStatistics
    cpu: dict[str, float]


@dataclass
class _Ahead:
    """A fragment played before its rows are asked for, and what it takes to play it again.

    Checkpoints hold the latter, which is far smaller.
    """

    collector: dict[str, Any]
    weights: dict[str, Any] | None
    policy_version: int
    env_steps: int
    played: _Played | None = None

    def to_state(self) -> dict[str, Any]:
        """All but the collector's state and what was played."""
        return {
            "weights": self.weights,
            "policy_version": self.policy_version,
            "env_steps": self.env_steps,
        }


class ColumnarEnvRunner(EnvRunner, Checkpointable):
    """Plays fragments and returns `Sample`s: rows that the learner can use as they are."""

    def __init__(self, *, config: ColumnarConfig, **kwargs: Any) -> None:
        """Build the module; the simulator follows with the first sample."""
        super().__init__(config=config, **kwargs)
        Checkpointable.__init__(self)
        if self.worker_index:
            # One process, one thread: workers share the machine's cores.
            torch.set_num_threads(1)
        self.module: Any = None
        self._collector: Collector | None = None
        self._saved: dict[str, Any] | None = None
        self._spaces: dict[str, Any] | None = None
        self._weights: dict[str, Any] | None = None
        self._ahead: _Ahead | None = None
        recorder = self.config.recorder
        self._recorder = recorder(self.worker_index or 0) if recorder else None
        self.make_module()

    def make_env(self) -> None:
        """Make the simulator and a collector around it."""
        luck, own = self._seeds()
        simulator = self.config.make_simulator(self.config.num_envs_per_env_runner, luck)
        self.env = simulator
        self._collector = Collector(simulator, self.module.agent, own)

    def _seeds(self) -> tuple[int, int]:
        """Seeds of the simulator's luck and of the policy's draws.

        Spawned from the run's seed by worker, so no two workers and no two
        runs share a stream. A restarted actor must not replay what it has
        played, so its streams are salted.
        """
        salt: tuple[int, ...] = ()
        if ray.is_initialized() and self.worker_index:
            context = ray.get_runtime_context()
            if context.was_current_actor_reconstructed:
                salt = (int.from_bytes(os.urandom(4), "little"),)
        sequence = np.random.SeedSequence(
            self.config.run_seed, spawn_key=(1, self.worker_index or 0, *salt)
        )
        luck, own = sequence.generate_state(2, np.uint64) >> np.uint64(2)
        return int(luck), int(own)

    def make_module(self) -> None:
        """Build the module that acts, without what only the learner needs."""
        spec = self.config.get_rl_module_spec(spaces=self.get_spaces(), inference_only=True)
        self.module = spec.build()

    def sample(
        self,
        *,
        weights: dict[str, Any] | None = None,
        policy_version: int = 0,
        env_steps: int = 0,
        **kwargs: Any,
    ) -> list[Sample] | Failure:
        """Rows of one fragment: of the one that was played ahead, or else of a new one.

        Args:
            weights: state of the module to act and to value with; the present ones if not given.
            policy_version: number of updates behind them.
            env_steps: user-steps of all runners so far, which exploration depends on.
            **kwargs: RLlib's, without effect.

        Returns:
            One sample; a `Failure` where a remote runner could not play.
        """
        if not self.worker_index:
            return [self._sample(weights, policy_version, env_steps)]
        try:
            return [self._sample(weights, policy_version, env_steps).to_numpy()]
        except Exception as error:
            return Failure.of(error)

    def play_ahead(self, *, policy_version: int = 0, env_steps: int = 0) -> None:
        """Play the fragment that the next `sample` returns, while the learner learns.

        Args:
            policy_version: number of updates behind the present weights.
            env_steps: as in `sample`.
        """
        if self._ahead is not None:
            return
        before = copy.deepcopy(self._ready().get_state())
        self._ahead = _Ahead(before, self._weights, policy_version, env_steps)
        try:
            self._ahead.played = self._play(policy_version, env_steps)
        except Exception:
            # Played again, and raised, by the sample that asks for it.
            self._ready().set_state(before)

    def _sample(
        self, weights: dict[str, Any] | None, policy_version: int, env_steps: int
    ) -> Sample:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            self._set_weights(weights)
            played = self._play(policy_version, env_steps)
        else:
            played = ahead.played or self._play_again(ahead)
            self._set_weights(weights)
            clock = time.thread_time()
            played.fragment = revalued(self.module.agent, played.fragment)
            played.cpu["inference"] += time.thread_time() - clock
        fragment = played.fragment
        if self._recorder is not None:
            self._recorder(fragment)
        steps = fragment.num_steps * fragment.num_users
        self.num_env_steps_sampled_lifetime += steps
        rows = self.module.agent.learn_columns(fragment)
        return Sample(rows, steps, played.statistics, played.cpu)

    def _ready(self) -> Collector:
        """The collector, made when it is first needed."""
        if self._collector is None:
            self.make_env()
            assert self._collector is not None
            if self._saved is not None:
                self._collector.set_state(self._saved)
                self._saved = None
        return self._collector

    def _play(self, policy_version: int, env_steps: int) -> _Played:
        collector, settings = self._ready(), self.config.settings()
        spent = dict(collector.cpu)
        fragment, statistics = collector.collect(
            self.config.rollout_fragment_length,
            Exploration(settings.epsilon_at(env_steps), settings.temperature),
            stagger=settings.stagger_steps,
            policy_version=policy_version,
        )
        cpu = {what: seconds - spent[what] for what, seconds in collector.cpu.items()}
        return _Played(fragment, statistics, cpu)

    def _play_again(self, ahead: _Ahead) -> _Played:
        """The same fragment as before the checkpoint that the runner continues from."""
        self._set_weights(ahead.weights)
        return self._play(ahead.policy_version, ahead.env_steps)

    def get_metrics(self) -> Any:
        """Nothing of its own: statistics travel with the samples."""
        return self.metrics.reduce()

    def get_spaces(self) -> dict[str, tuple[gymnasium.Space[Any], gymnasium.Space[Any]]]:
        """Spaces of the world seen as a single environment."""
        if self._spaces is None:
            world = self.config.make_simulator(1, 0)
            spaces = (observation_space(world), action_space(world))
            self._spaces = {INPUT_ENV_SPACES: spaces, DEFAULT_MODULE_ID: spaces}
        return self._spaces

    def assert_healthy(self) -> None:
        """Raise if construction did not finish."""
        assert self.module is not None

    def stop(self) -> None:
        """Nothing to release."""

    def _set_weights(self, weights: Any) -> None:
        if weights is None:
            return
        if isinstance(weights, ray.ObjectRef):
            weights = ray.get(weights)
        self._weights = weights.get(DEFAULT_MODULE_ID, weights)
        self.module.set_state(self._weights)

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The module's weights, the sessions being played and how a fragment ahead came about."""
        state: dict[str, Any] = {"env_steps": self.num_env_steps_sampled_lifetime}
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            state[COMPONENT_RL_MODULE] = self.module.get_state(**kwargs)
        if self._check_component(_COLLECTOR, components, not_components):
            collector = self._collector
            state[_COLLECTOR] = self._saved if collector is None else collector.get_state()
            state[_AHEAD] = None
            if self._ahead is not None:
                state[_COLLECTOR] = self._ahead.collector
                state[_AHEAD] = self._ahead.to_state()
        return state

    def set_state(self, state: Any) -> None:
        """Continue from `get_state`; sets what the state holds and leaves the rest."""
        if isinstance(state, ray.ObjectRef):
            state = ray.get(state)
        if COMPONENT_RL_MODULE in state:
            self._set_weights(state[COMPONENT_RL_MODULE])
        if state.get(_COLLECTOR) is not None:
            if self._collector is None:
                self._saved = state[_COLLECTOR]
            else:
                self._collector.set_state(state[_COLLECTOR])
            ahead = state.get(_AHEAD)
            self._ahead = None if ahead is None else _Ahead(state[_COLLECTOR], **ahead)
        if "env_steps" in state:
            self.num_env_steps_sampled_lifetime = state["env_steps"]

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What builds an equal runner."""
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """The module, which is saved beside the runner's own state."""
        return [(COMPONENT_RL_MODULE, self.module)]
