"""The training step of algorithms that may learn from a replay buffer."""

from __future__ import annotations

from typing import Any

from ray.rllib.core import DEFAULT_MODULE_ID

from algorithms.core.fragment import Sample
from algorithms.core.replay import Replay
from algorithms.core.value_settings import ValueSettings
from algorithms.rllib.algorithm import ColumnarAlgorithm, concatenate
from algorithms.rllib.config import ColumnarConfig


class ReplayingAlgorithm(ColumnarAlgorithm):
    """Learns from fresh fragments, or from rows drawn from a replay buffer.

    Attributes:
        replay: the buffer; `None` where learning is from fresh fragments.
    """

    def setup(self, config: ColumnarConfig) -> None:
        """Add the replay buffer where the settings ask for one."""
        self.replay: Replay | None = None
        super().setup(config)
        self.options: ValueSettings = self.config.settings()
        if self.options.learning == "replay":
            self.replay = self.make_replay()

    def make_replay(self) -> Replay:
        """An empty buffer."""
        return Replay(self.options.replay_capacity, self.config.run_seed)

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
        self.learn_from(self.replay, count, before, steps, report)
        interval = options.target_update_steps
        if before // interval != self.env_steps // interval:
            self.learner_group.foreach_learner(
                lambda learner: learner.sync_target(DEFAULT_MODULE_ID)
            )

    def learn_from(self, replay: Replay, count: int, before: int, steps: int, report: bool) -> None:
        """Draw so many rows and hand them to the learner; the others as in `update`."""
        self.update(replay.sample(count), before, steps, report)

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
