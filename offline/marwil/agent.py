"""MARWIL: behaviour cloning that listens more to what turned out well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from algorithms.core.agent import Agent
from algorithms.core.identifiers import ids_of
from algorithms.policy_gradient.network import ValueNetwork
from envs.history import History
from envs.spec import FeatureSpec
from offline.bc.agent import CHOSEN, BCAgent, BCSettings, chosen_columns
from offline.learning.settings import LearnerSettings
from offline.marwil.losses import (
    advantage_weights,
    half_square,
    normaliser,
    returns_to_go,
    spread,
    weighted_likelihood_loss,
)

if TYPE_CHECKING:
    from offline.log import Rows


class MARWILSettings(BCSettings):
    """Monotonic advantage re-weighted imitation learning.

    Attributes:
        lr: peak learning rate of Adam.
        gamma: discount of a step, in the returns that advantages come from.
        beta: how much more rows count whose return was better than expected; 0 clones
            the behaviour.
        advantage: what a row's value is compared with: its whole `return`, or the
            `one_step` reward and the value of the next row, which is less noisy but only
            as good as the value.
        weight_max: largest weight of a row.
        normaliser_rate: of the moving average of squared advantages, per update.
        value_coeff: weight of the value's loss.
    """

    lr: float = Field(5e-4, gt=0)
    gamma: float = Field(1.0, ge=0, le=1)
    beta: float = Field(3.0, ge=0)
    advantage: Literal["return", "one_step"] = "return"
    weight_max: float = Field(20.0, gt=0)
    normaliser_rate: float = Field(0.01, gt=0, le=1)
    value_coeff: float = Field(1.0, ge=0)


class MARWILAgent(BCAgent):
    """A Plackett-Luce policy over slates, and a value of the state.

    loss = -mean(min(exp(beta * A / c), weight_max) * log pi(slate | state))
    + value_coeff * mean(((V(s) - G) / sigma)^2) / 2, where G is the return to the
    session's end, A = G - V(s) without gradient, c^2 a moving average of A^2, and sigma
    the standard deviation of the first returns that were read, which is also the unit of
    V's network.

    A session that was cut counts as complete, with what it has earned; sessions that
    have no end in the log are left out.

    Source: Wang et al. (2018), "Exponentially weighted imitation learning for batched
    historical data". Deviations: the moving average is free of where it began, weights
    are clipped, and V has layers of its own.
    """

    name: ClassVar[str] = "marwil"
    options_class: ClassVar[type[LearnerSettings]] = MARWILSettings
    reads: ClassVar[tuple[str, ...]] = (*CHOSEN, "reward", "step", "terminated", "truncated")
    options: MARWILSettings

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build with fresh weights."""
        super().__init__(spec, history, slate_size, settings)
        size, ids = spec.user_size + history.size, ids_of(spec, history).state
        self.values = ValueNetwork(size, self.options, ids)
        # Mean and standard deviation of returns; nothing before the first are seen.
        self.scale: Tensor
        self.register_buffer("scale", torch.zeros(2))
        self._moment, self._count = torch.zeros(()), 0
        if self.options.advantage == "one_step":
            self.follows = ("user", "history")

    def log_columns(self, rows: Rows) -> dict[str, Tensor]:
        """What was seen and shown, and its return, of sessions that have ended.

        Raises:
            ValueError: returns that float32 does not hold.
        """
        step, ends = rows["step"], rows["terminated"] | rows["truncated"]
        first = np.flatnonzero(step == 0)
        lengths = np.diff(first, append=len(rows))
        ended = np.repeat(ends[first + lengths - 1], lengths)
        if not ended.all():
            rows = rows.take(ended)
        returns = returns_to_go(rows["reward"], rows["step"], self.options.gamma)
        if not np.isfinite(returns).all():
            raise ValueError(
                "the rewards of a session add up to more than float32 holds; give them in a "
                "larger unit"
            )
        if len(returns) and not self.scale[1]:
            self.scale.copy_(torch.tensor(spread(returns)))
        columns = {**chosen_columns(rows), "return": torch.from_numpy(returns)}
        if self.options.advantage == "one_step":
            goes_on = ~(rows["terminated"] | rows["truncated"])
            columns |= {"reward": torch.from_numpy(rows["reward"])}
            columns["goes_on"] = torch.from_numpy(goes_on)
        return columns

    def predict(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Log-likelihood of what was shown, and the value in units of `scale`, (rows,) each."""
        predicted = super().predict(columns)
        predicted["value"] = self.values(columns["user"], columns["history"])
        if self.options.advantage == "one_step":
            with torch.no_grad():
                following = self.values(columns["next_user"], columns["next_history"])
            predicted["next_value"] = following
        return predicted

    def loss(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], target: Agent | None
    ) -> dict[str, Tensor]:
        """The weighted likelihood's loss and the value's."""
        options, value = self.options, predicted["value"]
        error = self._in_units(columns["return"]) - value
        weight = self._weights(self._advantage(columns, predicted, error).detach())
        policy_loss = weighted_likelihood_loss(predicted["log_likelihood"], weight)
        value_loss = half_square(error)
        return {
            "loss": policy_loss + options.value_coeff * value_loss,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "log_likelihood": predicted["log_likelihood"].mean(),
            "weight": weight.mean(),
            "clipped_share": (weight >= options.weight_max).float().mean(),
        }

    def _in_units(self, returns: Tensor) -> Tensor:
        """As the value network gives them."""
        return (returns - self.scale[0]) / self.scale[1]

    def _advantage(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], error: Tensor
    ) -> Tensor:
        if self.options.advantage == "return":
            return error
        following = predicted["next_value"] * self.scale[1] + self.scale[0]
        following = following.masked_fill(~columns["goes_on"], 0.0)
        reached = self._in_units(columns["reward"] + self.options.gamma * following)
        return reached - predicted["value"]

    def _weights(self, advantage: Tensor) -> Tensor:
        """Of rows by their advantages; in training the normaliser learns of them first."""
        options = self.options
        moment, count = self._moment, self._count
        if self.training or not count:
            count += 1
            square = self.average(advantage.square().mean())
            moment, normal = normaliser(moment, count, square, options.normaliser_rate)
        else:
            normal = moment / (1 - (1 - options.normaliser_rate) ** count)
        if self.training:
            self._moment, self._count = moment, count
        return advantage_weights(advantage, normal, options.beta, options.weight_max)

    def learning_state(self) -> dict[str, Any]:
        """The normaliser."""
        return {"moment": self._moment, "count": self._count}

    def set_learning_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `learning_state`."""
        self._moment, self._count = state["moment"], state["count"]
