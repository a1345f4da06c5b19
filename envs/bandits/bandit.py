"""What bandit problems have in common."""

from __future__ import annotations

import abc
import math
from enum import IntEnum, auto
from typing import ClassVar

import torch
from torch import Tensor

from envs.constants import Constant
from envs.noise import Draws
from envs.spec import Feature, FeatureSpec, number, one_hot
from envs.world import Insight, Outcome, State, World


class Purpose(IntEnum):
    """What a draw decides."""

    CONTEXT = auto()
    REWARD = auto()


class Bandit(World):
    """Arms as candidates: candidate i is arm i, always, told by a one-hot feature.

    A slate shows one arm. The response holds `click`, 1 for the shown arm
    whatever it gives, and `reward`. Contexts are drawn anew at every step and
    depend on nothing; they are the user features. A session is a run of
    `session_steps` rounds. The problem itself (which arm is good where) follows
    from arguments, `problem_seed` among them, and is the same for all users.
    """

    reward_name: ClassVar[str] = "reward"

    def __init__(
        self,
        num_arms: int,
        context: Feature,
        reward_range: tuple[float, float],
        session_steps: int,
    ) -> None:
        """Lay out the features.

        Args:
            num_arms: N.
            context: the user feature.
            reward_range: smallest and largest reward; may be infinite.
            session_steps: rounds a session.
        """
        if num_arms < 2 or session_steps < 1:
            raise ValueError(
                f"there are {num_arms} arms and session_steps is {session_steps}; "
                "a bandit has at least 2 arms and a session at least 1 step"
            )
        self.num_candidates, self.slate_size, self.session_steps = num_arms, 1, session_steps
        self.spec = FeatureSpec(
            user=(context,),
            candidate=(one_hot("arm", num_arms),),
            response=(number("click", 0, 1), number("reward", *reward_range)),
        )
        self._arms = Constant(torch.eye(num_arms))

    @abc.abstractmethod
    def expected_rewards(self, state: State) -> Tensor:
        """Expected reward of each arm in the present context, (B, N); agents never see it."""

    @abc.abstractmethod
    def rewards(self, expected: Tensor, draws: Draws) -> Tensor:
        """Rewards (B,) of arms with given expected rewards (B,)."""

    def regret(self, state: State, slate: Tensor) -> Tensor:
        """Expected reward of the best arm less that of the shown one, (B,).

        Args:
            state: before the step, as in `TorchSimulator.state`.
            slate: shown arms, (B, 1).
        """
        expected = self.expected_rewards(state)
        return expected.amax(dim=1) - expected.gather(1, slate).squeeze(1)

    def new_users(self, draws: Draws, dtype: torch.dtype, device: torch.device) -> State:
        """Rounds played (B,) int64."""
        count = len(draws.uniform(Purpose.CONTEXT, 1))
        return {"step": torch.zeros(count, dtype=torch.int64, device=device)}

    def observe(self, state: State) -> tuple[Tensor, Tensor]:
        """The context, and the arms as one-hot vectors."""
        context = state["context"]
        return context, self._arms.like(context).expand(len(context), -1, -1)

    def insight(self, state: State) -> Insight:
        """The expected reward of each arm in the present context."""
        expected = self.expected_rewards(state)
        arms = torch.arange(self.num_candidates, device=expected.device)
        return Insight(
            items={"expected reward": expected},
            topic=arms.expand(len(expected), -1),
            topic_kind="arm",
            topic_names=tuple(f"arm {number}" for number in range(self.num_candidates)),
        )

    def transition(self, state: State, slate: Tensor, draws: Draws) -> Outcome:
        """The shown arm's reward; contexts to come don't depend on it."""
        expected = self.expected_rewards(state).gather(1, slate).squeeze(1)
        reward = self.rewards(expected, draws)
        response = torch.stack([torch.ones_like(reward), reward], dim=1)[:, None]
        step = state["step"] + 1
        return Outcome({"step": step}, response, reward, step >= self.session_steps)


def normal_rewards(expected: Tensor, stddev: float, draws: Draws) -> Tensor:
    """Normal rewards around their means (B,)."""
    return expected + stddev * draws.normal(Purpose.REWARD, 1).squeeze(1)


def bernoulli_rewards(expected: Tensor, draws: Draws) -> Tensor:
    """1 with the given probabilities (B,), otherwise 0."""
    return (draws.uniform(Purpose.REWARD, 1).squeeze(1) < expected).to(expected)


def check_stddev(stddev: float) -> None:
    """Refuse noise that cannot be."""
    if not 0 <= stddev < math.inf:
        raise ValueError(f"noise_stddev is {stddev}; a standard deviation is not negative")


def unit_rows(values: Tensor) -> Tensor:
    """Rows divided by their Euclidean length."""
    length: Tensor = values.norm(dim=1, keepdim=True)
    return values / length
