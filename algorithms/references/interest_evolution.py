"""Interest evolution with quality, interests and budget known: a hand-tuned heuristic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from algorithms.core.affinity import attraction, scores
from algorithms.core.agent import Agent, Decision
from algorithms.core.optimise import optimise
from envs.choice import ChoiceModel
from envs.constants import Constant
from envs.history import History
from envs.interest_evolution.world import InterestEvolution, topic_quality
from envs.simulator import Observation
from envs.spec import FeatureSpec

PRICE, PRICE_OF_TASTE, WORTH_OF_TASTE = 1.4, 0.6, 5.0
"""Found by hand on users of other seeds than evaluations use; see `advantage`."""


class FullInformation(Agent):
    """Shows what earns most minutes for the budget that it costs.

    Each minute of budget has a price in minutes watched, higher for users with
    a taste for good topics. A document is worth what is watched, less the price
    of its cost beyond that of no click, plus what the interest that it moves
    will be worth. The slate is the best one under Google's choice model.
    """

    name = "full_information"

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Refuse worlds other than the one it knows."""
        super().__init__(spec, history, slate_size, settings)
        names = [[feature.name for feature in group] for group in (spec.user, spec.candidate)]
        if names != [["interests", "budget"], ["features", "quality"]]:
            raise ValueError(
                "full_information knows interest_evolution with its hidden state observed and "
                "nothing else; play it there, with full_information: true in the world"
            )
        self._choice = ChoiceModel("multinomial_proportional")
        self._good = Constant(topic_quality(spec.user[0].size).clamp_min(0))
        self._whole_budget = spec.user[1].high

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """The exactly optimal slate of the documents' advantages over no click."""
        user, candidates, spec = observation.user, observation.candidates, self.spec
        interests = user[:, spec.user_slice("interests")]
        appeal = scores(spec, user, candidates)
        values = advantage(
            appeal,
            candidates[..., spec.candidate_slice("quality")].squeeze(-1),
            user[:, spec.user_slice("budget")],
            self._whole_budget,
            price(interests, self._good.like(interests)),
        )
        masses, no_click = attraction(self._choice, appeal)
        best, worth = optimise(
            "exact", self._choice.name, values, masses, no_click, observation.mask, slate_size
        )
        return Decision(masses * (values - worth[:, None]), best, {})


def price(interests: Tensor, good: Tensor) -> Tensor:
    """Minutes watched that a minute of budget is worth to each user, (B, 1).

    Args:
        interests: in each topic, (B, topics), in [-1, 1].
        good: quality of the good topics, 0 for the others, (topics,).
    """
    taste = (interests * good).sum(dim=1, keepdim=True) / good.sum()
    return PRICE + PRICE_OF_TASTE * taste


def advantage(
    appeal: Tensor, quality: Tensor, budget: Tensor, whole: float, price: Tensor
) -> Tensor:
    """What a click earns beyond no click, (B, N), in minutes watched.

    minutes - price (minutes (1 - e q) - penalty) + w q E[interest's step] budget / whole,
    with e and the penalty of the world. The interest x of the clicked topic steps by
    +-(0.3 - 0.3 |x|) (1 - x), upwards with probability (x + 1) / 2: by x times that on average.

    Args:
        appeal: interest in each candidate's topic, (B, N).
        quality: of each candidate, (B, N).
        budget: minutes left, (B, 1).
        whole: minutes of budget at the start.
        price: of a minute of budget, (B, 1).
    """
    world = InterestEvolution
    minutes = budget.clamp(0, world.video_minutes)
    cost = minutes * (1 - world.extension * quality) - world.step_penalty
    step = appeal * (0.3 - 0.3 * appeal.abs()) * (1 - appeal)
    return minutes - price * cost + WORTH_OF_TASTE * quality * step * (budget / whole)
