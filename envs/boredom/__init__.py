"""Boredom: users who tire of a genre, rest from it, and leave when they are bored."""

from envs.boredom.world import Boredom

WORLD = Boredom

__all__ = ["WORLD", "Boredom"]
