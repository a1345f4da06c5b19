"""The `AlgorithmConfig` that every columnar algorithm extends."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydantic import ValidationError
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from algorithms.core.agent import Agent, check_agent
from algorithms.core.collect import Recorder
from algorithms.core.settings import ActingSettings
from algorithms.rllib.module import SlateModule
from algorithms.rllib.runner import ColumnarEnvRunner
from envs.registry import make_simulator
from envs.simulator import Simulator

_RLLIB_TRAINING = set(inspect.signature(AlgorithmConfig.training).parameters) - {"self"}


class ColumnarConfig(AlgorithmConfig):
    """RLlib's config with a columnar runner and the algorithm's own settings as attributes.

    `.environment(name, env_config={...})` takes a world's name and the
    arguments of `envs.make_simulator`; `.env_runners(num_env_runners=,
    num_envs_per_env_runner=, rollout_fragment_length=)` are runners, users
    side by side in each, and steps a fragment; `.training(...)` takes the
    algorithm's settings; `.debugging(seed=)` the seed.
    """

    settings_class: ClassVar[type[ActingSettings]]
    agent_class: ClassVar[type[Agent]]

    def __init__(self, algo_class: type | None = None) -> None:
        """Defaults of the algorithm."""
        super().__init__(algo_class=algo_class)
        for name, value in self.settings_class().model_dump().items():
            setattr(self, name, value)
        self.framework_str = "torch"
        self.env_runner_cls = ColumnarEnvRunner
        self.num_envs_per_env_runner = 256
        self.rollout_fragment_length = 32
        # A lost worker is replaced, and the run goes on without it meanwhile.
        self.restart_failed_env_runners = True
        # RLlib would wait half a minute for it in every iteration.
        self.env_runner_health_probe_timeout_s = 0.5
        self.delay_between_env_runner_restarts_s = 1.0
        # Weights, epsilon and counters travel with each request to sample instead.
        self._dont_auto_sync_env_runner_states = True
        # The runners validate themselves when they first sample.
        self.create_env_on_local_worker = False
        self.seed: int | None = None
        self.run_seed = 0
        # RLlib's bookkeeping costs a few milliseconds an iteration, whatever its length.
        self.fragments_per_iteration = 4
        self.recorder: Callable[[int], Recorder] | None = None

    def training(self, **settings: Any) -> ColumnarConfig:
        """Set the algorithm's settings, and what else RLlib's own `.training()` takes.

        Raises:
            TypeError: a setting that there is not; names the nearest.
        """
        known = self.settings_class.model_fields
        for name, value in settings.items():
            if name in known:
                setattr(self, name, value)
            elif name in _RLLIB_TRAINING:
                super().training(**{name: value})
            else:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(known)}"
                raise TypeError(f"{type(self).__name__} has no setting '{name}'; {hint}")
        return self

    def debugging(self, *, seed: int | None = None, **kwargs: Any) -> ColumnarConfig:
        """As in RLlib, but the seed stays ours.

        RLlib's own seed would switch torch's deterministic algorithms on for
        the whole process and give worker i the seed + i, so that different
        seeds share streams.
        """
        if seed is not None:
            self.run_seed = seed
        super().debugging(**kwargs)
        return self

    def recording(self, recorder: Callable[[int], Recorder]) -> ColumnarConfig:
        """Hand every fragment to a recorder, made on each runner from its index."""
        self.recorder = recorder
        return self

    def settings(self) -> Any:
        """The algorithm's settings, checked.

        Raises:
            ValueError: a value that makes no sense, in one sentence.
        """
        values = {name: getattr(self, name) for name in self.settings_class.model_fields}
        try:
            return self.settings_class(**values)
        except ValidationError as error:
            raise ValueError(one_sentence(error)) from None

    def validate(self) -> None:
        """Check everything before anything starts, the agent in its world too.

        Raises:
            ValueError: says what is wrong.
        """
        if self.seed is not None:
            self.run_seed, self.seed = self.seed, None
        super().validate()
        settings = self.settings()
        if self.env is not None:
            check_agent(self.agent_class, self.make_simulator(1, 0), settings.model_dump())

    def make_simulator(self, num_users: int, seed: int, noise: str = "stream") -> Simulator:
        """The world that this config names, for `num_users` users."""
        arguments: Mapping[str, Any] = self.env_config or {}
        arguments = {"noise": noise, **arguments}
        return make_simulator(str(self.env), num_users, seed=seed, **arguments)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """The module: the agent, built from plain data."""
        world = self.make_simulator(1, 0)
        return RLModuleSpec(
            module_class=SlateModule,
            model_config={
                "agent": f"{self.agent_class.__module__}:{self.agent_class.__qualname__}",
                "spec": world.spec.to_json(),
                "history": world.history.to_json(),
                "slate_size": world.slate_size,
                "settings": self.settings().model_dump(),
                "seed": self.run_seed,
            },
        )

    def get_default_learner_class(self) -> type:
        """The learner with its own loop over minibatches."""
        from algorithms.rllib.learner import ColumnarLearner

        return ColumnarLearner


def one_sentence(error: ValidationError) -> str:
    """The first fault of a validation in one sentence."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if not where:
        return message
    return f"{where} is {fault['input']!r}: {message}"
