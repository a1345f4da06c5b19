"""Policy gradients: REINFORCE, A2C and PPO."""

from typing import Any

from algorithms.policy_gradient.agent import A2CAgent, PPOAgent, ReinforceAgent
from algorithms.policy_gradient.settings import A2CSettings, PPOSettings, ReinforceSettings
from algorithms.registry import AlgorithmEntry

ALGORITHMS = (
    AlgorithmEntry(
        name="reinforce",
        settings=ReinforceSettings,
        agent=ReinforceAgent,
        config="algorithms.policy_gradient.algorithm:ReinforceConfig",
        summary="policy gradient from the returns of complete sessions",
    ),
    AlgorithmEntry(
        name="a2c",
        settings=A2CSettings,
        agent=A2CAgent,
        config="algorithms.policy_gradient.algorithm:A2CConfig",
        summary="policy gradient from n-step advantages, one gradient step a batch",
    ),
    AlgorithmEntry(
        name="ppo",
        settings=PPOSettings,
        agent=PPOAgent,
        config="algorithms.policy_gradient.algorithm:PPOConfig",
        summary="policy gradient with clipped ratios, several passes over each batch",
    ),
)

_RLLIB = ("A2C", "PPO", "A2CConfig", "PPOConfig", "Reinforce", "ReinforceConfig")

__all__ = [
    "ALGORITHMS",
    "A2CAgent",
    "A2CSettings",
    "PPOAgent",
    "PPOSettings",
    "ReinforceAgent",
    "ReinforceSettings",
    *_RLLIB,
]


def __getattr__(name: str) -> Any:
    """Import Ray only for those who ask for the RLlib classes."""
    if name in _RLLIB:
        from algorithms.policy_gradient import algorithm

        return getattr(algorithm, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
