"""Modified long-term satisfaction: short sessions in which satisfaction matters."""

from envs.modified_long_term_satisfaction.world import ModifiedLongTermSatisfaction

WORLD = ModifiedLongTermSatisfaction

__all__ = ["WORLD", "ModifiedLongTermSatisfaction"]
