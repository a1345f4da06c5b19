"""SlateQ: Q-learning over slates by decomposing their value into the items'."""

from typing import Any

from algorithms.registry import AlgorithmEntry
from algorithms.slateq.agent import SlateQAgent
from algorithms.slateq.settings import SlateQSettings

ALGORITHMS = (
    AlgorithmEntry(
        name="slateq",
        settings=SlateQSettings,
        agent=SlateQAgent,
        config="algorithms.slateq.algorithm:SlateQConfig",
        summary="Q-learning over slates, decomposed into the items' long-term values",
    ),
)

__all__ = ["ALGORITHMS", "SlateQ", "SlateQAgent", "SlateQConfig", "SlateQSettings"]


def __getattr__(name: str) -> Any:
    """Import Ray only for those who ask for the RLlib classes."""
    if name in ("SlateQ", "SlateQConfig"):
        from algorithms.slateq import algorithm

        return getattr(algorithm, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
