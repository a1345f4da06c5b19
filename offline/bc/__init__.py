"""Behaviour cloning."""

from offline.bc.agent import BCAgent, BCSettings
from offline.learning.registry import LearnerEntry

LEARNERS = (LearnerEntry("bc", BCAgent, "behaviour cloning: the policy that the log came from"),)

__all__ = ["LEARNERS", "BCAgent", "BCSettings"]
