"""Contextual bandits: what an item gives now, and how sure of it one is."""

import importlib
from typing import Any

from algorithms.bandits.agent import BanditAgent
from algorithms.bandits.arms import (
    UCB1,
    DiscountedUCB,
    EpsilonGreedy,
    SlidingWindowUCB,
    ThompsonBeta,
    ThompsonGaussian,
)
from algorithms.bandits.linear import LinTS, LinUCB, SquareCB
from algorithms.bandits.neural import NeuralLinear
from algorithms.registry import AlgorithmEntry

_SUMMARIES: dict[type[BanditAgent], str] = {
    EpsilonGreedy: "the arm with the best mean so far; explores at random, on a schedule",
    UCB1: "the arm with the highest upper confidence bound",
    DiscountedUCB: "UCB for worlds that change: older rounds count less",
    SlidingWindowUCB: "UCB for worlds that change: only the latest rounds count",
    ThompsonBeta: "Thompson sampling of arms, clicks or feedback in [0, 1]",
    ThompsonGaussian: "Thompson sampling of arms, any feedback",
    LinUCB: "upper confidence bounds of a linear model of the context",
    LinTS: "Thompson sampling with a linear model of the context",
    SquareCB: "inverse-gap weighting of a linear model's estimates",
    NeuralLinear: "a linear bandit on a learned representation, with embeddings of ids",
}

ALGORITHMS = tuple(
    AlgorithmEntry(
        name=agent.name,
        settings=agent.settings_class,
        agent=agent,
        config=f"algorithms.bandits.algorithm:{agent.__name__}Config",
        summary=summary,
    )
    for agent, summary in _SUMMARIES.items()
)

_RLLIB = ("Bandit", *(f"{agent.__name__}Config" for agent in _SUMMARIES))

__all__ = ["ALGORITHMS", *(agent.__name__ for agent in _SUMMARIES), *_RLLIB]


def __getattr__(name: str) -> Any:
    """Import Ray only for those who ask for the RLlib classes."""
    if name in _RLLIB:
        return getattr(importlib.import_module("algorithms.bandits.algorithm"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
