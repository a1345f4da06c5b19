"""The wheel bandit."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.bandits.bandit import Bandit, Purpose, check_stddev, normal_rewards
from envs.constants import Constant
from envs.noise import Draws
from envs.spec import vector
from envs.world import State

SAFE, POOR, RICH = 1.2, 1.0, 50.0


class WheelBandit(Bandit):
    """A safe arm, and four that pay off only in their corner of the rim.

    ## Description
    The context x is uniform on the unit disc. Arm 0 has the mean 1.2 everywhere
    and the others 1.0, but outside the radius `delta` one of them, by the
    signs of x, has 50: arm 1 where both are positive, 2 at (+, -), 3 at
    (-, +), 4 where neither is positive. Rewards are normal around the mean with
    standard deviation `noise_stddev`. The larger `delta`, the rarer the
    contexts in which it pays to have explored: a share of 1 - delta^2.

    ## Actions
    `MultiDiscrete([5])`: the arm.

    ## Observations
    `user`: the context. `candidates`: arm, one-hot. `response` to the previous
    arm: click (always 1) and reward. `has_response`, `mask` and `history` as
    everywhere.

    ## Rewards
    As above.

    ## Start
    Nothing is carried from step to step.

    ## End
    After `session_steps` rounds (terminated).

    ## Arguments
    `delta`, `noise_stddev`, `session_steps`.

    ## Version
    v1.

    Source: Riquelme, Tucker and Snoek (2018), arXiv:1802.09127, section 5.4,
    with its means and its standard deviation of 0.01.
    """

    def __init__(
        self, delta: float = 0.5, noise_stddev: float = 0.01, session_steps: int = 1
    ) -> None:
        """Parameters of the world; see the class."""
        if not 0 <= delta <= 1:
            raise ValueError(f"delta is {delta}; a radius of the unit disc lies in [0, 1]")
        check_stddev(noise_stddev)
        super().__init__(5, vector("context", 2, -1, 1), (-math.inf, math.inf), session_steps)
        self.delta, self.noise_stddev = delta, noise_stddev
        regions = torch.full((5, 5), POOR, dtype=torch.float64)
        regions[:, 0] = SAFE
        regions[range(4), range(1, 5)] = RICH
        self._means = Constant(regions)

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Contexts (B, 2)."""
        drawn = draws.uniform(Purpose.CONTEXT, 2)
        radius, angle = drawn[:, 0].sqrt(), 2 * math.pi * drawn[:, 1]
        return {"context": torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)}

    def expected_rewards(self, state: State) -> Tensor:
        """Means by radius and signs."""
        x = state["context"]
        corner = 2 * (x[:, 0] <= 0).long() + (x[:, 1] <= 0).long()
        region = torch.where(x.norm(dim=1) > self.delta, corner, 4)
        return self._means.like(x)[region]

    def rewards(self, expected: Tensor, draws: Draws) -> Tensor:
        """Normal around the mean."""
        return normal_rewards(expected, self.noise_stddev, draws)
