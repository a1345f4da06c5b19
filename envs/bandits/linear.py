"""The linear bandit."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.bandits.bandit import Bandit, Purpose, check_stddev, normal_rewards, unit_rows
from envs.constants import Constant
from envs.noise import Draws
from envs.spec import vector
from envs.world import State


class LinearBandit(Bandit):
    """Arms whose rewards are linear in the context.

    ## Description
    Arm k has a hidden direction theta_k, and in the context x gives

        reward = theta_k . x + noise_stddev * N(0, 1).

    x and all theta_k are uniform on the unit sphere in `context_size`
    dimensions; x is drawn anew at every step, theta_k once by `problem_seed`.

    ## Actions
    `MultiDiscrete([num_arms])`: the arm.

    ## Observations
    `user`: the context. `candidates`: arm, one-hot. `response` to the previous
    arm: click (always 1) and reward. `has_response`, `mask` and `history` as
    everywhere. Hidden: the directions.

    ## Rewards
    As above.

    ## Start
    Nothing is carried from step to step.

    ## End
    After `session_steps` rounds (terminated).

    ## Arguments
    `num_arms`, `context_size`, `noise_stddev`, `problem_seed`, `session_steps`.

    ## Version
    v1.

    Source: the setting of Li et al. (2010), arXiv:1003.0146, with a hidden
    parameter an arm.
    """

    def __init__(
        self,
        num_arms: int = 10,
        context_size: int = 10,
        noise_stddev: float = 0.1,
        problem_seed: int = 0,
        session_steps: int = 1,
    ) -> None:
        """Parameters of the world; see the class."""
        if context_size < 1:
            raise ValueError(f"context_size is {context_size}; it must be at least 1")
        check_stddev(noise_stddev)
        super().__init__(
            num_arms, vector("context", context_size, -1, 1), (-math.inf, math.inf), session_steps
        )
        self.noise_stddev, self.context_size = noise_stddev, context_size
        generator = torch.Generator().manual_seed(problem_seed)
        shape = (num_arms, context_size)
        directions = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.directions = Constant(unit_rows(directions))

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Contexts (B, d)."""
        # A single dimension's sphere is two points, which rounding must not leave.
        context = unit_rows(draws.normal(Purpose.CONTEXT, self.context_size)).clamp(-1, 1)
        return {"context": context}

    def expected_rewards(self, state: State) -> Tensor:
        """theta_k . x."""
        return state["context"] @ self.directions.like(state["context"]).t()

    def rewards(self, expected: Tensor, draws: Draws) -> Tensor:
        """Normal around the mean."""
        return normal_rewards(expected, self.noise_stddev, draws)
