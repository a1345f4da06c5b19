"""Simulated users of recommenders: RecSim's worlds, Google's own and batched in torch.

Importing this package registers every world with Gymnasium.
"""

from envs.registry import (
    gymnasium_id,
    make_simulator,
    register_all,
    register_with_rllib,
    world_names,
)

__all__ = [
    "gymnasium_id",
    "make_simulator",
    "register_all",
    "register_with_rllib",
    "world_names",
]

register_all()
