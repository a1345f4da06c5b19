"""Any environment of Gymnasium's registry behind the contract of a batched simulator."""

from envs.from_gymnasium.finding import is_gymnasium_id, parameters
from envs.from_gymnasium.simulator import GymnasiumSimulator

__all__ = ["GymnasiumSimulator", "is_gymnasium_id", "parameters"]
