"""A bandit whose arms change."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.bandits.bandit import Bandit, Purpose, bernoulli_rewards
from envs.constants import Constant
from envs.noise import Draws
from envs.spec import number
from envs.world import State


class DriftingBandit(Bandit):
    """Arms without context whose chances of a reward wander.

    ## Description
    In round t of a session arm k gives 1 with probability m_k(t), otherwise 0.
    m_k(0) is uniform on [0, 1], and

        m_k(t + 1) = fold(m_k(t) + drift * N(0, 1)),

    where fold mirrors at 0 and 1. The whole walk follows from `problem_seed`
    and is the same in every session, so users who started together meet the
    same arms; an agent that learns from one long session has to forget.

    ## Actions
    `MultiDiscrete([num_arms])`: the arm.

    ## Observations
    `user`: a constant 1. `candidates`: arm, one-hot. `response` to the previous
    arm: click (always 1) and reward. `has_response`, `mask` and `history` as
    everywhere. Hidden: the round and the means.

    ## Rewards
    0 or 1, as above.

    ## Start
    Round 0.

    ## End
    After `session_steps` rounds (terminated).

    ## Arguments
    `num_arms`, `drift` (standard deviation of a step of the walk),
    `problem_seed`, `session_steps`.

    ## Version
    v1.

    Source: the random-walk arms of Slivkins and Upfal (2008), "Adapting to a
    changing environment: the Brownian restless bandits".
    """

    def __init__(
        self,
        num_arms: int = 10,
        drift: float = 0.01,
        problem_seed: int = 0,
        session_steps: int = 500,
    ) -> None:
        """Parameters of the world; see the class."""
        super().__init__(num_arms, number("anonymous", 0, 1), (0, 1), session_steps)
        if not 0 <= drift < math.inf:
            raise ValueError(f"drift is {drift}; a standard deviation is finite and not negative")
        generator = torch.Generator().manual_seed(problem_seed)
        start = torch.rand((1, num_arms), generator=generator, dtype=torch.float64)
        shape = (session_steps - 1, num_arms)
        steps = drift * torch.randn(shape, generator=generator, dtype=torch.float64)
        self.means = Constant(folded(torch.cat([start, steps]).cumsum(dim=0)))

    def new_candidates(self, state: State, draws: Draws) -> State:
        """The constant context (B, 1)."""
        return {"context": torch.ones_like(draws.uniform(Purpose.CONTEXT, 1))}

    def expected_rewards(self, state: State) -> Tensor:
        """The means of the present round."""
        # The last observation of a session is of a round that nobody plays.
        step = state["step"].clamp(max=self.session_steps - 1)
        return self.means.like(state["context"])[step]

    def rewards(self, expected: Tensor, draws: Draws) -> Tensor:
        """0 or 1."""
        return bernoulli_rewards(expected, draws)


def folded(x: Tensor) -> Tensor:
    """Numbers mirrored at 0 and 1 until they lie between, as a walk between mirrors does."""
    return 1 - (x.remainder(2) - 1).abs()
