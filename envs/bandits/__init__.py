"""Standard bandit problems: one document a step, whose reward depends on the context alone."""

from envs.bandits.bandit import Bandit
from envs.bandits.digits import DigitsBandit
from envs.bandits.drifting import DriftingBandit
from envs.bandits.linear import LinearBandit
from envs.bandits.wheel import WheelBandit

WORLDS: dict[str, type[Bandit]] = {
    "digits_bandit": DigitsBandit,
    "drifting_bandit": DriftingBandit,
    "linear_bandit": LinearBandit,
    "wheel_bandit": WheelBandit,
}

__all__ = [
    "WORLDS",
    "Bandit",
    "DigitsBandit",
    "DriftingBandit",
    "LinearBandit",
    "WheelBandit",
]
