"""Settings of the policy gradients."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from algorithms.core.settings import Settings, Widths, refuse_idle
from envs.spec import Actions

WHOLE = 2**30
"""Rows that no batch has: one minibatch."""


class PolicyGradientSettings(Settings):
    """What all policy gradients share.

    Slates are drawn from a Plackett-Luce distribution over the network's
    log-weights; in worlds of box actions, numbers from a diagonal Gaussian.
    The loss is that of the policy, plus
    value_coeff * mean(((V(s) - G) / value_scale)^2) / 2, minus
    entropy_coeff * the mean entropy.

    Attributes:
        hidden: widths of the layers over user and history.
        item_hidden: widths of the layers over a candidate; none takes it as it is.
        layer_norm: normalise each layer over user and history.
        shared_body: whether policy and value share the layers over user and history.
        use_appeal: whether log-weights may depend on how attractive a candidate
            is at first sight, where the world declares what says so.
        value_scale: unit of the value network's outputs, and of advantages where
            they are not standardised, in the reward's unit.
        initial_value: of every state before training, in the reward's unit.
        value_coeff: weight of the value's loss.
        standardise_advantages: whether each minibatch's advantages get mean 0 and
            standard deviation 1; otherwise they count in units of `value_scale`.
        entropy_coeff: weight of the entropy.
        entropy: `shown` estimates a slate's from the slate that was shown, `exact`
            enumerates, which takes long (for one slot and for boxes both are exact).
        initial_std: of box actions before training, in half ranges of a component
            (in its own unit where it is unbounded).
    """

    temperature: float = 1.0
    hidden: Widths = (128, 128)
    item_hidden: Widths = ()
    layer_norm: bool = True
    shared_body: bool = False
    use_appeal: bool = True
    value_scale: float = Field(50.0, gt=0)
    initial_value: float = 160.0
    value_coeff: float = Field(1.0, ge=0)
    standardise_advantages: bool = True
    entropy_coeff: float = Field(0.0, ge=0)
    entropy: Literal["shown", "exact"] = "shown"
    initial_std: float = Field(0.5, gt=0)

    @model_validator(mode="after")
    def _schedule_counts(self) -> Self:
        """In the place of the check that others have of their schedule: there is none here."""
        found = (self.epsilon, self.epsilon_final, self.epsilon_steps, self.temperature)
        if found != (0.0, None, 0, 1.0):
            raise ValueError(
                "a policy gradient explores by its own policy, so epsilon is 0 and temperature 1; "
                "raise entropy_coeff to explore more"
            )
        return self

    @model_validator(mode="after")
    def _layers_count(self) -> Self:
        if not self.hidden:
            because = "there are no layers over user and history, as hidden is empty"
            refuse_idle(self, ["layer_norm", "shared_body"], because, "give hidden widths")
        return self

    def check_actions(self, actions: Actions, slate_size: int) -> None:
        """Refuse what does nothing in a world of such actions.

        Raises:
            ValueError: says what and why.
        """
        if actions == "slate":
            because = "candidates are picked here, not numbers made"
            refuse_idle(self, ["initial_std"], because, "train where actions are a box")
            if slate_size == 1:
                because = "the entropy of one slot is exact anyway"
                refuse_idle(self, ["entropy"], because, "raise slate_size")
        else:
            because = "numbers are made here, and there are no candidates"
            names = ("item_hidden", "use_appeal", "entropy")
            refuse_idle(self, names, because, "train where candidates are picked")


class ReinforceSettings(PolicyGradientSettings):
    """REINFORCE: log-likelihood weighted by what the session earned from there on.

    Attributes:
        baseline: what is subtracted from returns: the `value` of the state,
            the `mean` of the fragment, or nothing.
        num_epochs: once, because the gradient holds for fresh rows only.
        minibatch_size: one gradient step for each batch by default.
    """

    baseline: Literal["value", "mean", "none"] = "value"
    num_epochs: Literal[1] = 1
    minibatch_size: int = Field(WHOLE, ge=1)

    @model_validator(mode="after")
    def _baseline_counts(self) -> ReinforceSettings:
        if self.baseline == "mean" and self.standardise_advantages:
            raise ValueError(
                "baseline 'mean' is what standardise_advantages subtracts already; set "
                "standardise_advantages to false or choose another baseline"
            )
        return self


class A2CSettings(PolicyGradientSettings):
    """Advantage actor-critic: log-likelihood weighted by n-step or generalised advantages.

    Attributes:
        lambda_: of the advantages; 1 sums rewards up to the fragment's edge.
        num_epochs: once, because the gradient holds for fresh rows only.
        minibatch_size: one gradient step for each batch by default.
    """

    lambda_: float = Field(1.0, ge=0, le=1)
    num_epochs: Literal[1] = 1
    minibatch_size: int = Field(WHOLE, ge=1)


class PPOSettings(PolicyGradientSettings):
    """Proximal policy optimisation: several passes over each batch, with clipped ratios.

    Attributes:
        lambda_: of the generalised advantages.
        lr: peak learning rate of Adam.
        clip: how far from 1 the ratio of new to old probability counts; null clips nothing.
        kl_coeff: weight of the estimated divergence from the old policy; RLlib's 0.2 is not ours.
    """

    lambda_: float = Field(0.9, ge=0, le=1)
    lr: float = Field(1e-3, gt=0)
    clip: float | None = Field(0.3, gt=0)
    kl_coeff: float = Field(0.0, ge=0)
    num_epochs: int = Field(4, ge=1)
