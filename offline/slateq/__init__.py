"""SlateQ from a log."""

from offline.learning.registry import LearnerEntry
from offline.slateq.agent import OfflineSlateQAgent, OfflineSlateQSettings

LEARNERS = (
    LearnerEntry(
        "slateq",
        OfflineSlateQAgent,
        "conservative Q-learning over slates, decomposed into the items' values",
    ),
)

__all__ = ["LEARNERS", "OfflineSlateQAgent", "OfflineSlateQSettings"]
