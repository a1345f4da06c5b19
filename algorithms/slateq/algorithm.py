"""SlateQ on RLlib's new API stack."""

from __future__ import annotations

from typing import Any

from ray.rllib.core import DEFAULT_MODULE_ID

from algorithms.core.fragment import Sample
from algorithms.core.replay import Replay
from algorithms.rllib.algorithm import ColumnarAlgorithm, concatenate
from algorithms.rllib.config import ColumnarConfig
from algorithms.slateq.agent import SlateQAgent
from algorithms.slateq.settings import SlateQSettings


class SlateQConfig(ColumnarConfig):
    """Config of SlateQ; `.training()` takes the fields of `SlateQSettings`.

    .. code-block:: python

        algo = (
            SlateQConfig()
            .environment("interest_evolution", env_config={"slate_size": 3})
            .env_runners(num_env_runners=2)
            .training(lr=2e-3, schedule_steps=1_000_000)
            .build_algo()
        )
    """

    settings_class = SlateQSettings
    agent_class = SlateQAgent

    def __init__(self, algo_class: type | None = None) -> None:
        """Defaults of `SlateQSettings`."""
        super().__init__(algo_class=algo_class or SlateQ)


class SlateQ(ColumnarAlgorithm):
    """Learns from fresh fragments, or from a replay buffer as in the paper."""

    @classmethod
    def get_default_config(cls) -> SlateQConfig:
        """A fresh `SlateQConfig`."""
        return SlateQConfig()

    def setup(self, config: SlateQConfig) -> None:
        """Add the replay buffer where the settings ask for one."""
        self.replay: Replay | None = None
        super().setup(config)
        self.options: SlateQSettings = self.config.settings()
        if self.options.learning == "replay":
            self.replay = Replay(self.options.replay_capacity, self.config.run_seed)

    def learn(self, samples: list[Sample], before: int, report: bool) -> None:
        """From the samples themselves, or from rows drawn from the buffer."""
        if self.replay is None:
            super().learn(samples, before, report)
            return
        options, steps = self.options, sum(sample.steps for sample in samples)
        self.replay.add(concatenate([sample.columns for sample in samples]))
        if self.env_steps < options.learning_starts:
            return
        size = options.minibatch_size
        count = max(1, round(steps * options.replay_ratio / size)) * size
        self.update(self.replay.sample(count), before, steps, report)
        interval = options.target_update_steps
        if before // interval != self.env_steps // interval:
            self.learner_group.foreach_learner(
                lambda learner: learner.sync_target(DEFAULT_MODULE_ID)
            )

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """With the replay buffer, which RLlib's own new-stack checkpoints leave out."""
        state = super().get_state(*args, **kwargs)
        if self.replay is not None:
            state["replay"] = self.replay.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`."""
        super().set_state(state)
        if self.replay is not None and "replay" in state:
            self.replay.set_state(state["replay"])
