"""DQN: Q-learning of single items, or of whole slates as actions."""

from typing import Any

from algorithms.dqn.agent import DQNAgent
from algorithms.dqn.settings import DQNSettings
from algorithms.registry import AlgorithmEntry

ALGORITHMS = (
    AlgorithmEntry(
        name="dqn",
        settings=DQNSettings,
        agent=DQNAgent,
        config="algorithms.dqn.algorithm:DQNConfig",
        summary="deep Q-learning of single items, or of whole slates as actions",
    ),
)

__all__ = ["ALGORITHMS", "DQN", "DQNAgent", "DQNConfig", "DQNSettings"]


def __getattr__(name: str) -> Any:
    """Import Ray only for those who ask for the RLlib classes."""
    if name in ("DQN", "DQNConfig"):
        from algorithms.dqn import algorithm

        return getattr(algorithm, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
