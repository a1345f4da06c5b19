"""Long-term satisfaction: clickbait engages now and wears users out."""

from envs.long_term_satisfaction.world import LongTermSatisfaction

WORLD = LongTermSatisfaction

__all__ = ["WORLD", "LongTermSatisfaction"]
