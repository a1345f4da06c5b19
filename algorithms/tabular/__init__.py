"""Tabular Q-learning, SARSA and expected SARSA, for users or states that can be counted."""

from typing import Any

from algorithms.registry import AlgorithmEntry
from algorithms.tabular.agent import ExpectedSarsaAgent, QLearningAgent, SarsaAgent, TabularAgent
from algorithms.tabular.settings import Discretised, TabularSettings

_SUMMARIES: dict[type[TabularAgent], str] = {
    QLearningAgent: "a table of values; bootstraps from the best next item",
    SarsaAgent: "a table of values; bootstraps from the next item that is shown",
    ExpectedSarsaAgent: "a table of values; bootstraps from what is shown next on average",
}

ALGORITHMS = tuple(
    AlgorithmEntry(
        name=agent.name,
        settings=TabularSettings,
        agent=agent,
        config=f"algorithms.tabular.algorithm:{agent.__name__.removesuffix('Agent')}Config",
        summary=summary,
    )
    for agent, summary in _SUMMARIES.items()
)
_RLLIB = ("ExpectedSarsaConfig", "QLearningConfig", "SarsaConfig", "Tabular")

__all__ = [
    "ALGORITHMS",
    "Discretised",
    "ExpectedSarsaAgent",
    "ExpectedSarsaConfig",
    "QLearningAgent",
    "QLearningConfig",
    "SarsaAgent",
    "SarsaConfig",
    "Tabular",
    "TabularAgent",
    "TabularSettings",
]


def __getattr__(name: str) -> Any:
    """Import Ray only for those who ask for the RLlib classes."""
    if name in _RLLIB:
        from algorithms.tabular import algorithm

        return getattr(algorithm, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
