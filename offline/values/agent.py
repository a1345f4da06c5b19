"""Learning values from windows of logged rows, whatever is valued."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms.core.agent import Agent, Decision
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec
from offline.learning.agent import OfflineAgent
from offline.learning.settings import LearnerSettings
from offline.log import LogError, Rows
from offline.values.returns import corrected_returns
from offline.values.settings import OfflineValueSettings
from offline.values.windows import session_ends, windows

_SEEN = ("user", "history", "candidates", "mask", "slate")


class Valued(NamedTuple):
    """What the target network makes of logged rows.

    Attributes:
        value: of the best slate, (B,).
        chosen_value: of what was chosen, (B,).
        keep: how far returns follow the log here, from 0 to 1, (B,).
    """

    value: Tensor
    chosen_value: Tensor
    keep: Tensor


class OfflineValueAgent(OfflineAgent):
    """An online value learner that learns from a log.

    Rows are windows, (W, T + 1, ...): T consecutive rows of the log and what was seen in
    the one after. The loss is, over the T rows, with q of the trained network in units of
    `value_scale` and G of the target network:

        mean((q(s, chosen) - G / value_scale)^2) + penalty * mean(gap)

    with `offline.values.returns.corrected_returns` as G and
    `offline.values.penalty.conservative_gap` as the gap. Eligibility counts in the best
    slates; pins do not: an item that was fixed from outside is taken as one of ours.

    Attributes:
        online: the ordinary agent that is trained, acts and is exported.
    """

    reads: ClassVar[tuple[str, ...]] = (*_SEEN, "response", "reward", "terminated", "step")
    options_class: ClassVar[type[LearnerSettings]] = OfflineValueSettings
    needs_target = True
    options: OfflineValueSettings

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build with fresh weights."""
        super().__init__(spec, history, slate_size, settings)
        self.online = self.make_online()
        self.together = self.options.window

    @abc.abstractmethod
    def make_online(self) -> Agent:
        """The ordinary agent, with fresh weights."""

    @abc.abstractmethod
    def chosen(self, columns: dict[str, Tensor]) -> Tensor:
        """Position of the candidate that was chosen, -1 for none, (rows,) int64.

        Raises:
            LogError: the log's answers are of a kind that this learner does not know.
        """

    @abc.abstractmethod
    def valued(self, columns: dict[str, Tensor]) -> Valued:
        """Values of logged rows, (B, ...) columns, and how far to follow them."""

    @abc.abstractmethod
    def predict(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs with gradients of windows' first T rows, (W * T, ...).

        `chosen_value`; `gap` where there is a penalty; `further`, a mean loss to add, if any.
        """

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """As the exported agent."""
        return self.online.decide(observation, slate_size)

    def log_columns(self, rows: Rows) -> dict[str, Tensor]:
        """Windows of rows; see the class.

        Raises:
            LogError: a row offers too few candidates to fill a slate, or answers that the
                learner does not know.
        """
        given = rows.tensors(self.reads)
        eligible = given["mask"].sum(1)
        if len(rows) and int(eligible.min()) < self.slate_size:
            raise LogError(
                f"a row offers {int(eligible.min())} eligible candidates, but the slates of this "
                f"log have {self.slate_size} items; leave such rows' sessions out, or learn from "
                "logs with smaller slates apart"
            )
        position = self.chosen(given)
        cut_up = windows(rows["terminated"], session_ends(rows), self.options.window)
        seen = {name: given[name] for name in _SEEN}
        first = cut_up.numbers[:, :-1]
        return {
            **{name: value[cut_up.numbers] for name, value in seen.items()},
            "position": position[cut_up.numbers],
            "reward": given["reward"][first],
            "terminated": given["terminated"][first],
            "cut": cut_up.cut,
            "learned": cut_up.learned,
        }

    def loss(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], target: Agent | None
    ) -> dict[str, Tensor]:
        """Squared error to the corrected returns, and the penalty."""
        assert isinstance(target, OfflineValueAgent)
        options, learned = self.options, columns["learned"].flatten()
        goal = target.returns(columns)
        error = (predicted["chosen_value"] - goal) / options.value_scale
        terms = {
            "td_loss": error.square().masked_fill(~learned, 0.0).mean(),
            "value": predicted["chosen_value"].mean(),
        }
        loss = terms["td_loss"]
        if options.penalty:
            terms["gap"] = predicted["gap"].masked_fill(~learned, 0.0).mean()
            loss = loss + options.penalty * terms["gap"]
        if "further" in predicted:
            terms["further_loss"] = predicted["further"]
            loss = loss + terms["further_loss"]
        return {**terms, "loss": loss}

    @torch.no_grad()
    def returns(self, columns: dict[str, Tensor]) -> Tensor:
        """Targets of the windows' first T rows, (W * T,), by this network's values."""
        number, length = columns["reward"].shape
        names = (*_SEEN, "position")
        found = self.valued({name: columns[name].flatten(0, 1) for name in names})
        value, chosen_value, keep = (part.view(number, length + 1).t() for part in found)
        targets = corrected_returns(
            columns["reward"].t(),
            columns["terminated"].t(),
            columns["cut"].t(),
            value[1:],
            chosen_value[:-1],
            self.options.lambda_ * keep[:-1],
            discount=self.options.gamma,
        )
        return targets.t().flatten()

    def update_target(self, target: Agent, updates: int) -> None:
        """Copy the weights, or move towards them, every `target_period` updates."""
        if updates % self.options.target_period:
            return
        for old, new in zip(target.parameters(), self.parameters(), strict=True):
            old.lerp_(new, self.options.target_rate)

    def adopt(self, other: Agent) -> None:
        """Begin with the weights of a policy of the same algorithm, learned online or not.

        Raises:
            ValueError: it is of another kind.
        """
        if type(other) is not type(self.online):
            raise ValueError(f"it is a policy of {other.name}, not of {self.online.name}")
        self.online.load_state_dict(other.state_dict())

    def export(self) -> Agent:
        """The ordinary agent."""
        return self.online


def observed(columns: dict[str, Tensor]) -> Observation:
    """Rows as an agent sees them; of the last response nothing but the history is kept."""
    nothing = columns["user"].new_zeros(0)
    return Observation(
        columns["user"],
        columns["candidates"],
        columns["mask"],
        nothing,
        nothing,
        columns["history"],
    )


def acted(columns: dict[str, Tensor], *names: str) -> list[Tensor]:
    """Columns of the windows' first T rows, (W * T, ...) each."""
    length = columns["reward"].shape[1]
    return [columns[name][:, :length].flatten(0, 1) for name in names]
