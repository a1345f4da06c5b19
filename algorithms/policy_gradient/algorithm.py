"""REINFORCE, A2C and PPO on RLlib's new API stack.

RLlib's own PPO is not used: it knows neither slates nor candidates, always
standardises advantages, clamps the value's error and shuffles from the global
generator. The columnar learner does what is needed in fewer CPU-seconds.
"""

from __future__ import annotations

from algorithms.core.fragment import Sample
from algorithms.policy_gradient.agent import A2CAgent, PPOAgent, ReinforceAgent
from algorithms.policy_gradient.settings import A2CSettings, PPOSettings, ReinforceSettings
from algorithms.rllib.algorithm import ColumnarAlgorithm
from algorithms.rllib.config import ColumnarConfig


class ReinforceConfig(ColumnarConfig):
    """Config of REINFORCE; `.training()` takes the fields of `ReinforceSettings`."""

    settings_class = ReinforceSettings
    agent_class = ReinforceAgent

    def __init__(self, algo_class: type | None = None) -> None:
        """Defaults of `ReinforceSettings`."""
        super().__init__(algo_class=algo_class or Reinforce)


class Reinforce(ColumnarAlgorithm):
    """Learns from complete sessions."""

    on_policy = True

    @classmethod
    def get_default_config(cls) -> ReinforceConfig:
        """A fresh `ReinforceConfig`."""
        return ReinforceConfig()

    def learn(self, samples: list[Sample], before: int, report: bool) -> None:
        """From the samples, unless no session has ended in any of them."""
        held = [sample for sample in samples if len(sample.columns["return"])]
        if held:
            super().learn(held, before, report)
        elif report:
            self._collect_report()


class A2CConfig(ColumnarConfig):
    """Config of A2C; `.training()` takes the fields of `A2CSettings`."""

    settings_class = A2CSettings
    agent_class = A2CAgent

    def __init__(self, algo_class: type | None = None) -> None:
        """Defaults of `A2CSettings`."""
        super().__init__(algo_class=algo_class or A2C)


class A2C(ColumnarAlgorithm):
    """Learns from each batch in one gradient step."""

    on_policy = True

    @classmethod
    def get_default_config(cls) -> A2CConfig:
        """A fresh `A2CConfig`."""
        return A2CConfig()


class PPOConfig(ColumnarConfig):
    """Config of PPO; `.training()` takes the fields of `PPOSettings`."""

    settings_class = PPOSettings
    agent_class = PPOAgent

    def __init__(self, algo_class: type | None = None) -> None:
        """Defaults of `PPOSettings`."""
        super().__init__(algo_class=algo_class or PPO)


class PPO(ColumnarAlgorithm):
    """Learns from each batch in several passes over minibatches."""

    @classmethod
    def get_default_config(cls) -> PPOConfig:
        """A fresh `PPOConfig`."""
        return PPOConfig()
