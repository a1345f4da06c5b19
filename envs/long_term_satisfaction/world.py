"""RecSim's long-term satisfaction as pure functions on tensors."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import ClassVar

import torch
from torch import Tensor

from envs.history import Term
from envs.noise import Draws
from envs.simulator import Outcome, State, World, check_sizes
from envs.spec import Feature, FeatureSpec, number
from envs.world import Insight

MAX_ENGAGEMENT = 100.0


class Purpose(IntEnum):
    """What a draw decides."""

    EXPOSURE = auto()
    CLICKBAIT = auto()
    ENGAGEMENT = auto()
    INNOVATION = auto()


class LongTermSatisfaction(World):
    """Users whom clickbait engages now and wears out over time.

    ## Description
    A document lies between kale (0) and chocolate (1). Chocolate engages more,
    in proportion to a hidden satisfaction, the sigmoid of `sensitivity` times
    the net positive exposure, which chocolate lowers and kale raises.

    ## Actions
    `MultiDiscrete([num_candidates] * slate_size)`: distinct positions in the
    candidate list. The user always consumes the first document of the slate.

    ## Observations
    `user`: `anonymous`, always 1, for nothing of a user is observed.
    `candidates`: clickbait score in [0, 1]. `response` to the previous slate,
    a row a document: click, engagement clipped at 100. `has_response`, `mask`
    and `history` as everywhere. Hidden: net positive exposure and time left.

    ## Rewards
    The engagement, not clipped.

    ## Start
    Net positive exposure uniform on ±0.5 / (1 - `memory_discount`); candidates
    are drawn anew at every step, their scores uniform on [0, 1).

    ## End
    After `time_budget` steps (terminated).

    ## Arguments
    `num_candidates`, `slate_size`, and RecSim's parameters of a user:
    `memory_discount`, `sensitivity`, `innovation_stddev`, `choc_mean`,
    `choc_stddev`, `kale_mean`, `kale_stddev`, `time_budget` in steps.

    ## Version
    v1: the dynamics of recsim 0.2.4.

    Source: RecSim's `long_term_satisfaction.py`. Its docstring has the sign of
    the exposure's update wrong; this is what its code does.
    """

    reward_name: ClassVar[str] = "clicked_engagement_reward"
    default_history: ClassVar[tuple[Term, ...]] = (
        Term("log1p(engagement)", "last", 0.2),
        Term("clickbait_score", "last"),
        Term("clickbait_score", 0.7, 0.3),
        Term("time", "sum", 1 / 60),
    )
    user_features: ClassVar[tuple[Feature, ...]] = (number("anonymous", 0, 1),)

    def __init__(
        self,
        num_candidates: int = 20,
        slate_size: int = 1,
        memory_discount: float = 0.7,
        sensitivity: float = 0.01,
        innovation_stddev: float = 0.05,
        choc_mean: float = 5.0,
        choc_stddev: float = 1.0,
        kale_mean: float = 4.0,
        kale_stddev: float = 1.0,
        time_budget: int = 60,
    ) -> None:
        """Parameters of the world; see the class."""
        check_sizes(num_candidates, slate_size)
        if not 0 <= memory_discount < 1:
            raise ValueError(
                f"memory_discount is {memory_discount}; it must be at least 0 and less than 1"
            )
        deviations = {
            "innovation_stddev": innovation_stddev,
            "choc_stddev": choc_stddev,
            "kale_stddev": kale_stddev,
        }
        for name, value in deviations.items():
            if value < 0:
                raise ValueError(f"{name} is {value}; a standard deviation is not negative")
        if time_budget < 1:
            raise ValueError(f"time_budget is {time_budget}; it must be at least 1 step")
        self.num_candidates, self.slate_size = num_candidates, slate_size
        self.memory_discount, self.sensitivity = memory_discount, sensitivity
        self.innovation_stddev, self.time_budget = innovation_stddev, time_budget
        self.choc_mean, self.choc_stddev = choc_mean, choc_stddev
        self.kale_mean, self.kale_stddev = kale_mean, kale_stddev
        self.spec = FeatureSpec(
            user=self.user_features,
            candidate=(number("clickbait_score", 0, 1),),
            response=(number("click", 0, 1), number("engagement", 0, MAX_ENGAGEMENT)),
            appeal=(None, "clickbait_score"),
        )

    def new_users(self, draws: Draws, dtype: torch.dtype, device: torch.device) -> State:
        """Net positive exposure (B,) and steps taken (B,)."""
        exposure = (draws.uniform(Purpose.EXPOSURE, 1)[:, 0] - 0.5) / (1 - self.memory_discount)
        return {"exposure": exposure, "step": torch.zeros_like(exposure)}

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Clickbait scores (B, N)."""
        return {"clickbait": draws.uniform(Purpose.CLICKBAIT, self.num_candidates)}

    def observe(self, state: State) -> tuple[Tensor, Tensor]:
        """Ones, and clickbait scores."""
        clickbait = state["clickbait"]
        return torch.ones_like(clickbait[:, :1]), clickbait[..., None]

    def insight(self, state: State) -> Insight:
        """Clickbait engages now; satisfaction multiplies what every later document engages."""
        satisfaction = torch.sigmoid(self.sensitivity * state["exposure"])
        return Insight(
            users={"satisfaction": satisfaction},
            items={"clickbait": state["clickbait"]},
            tension=("clickbait", "satisfaction"),
        )

    def transition(self, state: State, slate: Tensor, draws: Draws) -> Outcome:
        """Engagement by the satisfaction before, then exposure and time."""
        exposure = state["exposure"]
        clickbait = state["clickbait"].gather(1, slate[:, :1])[:, 0]
        satisfaction = torch.sigmoid(self.sensitivity * exposure)
        mean = clickbait * self.choc_mean + (1 - clickbait) * self.kale_mean
        stddev = clickbait * self.choc_stddev + (1 - clickbait) * self.kale_stddev
        luck = draws.normal(Purpose.ENGAGEMENT, 1)[:, 0]
        engagement = torch.exp(mean * satisfaction + stddev * luck)

        innovation = self.innovation_stddev * draws.normal(Purpose.INNOVATION, 1)[:, 0]
        exposure = self.memory_discount * exposure - 2 * (clickbait - 0.5) + innovation
        step = state["step"] + 1

        response = engagement.new_zeros((*slate.shape, 2))
        response[:, 0, 0] = 1
        response[:, 0, 1] = engagement.clamp(max=MAX_ENGAGEMENT)
        return Outcome(
            {"exposure": exposure, "step": step}, response, engagement, step >= self.time_budget
        )
