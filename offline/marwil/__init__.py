"""Monotonic advantage re-weighted imitation learning."""

from offline.learning.registry import LearnerEntry
from offline.marwil.agent import MARWILAgent, MARWILSettings

LEARNERS = (
    LearnerEntry(
        "marwil",
        MARWILAgent,
        "imitates what turned out better than expected, by how much better it was",
    ),
)

__all__ = ["LEARNERS", "MARWILAgent", "MARWILSettings"]
