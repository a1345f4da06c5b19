"""Interest evolution: users whose interests move with what they watch."""

from envs.interest_evolution.world import InterestEvolution

WORLD = InterestEvolution

__all__ = ["WORLD", "InterestEvolution"]
