"""What an offline learner is: an agent that makes its rows from logged sessions."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from algorithms.core.agent import Agent, Exploration
from envs.history import History
from envs.spec import FeatureSpec
from offline.learning.settings import LearnerSettings

if TYPE_CHECKING:
    from offline.log import Rows


def as_it_is(value: Tensor) -> Tensor:
    """The mean over learners where there is one."""
    return value


class OfflineAgent(Agent):
    """An agent that learns from logged sessions.

    `predict` and `loss` are called with minibatches of what `log_columns` made: rows
    drawn at random from all those whose column `drawn`, if there is one, is True.

    Attributes:
        options: settings, checked.
        options_class: of those.
        reads: columns of the log that `log_columns` looks at.
        follows: columns of which a minibatch also holds the following row's, as
            `next_` and their name. The last row of all is followed by itself, so whether
            a row has a next one in its session is for the agent to say in a column.
        together: rows of the log that each row of `log_columns` stands for, in reports.
        average: mean over all learners of a number that each computes for its part of
            a minibatch; as it is where one learns. For statistics that `loss` keeps.
    """

    options_class: ClassVar[type[LearnerSettings]]
    reads: ClassVar[tuple[str, ...]]
    follows: tuple[str, ...] = ()
    together: int = 1
    options: LearnerSettings

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Check the settings; subclasses build their networks."""
        super().__init__(spec, history, slate_size, settings)
        self.options = self.options_class(**settings)
        self.average: Callable[[Tensor], Tensor] = as_it_is

    @property
    def exploration(self) -> Exploration:
        """How the exported policy explores where it does."""
        return Exploration(self.options.epsilon, self.options.temperature)

    @abc.abstractmethod
    def log_columns(self, rows: Rows) -> dict[str, Tensor]:
        """What is learned from, rows first, (rows, ...) each; called once for each row.

        Args:
            rows: whole sessions, a session's rows one after the other; the last ones of
                a log may not have ended. Rows may be left out.

        Raises:
            LogError: the log lacks what this learner needs.
        """

    def update_target(self, target: Agent, updates: int) -> None:
        """Bring the target network up to date after a gradient step.

        Only called where `needs_target`.

        Args:
            target: the older copy of the weights.
            updates: gradient steps so far, from 1.
        """

    def adopt(self, other: Agent) -> None:
        """Begin with another agent's weights.

        Raises:
            ValueError: they are of another kind.
        """
        if type(other) is not type(self):
            raise ValueError(f"it is a policy of {other.name}, not of {self.name}")
        self.load_state_dict(other.state_dict())

    def export(self) -> Agent:
        """What acts in the exported policy."""
        return self
