"""DQN on RLlib's new API stack."""

from __future__ import annotations

from ray.rllib.core import DEFAULT_MODULE_ID

from algorithms.core.replay import PrioritisedReplay, Replay
from algorithms.dqn.agent import DQNAgent
from algorithms.dqn.settings import DQNSettings
from algorithms.rllib.config import ColumnarConfig
from algorithms.rllib.replaying import ReplayingAlgorithm


class DQNConfig(ColumnarConfig):
    """Config of DQN; `.training()` takes the fields of `DQNSettings`.

    .. code-block:: python

        algo = (
            DQNConfig()
            .environment("modified_long_term_satisfaction")
            .env_runners(num_env_runners=2)
            .training(learning="replay", prioritised=True, n_step=3)
            .build_algo()
        )
    """

    settings_class = DQNSettings
    agent_class = DQNAgent

    def __init__(self, algo_class: type | None = None) -> None:
        """Defaults of `DQNSettings`."""
        super().__init__(algo_class=algo_class or DQN)


class DQN(ReplayingAlgorithm):
    """Learns from fresh fragments, or from a replay buffer that may be prioritised."""

    @classmethod
    def get_default_config(cls) -> DQNConfig:
        """A fresh `DQNConfig`."""
        return DQNConfig()

    def make_replay(self) -> Replay:
        """Prioritised if asked for."""
        options: DQNSettings = self.config.settings()
        if not options.prioritised:
            return super().make_replay()
        return PrioritisedReplay(
            options.replay_capacity, self.config.run_seed, alpha=options.priority_alpha
        )

    def learn_from(self, replay: Replay, count: int, before: int, steps: int, report: bool) -> None:
        """Draw by priority, learn, and let the errors be the new priorities."""
        if not isinstance(replay, PrioritisedReplay):
            super().learn_from(replay, count, before, steps, report)
            return
        options: DQNSettings = self.config.settings()
        rows = replay.sample_weighted(count, options.priority_beta_at(before))
        self.update(rows, before, steps, report)
        answers = self.learner_group.foreach_learner(
            lambda learner: learner.take_row_errors(DEFAULT_MODULE_ID)
        )
        for answer in answers:
            replay.prioritise(*answer.get())
