"""Interest evolution where a session ends when less than one video's length of budget is left.

RecSim lets users watch the beginning of a video that they have no time for.
Without that the paper's returns come out, which its text does not settle.
"""

from __future__ import annotations

import torch

from algorithms.evaluation import Estimate
from algorithms.policy import Policy
from envs.interest_evolution import InterestEvolution
from envs.noise import Draws
from envs.simulator import TorchSimulator
from envs.world import Outcome, State


class WholeVideos(InterestEvolution):
    """Nobody starts a video without the time for it."""

    def transition(self, state: State, slate: torch.Tensor, draws: Draws) -> Outcome:
        """RecSim's, but for the end."""
        outcome = super().transition(state, slate, draws)
        over = outcome.state["budget"] < self.video_minutes
        return Outcome(outcome.state, outcome.response, outcome.reward, over)


@torch.no_grad()
def return_there(policy: Policy, num_candidates: int, users: int, seed: int) -> Estimate:
    """The greedy policy's return over so many users, a session each."""
    torch.set_num_threads(1)
    simulator = TorchSimulator(
        WholeVideos(num_candidates=num_candidates),
        users,
        seed=seed,
        history=policy.history,
        replace=False,
    )
    observation = simulator.reset(torch.arange(users))
    generator = torch.Generator().manual_seed(seed)
    playing, returns = torch.ones(users, dtype=torch.bool), torch.zeros(users, dtype=torch.float64)
    while bool(playing.any()):
        shown = policy.recommend(observation, explore=False, generator=generator)
        transition = simulator.step(shown.slates)
        returns += transition.reward * playing
        playing &= ~transition.terminated
        observation = transition.observation
    return Estimate.of(returns.numpy())
