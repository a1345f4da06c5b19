"""The world of Anyscale's 2022 RecSim tutorial as pure functions on tensors."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from envs.history import Term
from envs.long_term_satisfaction.world import LongTermSatisfaction, Purpose
from envs.noise import Draws
from envs.simulator import State
from envs.spec import Feature, number


class ModifiedLongTermSatisfaction(LongTermSatisfaction):
    """Long-term satisfaction in which always showing the sweetest document is poor.

    ## Description
    As long-term satisfaction, but satisfaction weighs heavily, sessions are
    short, nothing but the candidates' scores is left to luck, and candidates
    are either sweet or bitter: a good recommender alternates.

    ## Actions
    `MultiDiscrete([num_candidates] * slate_size)`: distinct positions in the
    candidate list. The user always consumes the first document of the slate.

    ## Observations
    `user`: `time`, step / 10 - 0.5. `candidates`: clickbait score in [0, 1].
    `response` to the previous slate, a row a document: click, engagement
    clipped at 100. `has_response`, `mask` and `history` as everywhere. Hidden:
    net positive exposure, from which satisfaction follows.

    ## Rewards
    The engagement, exp(5 * clickbait * satisfaction), not clipped.

    ## Start
    Net positive exposure 1; candidates are drawn anew at every step, the
    scores of even positions uniform on [0.8, 1], of odd ones on [0, 0.2].

    ## End
    After `time_budget` steps (terminated).

    ## Arguments
    As of long-term satisfaction, with other defaults.

    ## Version
    v1: the world of the tutorial.

    Source: Anyscale's 2022 tutorial on RLlib for recommender systems, on
    RecSim's long-term satisfaction. Deviation: the response after a reset is
    zeros with `has_response` 0; the tutorial observes an engagement of -1.
    """

    default_history: ClassVar[tuple[Term, ...]] = (
        Term("log1p(engagement)", "last", 0.2),
        Term("clickbait_score", "last"),
        Term("clickbait_score", 0.7, 0.3),
        Term("time", "sum", 0.1),
    )
    user_features: ClassVar[tuple[Feature, ...]] = (number("time", -0.5),)
    initial_exposure: ClassVar[float] = 1.0

    def __init__(
        self,
        num_candidates: int = 20,
        slate_size: int = 1,
        memory_discount: float = 0.7,
        sensitivity: float = 0.9,
        innovation_stddev: float = 1e-5,
        choc_mean: float = 5.0,
        choc_stddev: float = 0.0,
        kale_mean: float = 0.0,
        kale_stddev: float = 0.0,
        time_budget: int = 10,
    ) -> None:
        """Parameters of the world; see the class."""
        super().__init__(
            num_candidates=num_candidates,
            slate_size=slate_size,
            memory_discount=memory_discount,
            sensitivity=sensitivity,
            innovation_stddev=innovation_stddev,
            choc_mean=choc_mean,
            choc_stddev=choc_stddev,
            kale_mean=kale_mean,
            kale_stddev=kale_stddev,
            time_budget=time_budget,
        )

    def new_users(self, draws: Draws, dtype: torch.dtype, device: torch.device) -> State:
        """Net positive exposure (B,) and steps taken (B,)."""
        start = torch.zeros_like(draws.uniform(Purpose.EXPOSURE, 1)[:, 0])
        return {"exposure": start + self.initial_exposure, "step": start}

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Clickbait scores (B, N): sweet at even positions, bitter at odd ones."""
        clickbait = 0.2 * draws.uniform(Purpose.CLICKBAIT, self.num_candidates)
        clickbait[:, ::2] += 0.8
        return {"clickbait": clickbait}

    def observe(self, state: State) -> tuple[Tensor, Tensor]:
        """Time as step / 10 - 0.5, and clickbait scores."""
        return state["step"][:, None] / 10 - 0.5, state["clickbait"][..., None]
