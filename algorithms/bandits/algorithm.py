"""The bandits on RLlib's new API stack."""

from __future__ import annotations

from algorithms.bandits import arms, linear, neural, settings
from algorithms.rllib.algorithm import ColumnarAlgorithm
from algorithms.rllib.config import ColumnarConfig


class Bandit(ColumnarAlgorithm):
    """Learns in closed form from every fragment."""

    @classmethod
    def get_default_config(cls) -> BanditConfig:
        """What all bandits' configs extend: RLlib turns any other class into this one."""
        return BanditConfig()


class BanditConfig(ColumnarConfig):
    """Config of a bandit; `.training()` takes the fields of its settings."""

    settings_class = settings.BanditSettings

    def __init__(self, algo_class: type | None = None) -> None:
        """Defaults of the settings."""
        super().__init__(algo_class=algo_class or Bandit)


class EpsilonGreedyConfig(BanditConfig):
    """Config of epsilon-greedy."""

    settings_class = settings.EpsilonGreedySettings
    agent_class = arms.EpsilonGreedy


class UCB1Config(BanditConfig):
    """Config of UCB1."""

    settings_class = settings.UCBSettings
    agent_class = arms.UCB1


class DiscountedUCBConfig(BanditConfig):
    """Config of discounted UCB."""

    settings_class = settings.DiscountedUCBSettings
    agent_class = arms.DiscountedUCB


class SlidingWindowUCBConfig(BanditConfig):
    """Config of sliding-window UCB."""

    settings_class = settings.SlidingWindowUCBSettings
    agent_class = arms.SlidingWindowUCB


class ThompsonBetaConfig(BanditConfig):
    """Config of Thompson sampling with Beta posteriors."""

    settings_class = settings.ThompsonBetaSettings
    agent_class = arms.ThompsonBeta


class ThompsonGaussianConfig(BanditConfig):
    """Config of Thompson sampling with normal posteriors."""

    settings_class = settings.ThompsonGaussianSettings
    agent_class = arms.ThompsonGaussian


class LinUCBConfig(BanditConfig):
    """Config of LinUCB."""

    settings_class = settings.LinUCBSettings
    agent_class = linear.LinUCB


class LinTSConfig(BanditConfig):
    """Config of linear Thompson sampling."""

    settings_class = settings.LinTSSettings
    agent_class = linear.LinTS


class SquareCBConfig(BanditConfig):
    """Config of inverse-gap weighting."""

    settings_class = settings.SquareCBSettings
    agent_class = linear.SquareCB


class NeuralLinearConfig(BanditConfig):
    """Config of NeuralLinear."""

    settings_class = settings.NeuralLinearSettings
    agent_class = neural.NeuralLinear
