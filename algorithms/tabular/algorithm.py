"""The tabular learners on RLlib's new API stack."""

from __future__ import annotations

from algorithms.rllib.algorithm import ColumnarAlgorithm
from algorithms.rllib.config import ColumnarConfig
from algorithms.tabular.agent import ExpectedSarsaAgent, QLearningAgent, SarsaAgent
from algorithms.tabular.settings import TabularSettings


class Tabular(ColumnarAlgorithm):
    """Learns by tables from every fragment.

    Remote workers act one update behind, SARSA's too.
    """

    @classmethod
    def get_default_config(cls) -> TabularConfig:
        """What all tabular configs extend: RLlib turns any other class into this one."""
        return TabularConfig()


class TabularConfig(ColumnarConfig):
    """Config of a tabular learner; `.training()` takes the fields of `TabularSettings`."""

    settings_class = TabularSettings

    def __init__(self, algo_class: type | None = None) -> None:
        """Defaults of `TabularSettings`."""
        super().__init__(algo_class=algo_class or Tabular)


class QLearningConfig(TabularConfig):
    """Config of Q-learning."""

    agent_class = QLearningAgent


class SarsaConfig(TabularConfig):
    """Config of SARSA."""

    agent_class = SarsaAgent


class ExpectedSarsaConfig(TabularConfig):
    """Config of expected SARSA."""

    agent_class = ExpectedSarsaAgent
