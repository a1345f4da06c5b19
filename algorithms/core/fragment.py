"""The unit of work: T steps of B users side by side."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.simulator import Observation, Transition

if TYPE_CHECKING:
    from algorithms.core.agent import ActionDistribution


class Step(NamedTuple):
    """One step of B users: what was seen, shown and answered.

    In worlds of box actions `slates` holds the numbers made, (B, A), and
    `slot_log_probs` the log-density of each; `distribution` is what they were drawn from.
    """

    observation: Observation
    slates: Tensor
    slot_log_probs: Tensor
    extras: dict[str, Tensor]
    transition: Transition
    distribution: ActionDistribution | None = None


@dataclass
class Fragment:
    """T steps of B users.

    Attributes:
        steps: in time order.
        last: the observation after the last step (of a new user where one finished).
        last_extras: what the agent made of it.
        final_extras: what the agent made of the last observation of sessions
            that the time limit ended, a dict a step; empty where it ended none.
        policy_version: number of updates behind the weights that acted.
    """

    steps: list[Step]
    last: Observation
    last_extras: dict[str, Tensor]
    final_extras: list[dict[str, Tensor]]
    policy_version: int = 0

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.steps)

    @property
    def num_users(self) -> int:
        """B."""
        return len(self.last.user)

    def observed(self, name: str) -> Tensor:
        """An observation field before each step, (T, B, ...)."""
        return torch.stack([getattr(step.observation, name) for step in self.steps])

    def happened(self, name: str) -> Tensor:
        """A transition field of each step, such as `reward`, (T, B, ...)."""
        return torch.stack([getattr(step.transition, name) for step in self.steps])

    def answered(self, columns: slice) -> Tensor:
        """Some columns of the responses, (T, B, K, columns), without copying the others."""
        return torch.stack([step.transition.response[..., columns] for step in self.steps])

    def extra(self, name: str) -> Tensor:
        """What the agent kept of each step under this name, (T, B, ...)."""
        return torch.stack([step.extras[name] for step in self.steps])

    @property
    def slates(self) -> Tensor:
        """(T, B, K)."""
        return torch.stack([step.slates for step in self.steps])

    @property
    def slot_log_probs(self) -> Tensor:
        """(T, B, K)."""
        return torch.stack([step.slot_log_probs for step in self.steps])


@dataclass
class SessionStatistics:
    """What a fragment says of how it went.

    Attributes:
        returns: of the sessions that ended in it, (F,), in the reward's unit.
        lengths: of the same sessions, (F,), in steps.
        means: a step of the reward, of each number that the world reports, and of
            `non_greedy`: whether the slate was another one than without exploring.
    """

    returns: NDArray[np.float32]
    lengths: NDArray[np.int64]
    means: dict[str, float] = field(default_factory=dict)


@dataclass
class Sample:
    """What a runner hands to the learner: columns ready for gradient steps.

    A plain object, because RLlib takes dicts and tuples apart.

    Attributes:
        columns: rows first, (rows, ...) each.
        steps: user-steps behind it.
        statistics: of the sessions played.
        cpu: CPU-seconds spent in simulating and in inference.
    """

    columns: dict[str, NDArray[np.generic] | Tensor]
    steps: int
    statistics: SessionStatistics
    cpu: dict[str, float] = field(default_factory=dict)

    def env_steps(self) -> int:
        """User-steps, by RLlib's name."""
        return self.steps

    def agent_steps(self) -> int:
        """User-steps, by RLlib's name."""
        return self.steps

    def to_numpy(self) -> Sample:
        """The same with numpy columns, which travel through the object store without a copy."""
        columns: dict[str, NDArray[np.generic] | Tensor] = {
            name: value.cpu().numpy() if isinstance(value, Tensor) else value
            for name, value in self.columns.items()
        }
        return Sample(columns, self.steps, self.statistics, self.cpu)


@dataclass(frozen=True)
class Failure:
    """What a remote runner hands over where playing raised.

    Raised there, it would look to RLlib like a runner that died, and the run
    would wait for a replacement that fails in the same way.

    Attributes:
        refused: the message of a ValueError, which says what is wrong with the input.
        trace: the traceback.
    """

    refused: str | None
    trace: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """While the error is being handled."""
        return cls(str(error) if isinstance(error, ValueError) else None, traceback.format_exc())

    def error(self) -> Exception:
        """The same error here."""
        if self.refused is not None:
            return ValueError(self.refused)
        return RuntimeError(f"playing failed on a worker:\n{self.trace}")
