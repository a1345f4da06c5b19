"""DQN from a log, of single items."""

from offline.dqn.agent import OfflineDQNAgent, OfflineDQNSettings
from offline.learning.registry import LearnerEntry

LEARNERS = (LearnerEntry("dqn", OfflineDQNAgent, "conservative deep Q-learning of single items"),)

__all__ = ["LEARNERS", "OfflineDQNAgent", "OfflineDQNSettings"]
