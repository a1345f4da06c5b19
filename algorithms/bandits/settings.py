"""Settings of the contextual bandits."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from algorithms.core.settings import ActingSettings, Widths, refuse_idle


class BanditSettings(ActingSettings):
    """What every bandit has. A round is one update: a fragment of every runner.

    Attributes:
        feedback: of a shown item: its `click`, or the step's `reward` credited
            to the clicked item (to the only item where the slate has one slot).
        feedback_delay: rounds after which the feedback of a round arrives.
        discount: what a round leaves of all earlier ones; 1 forgets nothing.
        window: rounds that count; 0 keeps all.
        arm_feature: candidate feature that names the arm, one-hot or an id;
            the first such feature if not given, or else the first vector. For
            algorithms that know arms.
    """

    feedback: Literal["click", "reward"] = "reward"
    feedback_delay: int = Field(0, ge=0)
    discount: float = Field(1.0, gt=0, le=1)
    window: int = Field(0, ge=0)
    arm_feature: str | None = None

    @model_validator(mode="after")
    def _one_way_to_forget(self) -> BanditSettings:
        if self.window and self.discount < 1:
            raise ValueError(
                f"window is {self.window} and discount {self.discount}; forget by one of them"
            )
        return self


class EpsilonGreedySettings(BanditSettings):
    """Epsilon-greedy on mean feedback; `epsilon_final` and `epsilon_steps` make a schedule.

    Attributes:
        initial_value: mean of an arm that was never tried; high values explore.
    """

    epsilon: float = Field(0.1, ge=0, le=1)
    initial_value: float = 0.0


class UCBSettings(BanditSettings):
    """UCB1.

    Attributes:
        confidence: factor of sqrt(ln(all) / count), in the feedback's unit.
    """

    confidence: float = Field(math.sqrt(2), ge=0)

    @model_validator(mode="after")
    def _acts_by_its_bounds(self) -> Self:
        if self.temperature:
            raise ValueError(
                "UCB acts by its bounds, so temperature is 0; set epsilon for some exploration "
                "in every slot"
            )
        return self


class DiscountedUCBSettings(UCBSettings):
    """UCB on discounted counts and sums."""

    discount: float = Field(0.99, gt=0, le=1)


class SlidingWindowUCBSettings(UCBSettings):
    """UCB on the latest rounds."""

    window: int = Field(200, ge=1)


class _Sampled(BanditSettings):
    """Thompson sampling acts from the shares of posterior draws, so at a temperature.

    Attributes:
        draws: M, from the posterior after each update.
    """

    draws: int = Field(64, ge=1)
    temperature: float = Field(1.0, gt=0)
    epsilon: float = Field(1e-3, gt=0, le=1)


class ThompsonBetaSettings(_Sampled):
    """Thompson sampling for feedback in [0, 1].

    Attributes:
        prior_successes: of the Beta prior of every arm.
        prior_failures: the same.
    """

    feedback: Literal["click", "reward"] = "click"
    prior_successes: float = Field(1.0, gt=0)
    prior_failures: float = Field(1.0, gt=0)


class ThompsonGaussianSettings(_Sampled):
    """Thompson sampling for feedback with normal noise.

    Attributes:
        prior_mean: of every arm, in the feedback's unit.
        prior_stddev: of the arms around it.
        noise_stddev: of the feedback around an arm's mean.
    """

    prior_mean: float = 0.0
    prior_stddev: float = Field(1.0, gt=0)
    noise_stddev: float = Field(1.0, gt=0)


class LinearSettings(BanditSettings):
    """A linear model of feedback.

    Attributes:
        models: one `shared` by all items, or one `per_arm` on what is known of the user.
        context: terms of the context vector, see `algorithms.bandits.context`;
            if not given, the appeal and what else is known of the item, or
            without an appeal the item's features and their products with the
            user's; for a model an arm the user's features; for NeuralLinear all
            features and the history.
        ridge: of the regression; the prior's precision.
    """

    models: Literal["shared", "per_arm"] = "shared"
    context: tuple[str, ...] | None = None
    ridge: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _arms_have_models(self) -> Self:
        if self.models == "shared":
            because = "one model is shared by all items"
            refuse_idle(self, ["arm_feature"], because, "set models to 'per_arm'")
        return self


class LinUCBSettings(LinearSettings):
    """LinUCB.

    Attributes:
        alpha: factor of the confidence width, in the feedback's unit.
    """

    alpha: float = Field(1.0, ge=0)


class LinTSSettings(_Sampled, LinearSettings):
    """Linear Thompson sampling.

    Attributes:
        spread: factor of the posterior's standard deviation, in the feedback's unit.
    """

    spread: float = Field(0.25, ge=0)


class SquareCBSettings(LinearSettings):
    """Inverse-gap weighting; gamma = gamma_scale * observations ^ gamma_exponent.

    Attributes:
        gamma_scale: the greater, the greedier; in units of 1 / feedback.
        gamma_exponent: how it grows.
    """

    temperature: float = Field(1.0, gt=0)
    gamma_scale: float = Field(10.0, gt=0)
    gamma_exponent: float = Field(0.5, ge=0)


class NeuralLinearSettings(LinearSettings):
    """Linear regression on the last layer of a network.

    Attributes:
        explore_by: `ucb` with `alpha`, or `thompson` with `spread` and
            `draws`, which needs a temperature of 1.
        alpha: as of LinUCB (`ucb`).
        spread: as of LinTS (`thompson`).
        draws: as of LinTS (`thompson`).
        hidden: widths of the network's layers; the last one is regressed on.
        embedding_size: columns learned for each id feature, where there is one.
        buffer: rows kept to train on and to rebuild the regression from.
        train_every: rounds between trainings of the network.
        gradient_steps: of each training.
        minibatch_size: rows of a gradient step.
        lr: of Adam.
        weight_decay: of the network's weights, decoupled.
    """

    explore_by: Literal["ucb", "thompson"] = "ucb"
    alpha: float = Field(1.0, ge=0)
    spread: float = Field(0.25, ge=0)
    draws: int = Field(64, ge=1)
    hidden: Widths = Field((64, 64), min_length=1)
    embedding_size: int = Field(8, ge=1)
    buffer: int = Field(20_000, ge=1)
    train_every: int = Field(20, ge=1)
    gradient_steps: int = Field(50, ge=1)
    minibatch_size: int = Field(128, ge=1)
    lr: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _fit_together(self) -> NeuralLinearSettings:
        if self.explore_by == "thompson" and self.temperature == 0:
            raise ValueError(
                "explore_by 'thompson' acts from the shares of its draws, not at temperature 0; "
                "set temperature to 1"
            )
        if self.explore_by == "thompson" and self.epsilon == 0:
            raise ValueError(
                "explore_by 'thompson' needs a floor for items that no draw prefers; set epsilon "
                "to 0.001"
            )
        if self.explore_by == "thompson":
            because = "explore_by 'thompson' goes by draws"
            refuse_idle(self, ["alpha"], because, "set explore_by to 'ucb'")
        else:
            because = "explore_by 'ucb' goes by bounds"
            refuse_idle(self, ["spread", "draws"], because, "set explore_by to 'thompson'")
        if self.window or self.discount < 1:
            raise ValueError(
                "neural_linear forgets by its buffer, not by window or discount; set buffer"
            )
        return self
