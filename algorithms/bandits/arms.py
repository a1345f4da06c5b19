"""Bandits without a context: an estimate for each arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from algorithms.bandits.agent import BanditAgent, Shown, check_finite
from algorithms.bandits.context import Arms
from algorithms.bandits.rules import UNTRIED, confidence_index, thompson_log_weights, top_slate
from algorithms.bandits.settings import (
    BanditSettings,
    DiscountedUCBSettings,
    EpsilonGreedySettings,
    SlidingWindowUCBSettings,
    ThompsonBetaSettings,
    ThompsonGaussianSettings,
    UCBSettings,
)
from algorithms.bandits.statistics import Statistics, arm_sums
from algorithms.core.agent import Decision
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec


class ArmBandit(BanditAgent):
    """Ranks candidates by their arm's score.

    Attributes:
        arms: what an arm is.
        statistics: `count` and `total` feedback, (A,) each.
        score: of each arm and, last, of the unknown one, (A + 1,).
    """

    score: Tensor

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build without having seen anything."""
        super().__init__(spec, history, slate_size, settings)
        self.arms = Arms(spec, self.options.arm_feature)
        shape = (self.arms.count,)
        self.statistics = Statistics(
            {"count": shape, "total": shape}, self.options.discount, self.options.window
        )
        self.register_buffer("score", torch.zeros(self.arms.count + 1))
        self.prepare()
        self.refresh()

    def prepare(self) -> None:
        """Register buffers of one's own."""

    def check_world(self, observation: Observation) -> None:
        """Refuse candidates whose arm cannot be told."""
        self.arms.check(observation.candidates[observation.mask])

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """Candidates by the scores of their arms."""
        return Decision(self.score[self.arms.index(observation.candidates)], None, {})

    def summarise(self, shown: Shown) -> dict[str, Tensor]:
        """Counts and totals of the rows' arms, (1, A) each."""
        check_finite(shown.feedback)
        self.arms.check(shown.item)
        sums = arm_sums(self.arms.index(shown.item), shown.feedback, self.arms.count)
        return {name: value[None] for name, value in sums.items()}

    def learn(self, columns: dict[str, Tensor]) -> None:
        """Merge counts and totals."""
        self.statistics.add(columns)

    def expected(self, observation: Observation) -> Tensor:
        """The means of the candidates' arms."""
        return self.means()[self.arms.index(observation.candidates)]

    def means(self) -> Tensor:
        """Estimate of each arm and, last, of the unknown one, (A + 1,)."""
        return self.score

    @property
    def seen(self) -> Statistics:
        """Counts and totals of the arms."""
        return self.statistics

    def report(self) -> dict[str, float]:
        """Observations that count, and their mean feedback."""
        count, total = self.statistics["count"].sum(), self.statistics["total"].sum()
        return {"observations": float(count), "mean_feedback": float(total / count.clamp_min(1e-9))}

    def known_and_unknown(self) -> tuple[Tensor, Tensor]:
        """`count` and `total` with zeros for the unknown arm, (A + 1,) each."""
        padded = [
            torch.nn.functional.pad(self.statistics[name], (0, 1)) for name in ("count", "total")
        ]
        return padded[0], padded[1]


class EpsilonGreedy(ArmBandit):
    """The arm with the highest mean; epsilon explores."""

    name: ClassVar[str] = "epsilon_greedy"
    settings_class: ClassVar[type[BanditSettings]] = EpsilonGreedySettings

    def refresh(self) -> None:
        """Means."""
        count, total = self.known_and_unknown()
        mean = total / count.clamp_min(1e-20)
        self.score.copy_(torch.where(count > 0, mean, self.options.initial_value))


class UCB1(ArmBandit):
    """The arm with the highest upper confidence bound; asked for its best, the highest mean."""

    name: ClassVar[str] = "ucb1"
    settings_class: ClassVar[type[BanditSettings]] = UCBSettings

    def refresh(self) -> None:
        """Upper confidence bounds."""
        count, total = self.known_and_unknown()
        mean = total / count.clamp_min(1e-20)
        index = confidence_index(mean, count, self.options.confidence)
        self.score.copy_(index.clamp(max=UNTRIED))

    def means(self) -> Tensor:
        """Without the bonus; arms that were never tried have the mean of all that was seen."""
        count, total = self.known_and_unknown()
        overall = total.sum() / count.sum().clamp_min(1e-20)
        mean = torch.where(count > 0, total / count.clamp_min(1e-20), overall)
        return mean.to(self.score.dtype)


class DiscountedUCB(UCB1):
    """UCB for worlds that change: older rounds count less and less."""

    name: ClassVar[str] = "discounted_ucb"
    settings_class: ClassVar[type[BanditSettings]] = DiscountedUCBSettings


class SlidingWindowUCB(UCB1):
    """UCB for worlds that change: only the latest rounds count."""

    name: ClassVar[str] = "sliding_window_ucb"
    settings_class: ClassVar[type[BanditSettings]] = SlidingWindowUCBSettings


class ThompsonBandit(ArmBandit):
    """Acts from the shares of posterior draws in which an arm is best.

    Attributes:
        draws: of each arm's mean, (A + 1, M).
    """

    draws: Tensor

    def prepare(self) -> None:
        """Room for the draws."""
        self.register_buffer("draws", torch.zeros(self.arms.count + 1, self.options.draws))

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """Log-weights from the draws; the best slate is that of the posterior means."""
        arm, mask = self.arms.index(observation.candidates), observation.mask
        log_weights = thompson_log_weights(self.draws[arm], mask, slate_size)
        return Decision(log_weights, top_slate(self.score[arm], mask, slate_size), {})


class ThompsonBeta(ThompsonBandit):
    """Beta posterior of each arm's mean; fractions of a success count as such.

    Source: Agrawal and Goyal (2012), arXiv:1111.1797.
    """

    name: ClassVar[str] = "thompson_beta"
    settings_class: ClassVar[type[BanditSettings]] = ThompsonBetaSettings

    def summarise(self, shown: Shown) -> dict[str, Tensor]:
        """As everywhere; feedback must lie in [0, 1]."""
        check_finite(shown.feedback)
        outside = shown.feedback[(shown.feedback < 0) | (shown.feedback > 1)]
        if len(outside):
            raise ValueError(
                f"feedback is {float(outside[0]):g}, but thompson_beta takes feedback from 0 to 1; "
                "set feedback to 'click' or use thompson_gaussian"
            )
        return super().summarise(shown)

    def refresh(self) -> None:
        """Posterior means and draws."""
        count, total = self.known_and_unknown()
        successes = total + self.options.prior_successes
        failures = count - total + self.options.prior_failures
        self.score.copy_(successes / (successes + failures))
        shape = self.draws.T.shape
        drawn = self.generator().beta(successes.cpu().numpy(), failures.cpu().numpy(), shape)
        self.draws.copy_(torch.from_numpy(drawn).T)


class ThompsonGaussian(ThompsonBandit):
    """Normal posterior of each arm's mean under known noise."""

    name: ClassVar[str] = "thompson_gaussian"
    settings_class: ClassVar[type[BanditSettings]] = ThompsonGaussianSettings

    def refresh(self) -> None:
        """Posterior means and draws."""
        options = self.options
        count, total = self.known_and_unknown()
        noise, prior = options.noise_stddev**-2, options.prior_stddev**-2
        precision = prior + noise * count
        mean = (prior * options.prior_mean + noise * total) / precision
        self.score.copy_(mean)
        z = torch.from_numpy(self.generator().standard_normal(self.draws.shape)).to(mean)
        self.draws.copy_(mean[:, None] + z * precision[:, None].rsqrt())
