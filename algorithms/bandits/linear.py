"""Bandits with a context: linear regression of feedback, and what to make of its uncertainty."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from algorithms.bandits.agent import BanditAgent, Shown, check_finite
from algorithms.bandits.context import Arms, Context, default_terms
from algorithms.bandits.ridge import Ridge
from algorithms.bandits.rules import inverse_gap_log_weights, thompson_log_weights, top_slate
from algorithms.bandits.settings import (
    BanditSettings,
    LinTSSettings,
    LinUCBSettings,
    SquareCBSettings,
)
from algorithms.bandits.statistics import Statistics
from algorithms.core.agent import Decision
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec


class LinearBandit(BanditAgent):
    """A ridge regression, and slates from its estimates.

    Attributes:
        arms: what an arm is, where each has a model.
        context: the regression's inputs.
        ridge: the regression.
    """

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build without having seen anything.

        Raises:
            ValueError: a context that the world or the model does not allow.
        """
        super().__init__(spec, history, slate_size, settings)
        options = self.options
        per_arm = options.models == "per_arm"
        self.arms = Arms(spec, options.arm_feature) if per_arm else None
        terms = self.default_context(per_arm) if options.context is None else options.context
        self.context = Context(spec, history, terms)
        if per_arm and not self.context.per_user:
            raise ValueError(
                f"context is {', '.join(terms)}, but with a model for each arm only the user is "
                "context: use one, user, history and the user's features, or models: shared"
            )
        self.ridge = self.make_ridge()
        self.refresh()

    def default_context(self, per_arm: bool) -> tuple[str, ...]:
        """Terms of the context where the settings name none."""
        return default_terms(self.spec, per_arm)

    def make_ridge(self) -> Ridge:
        """The regression, without data."""
        return self._ridge(self.context.size, draws=0)

    def _ridge(self, size: int, draws: int) -> Ridge:
        options = self.options
        return Ridge(
            size,
            None if self.arms is None else self.arms.count,
            ridge=options.ridge,
            draws=draws,
            discount=options.discount,
            window=options.window,
        )

    def check_world(self, observation: Observation) -> None:
        """Refuse candidates whose arm cannot be told, where arms have models."""
        if self.arms is not None:
            self.arms.check(observation.candidates[observation.mask])

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """Candidates by what the regression says of them."""
        return self.weigh(*self._inputs_of(observation), observation.mask, slate_size)

    def expected(self, observation: Observation) -> Tensor:
        """The regression's estimates."""
        return self.ridge.mean(*self._inputs_of(observation))

    def _inputs_of(self, observation: Observation) -> tuple[Tensor, Tensor | None]:
        """Contexts and arms of the candidates, as of `Ridge.mean`."""
        x = self.features(observation.user, observation.candidates, observation.history)
        if self.arms is None:
            return x.expand(-1, observation.mask.shape[1], -1), None
        return x[:, 0], self.arms.index(observation.candidates)

    def features(self, user: Tensor, items: Tensor, history: Tensor) -> Tensor:
        """The regression's inputs, (B, N, d) or (B, 1, d)."""
        return self.context(user, items, history)

    @abc.abstractmethod
    def weigh(self, x: Tensor, arm: Tensor | None, mask: Tensor, slate_size: int) -> Decision:
        """Log-weights of candidates; `x` and `arm` as of `Ridge.mean`."""

    def known_arms(self, shown: Shown) -> Tensor | None:
        """The arm of each row, (n,), where arms have models; refuses rows that can't be taken."""
        check_finite(shown.feedback)
        if self.arms is None:
            return None
        self.arms.check(shown.item)
        return self.arms.index(shown.item)

    def summarise(self, shown: Shown) -> dict[str, Tensor]:
        """`gram`, `moment` and `count` of the rows, with a leading axis of one."""
        arm = self.known_arms(shown)
        x = self.features(shown.user, shown.item[:, None], shown.history)[:, 0]
        sums = self.ridge.sums(x, shown.feedback, arm)
        return {name: value[None] for name, value in sums.items()}

    def learn(self, columns: dict[str, Tensor]) -> None:
        """Merge the sums."""
        self.ridge.statistics.add(columns)

    def refresh(self) -> None:
        """Solve the regression."""
        self.ridge.refresh()

    @property
    def seen(self) -> Statistics:
        """Those of the regression."""
        return self.ridge.statistics

    def report(self) -> dict[str, float]:
        """Observations that count, and the norm of the estimate."""
        return {
            "observations": float(self.ridge.statistics["count"].sum()),
            "theta_norm": float(self.ridge.theta.norm()),
        }


def upper_bound(ridge: Ridge, alpha: float, x: Tensor, arm: Tensor | None) -> Decision:
    """Candidates by estimate + alpha * width.

    Source: Li et al. (2010), "A contextual-bandit approach to personalized
    news article recommendation", arXiv:1003.0146, algorithm 1.
    """
    return Decision(ridge.mean(x, arm) + alpha * ridge.width(x, arm), None, {})


def posterior_shares(
    ridge: Ridge, x: Tensor, arm: Tensor | None, mask: Tensor, slate_size: int
) -> Decision:
    """Candidates by how often draws rank them first; the best slate is that of the estimates.

    Source: Agrawal and Goyal (2013), "Thompson sampling for contextual bandits
    with linear payoffs", arXiv:1209.3352. Deviation: acts from the shares of M
    draws instead of one draw, so that probabilities are known.
    """
    log_weights = thompson_log_weights(ridge.sampled(x, arm), mask, slate_size)
    return Decision(log_weights, top_slate(ridge.mean(x, arm), mask, slate_size), {})


class LinUCB(LinearBandit):
    """Upper confidence bounds of a linear model."""

    name: ClassVar[str] = "linucb"
    settings_class: ClassVar[type[BanditSettings]] = LinUCBSettings

    def weigh(self, x: Tensor, arm: Tensor | None, mask: Tensor, slate_size: int) -> Decision:
        """By upper confidence bounds."""
        return upper_bound(self.ridge, self.options.alpha, x, arm)


class LinTS(LinearBandit):
    """Thompson sampling with a linear model."""

    name: ClassVar[str] = "lints"
    settings_class: ClassVar[type[BanditSettings]] = LinTSSettings

    def make_ridge(self) -> Ridge:
        """With posterior draws."""
        return self._ridge(self.context.size, self.options.draws)

    def refresh(self) -> None:
        """Solve the regression and draw from its posterior."""
        super().refresh()
        self.ridge.draw(self.options.spread, self.generator())

    def weigh(self, x: Tensor, arm: Tensor | None, mask: Tensor, slate_size: int) -> Decision:
        """By shares of draws."""
        return posterior_shares(self.ridge, x, arm, mask, slate_size)


class SquareCB(LinearBandit):
    """Inverse-gap weighting of a linear model's estimates."""

    name: ClassVar[str] = "squarecb"
    settings_class: ClassVar[type[BanditSettings]] = SquareCBSettings

    def weigh(self, x: Tensor, arm: Tensor | None, mask: Tensor, slate_size: int) -> Decision:
        """By probabilities that fall with the gap to the best."""
        seen = float(self.ridge.statistics["count"].sum())
        gamma = self.options.gamma_scale * max(seen, 1.0) ** self.options.gamma_exponent
        return Decision(inverse_gap_log_weights(self.ridge.mean(x, arm), mask, gamma), None, {})
