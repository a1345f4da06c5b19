"""Interest exploration: users of several types, documents of broad and of narrow appeal."""

from envs.interest_exploration.world import InterestExploration

WORLD = InterestExploration

__all__ = ["WORLD", "InterestExploration"]
