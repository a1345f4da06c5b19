"""Agents without weights, to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from algorithms.core.affinity import scores
from algorithms.core.agent import Agent, Decision, Exploration
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec


class RandomAgent(Agent):
    """Uniformly random slates."""

    name = "random"
    fixed_exploration: ClassVar[Exploration | None] = Exploration(epsilon=1.0)

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """All candidates weigh the same."""
        return Decision(observation.candidates.new_zeros(observation.mask.shape), None, {})


class ClickMaximiser(Agent):
    """The most attractive candidates at first sight, whatever comes after.

    The appeal is the world's declared dot product of user and candidate
    features, or a single candidate feature; in Google's interest evolution it
    is exactly the score that clicks are drawn from.
    """

    name = "click_maximiser"

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Refuse worlds that declare no appeal."""
        super().__init__(spec, history, slate_size, settings)
        if spec.appeal is None:
            raise ValueError(
                "click_maximiser needs to know what attracts users, but this world's features "
                "declare no appeal; compare with 'random' instead"
            )

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """Candidates by appeal."""
        return Decision(scores(self.spec, observation.user, observation.candidates), None, {})
