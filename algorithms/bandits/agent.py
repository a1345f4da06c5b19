"""What all bandits share: rows of feedback, and updates from sufficient statistics."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from algorithms.bandits.settings import BanditSettings
from algorithms.bandits.statistics import Statistics
from algorithms.core.agent import Agent, Decision
from algorithms.core.fragment import Fragment
from algorithms.core.rows import of_candidates
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec


class Shown(NamedTuple):
    """Items that were shown and what came back, n rows.

    Attributes:
        user: features of the user, (n, U).
        item: features of the item, (n, D).
        history: of the session before it was shown, (n, H).
        feedback: (n,).
    """

    user: Tensor
    item: Tensor
    history: Tensor
    feedback: Tensor


class BanditAgent(Agent):
    """Learns in closed form: `summarise` rows, anywhere and in any parts, then `absorb` them.

    The model after `absorb` depends on which rows arrived, not on their order
    or their partition, and with a discount or a window on the round of arrival.

    Attributes:
        options: the settings, checked.
    """

    absorbs = True
    settings_class: ClassVar[type[BanditSettings]]
    salt: Tensor
    version: Tensor

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build without having seen anything."""
        super().__init__(spec, history, slate_size, settings)
        self.options: Any = self.settings_class(**settings)
        self._late: list[dict[str, Tensor]] = []
        # Posterior draws are addressed by both, so that they need no generator's state.
        self.register_buffer("salt", torch.randint(2**62, ()))
        self.register_buffer("version", torch.zeros((), dtype=torch.int64))

    def learn_columns(self, fragment: Fragment) -> dict[str, Tensor]:
        """The fragment's rows, summarised."""
        return self.summarise(self.shown(fragment))

    def shown(self, fragment: Fragment) -> Shown:
        """A row for every item shown, step by step, user by user, slot by slot."""
        slates = fragment.slates
        slots = slates.shape[2]
        feedback = self._feedback(fragment, slots)
        return Shown(
            fragment.observed("user").flatten(0, 1).repeat_interleave(slots, dim=0),
            of_candidates(fragment, slates).flatten(0, 1),
            fragment.observed("history").flatten(0, 1).repeat_interleave(slots, dim=0),
            feedback.flatten(),
        )

    def _feedback(self, fragment: Fragment, slots: int) -> Tensor:
        """(T, B, K)."""
        reward = fragment.happened("reward")[..., None]
        if self.options.feedback == "reward" and slots == 1:
            return reward
        click = fragment.answered(self.spec.response_slice("click")).squeeze(-1)
        return click if self.options.feedback == "click" else reward * click

    @abc.abstractmethod
    def summarise(self, shown: Shown) -> dict[str, Tensor]:
        """What the model needs of rows, to be merged by `absorb`: parts first, (parts, ...).

        Raises:
            ValueError: rows that the model cannot take.
        """

    def absorb(self, columns: dict[str, Tensor]) -> dict[str, float]:
        """Learn from one round: columns of `summarise`, of all parts one after the other.

        Raises:
            ValueError: columns of another model, or numbers that are not
                finite; the model is as before. Or sums that the regression
                cannot be solved for, which are kept.
        """
        self._late.append(columns)
        if len(self._late) <= self.options.feedback_delay:
            return self.report()
        arrived = self._late.pop(0)
        self.learn(arrived)
        self.version += 1
        self.refresh()
        return self.report()

    @abc.abstractmethod
    def learn(self, columns: dict[str, Tensor]) -> None:
        """Merge the columns of a round into the statistics."""

    @abc.abstractmethod
    def refresh(self) -> None:
        """Work out of the statistics what acting needs."""

    @abc.abstractmethod
    def report(self) -> dict[str, float]:
        """Numbers of the model, always the same ones."""

    @property
    @abc.abstractmethod
    def seen(self) -> Statistics:
        """The sums that it learns from."""

    @abc.abstractmethod
    def expected(self, observation: Observation) -> Tensor:
        """Estimate of each candidate's feedback, (B, N), without anything for exploration."""

    def exploit(self, observation: Observation, slate_size: int) -> Decision:
        """Candidates by what they are expected to give.

        While learning, a bound adds a bonus to what is little known, and draws
        spread around the estimate. Both pay only if one learns from what comes
        back; a policy that is asked for its best slate earns most by the estimates.
        """
        return Decision(self.expected(observation), None, {})

    def generator(self) -> np.random.Generator:
        """For the posterior draws of this version of the model."""
        return np.random.default_rng([int(self.salt), int(self.version)])

    def learning_state(self) -> dict[str, Any]:
        """Feedback that has not arrived yet, and the rounds of a window."""
        late = [{name: value.cpu() for name, value in part.items()} for part in self._late]
        return {"late": late, "window": self.seen.learning_state()}

    def set_learning_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `learning_state`."""
        device = self.salt.device
        self._late = [
            {name: torch.as_tensor(value).to(device) for name, value in part.items()}
            for part in state["late"]
        ]
        self.seen.set_learning_state(state.get("window", {}))


def check_finite(feedback: Tensor) -> None:
    """Refuse feedback that would spoil every estimate.

    Raises:
        ValueError: says what and where.
    """
    wrong = (~feedback.isfinite()).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"feedback is {float(feedback[row])} in row {row} of {len(feedback)}; it must be "
            "finite, so mend or leave out such rows"
        )
