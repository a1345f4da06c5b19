"""Simulated users of recommenders: RecSim's worlds, Google's own and batched in torch."""

from envs.registry import make_simulator, register_all, world_names

__all__ = ["make_simulator", "register_all", "world_names"]
