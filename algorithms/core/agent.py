"""What an algorithm learns, as a torch module that knows nothing of Ray.

The same object acts in training (inside an RLModule), in evaluation and in a
server (inside a portable policy), so all three recommend the same slates.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from algorithms.core.fragment import Fragment
from algorithms.core.gaussian import DiagonalGaussian
from algorithms.core.slates import SlateDistribution
from envs.history import History
from envs.simulator import Observation, Simulator
from envs.spec import Actions, FeatureSpec

ActionDistribution = SlateDistribution | DiagonalGaussian
_ACTIONS: dict[Actions, str] = {
    "slate": "picks among candidates (discrete actions)",
    "box": "makes numbers itself (a box of continuous actions)",
}


@dataclass(frozen=True)
class Exploration:
    """How far a policy departs from its best slate.

    Attributes:
        epsilon: probability that a slot is filled uniformly at random.
        temperature: of the softmax over log-weights; 0 takes the best slate.
    """

    epsilon: float = 0.0
    temperature: float = 0.0


class Decision(NamedTuple):
    """What an agent makes of a batch of observations.

    Attributes:
        log_weights: of each candidate, (B, N), for the slate distribution; the means,
            (B, A), where actions are made.
        best: the slate it would show without exploring, (B, K), or `None`
            where the candidates in order of their log-weights are that slate.
        extras: whatever the learner wants back for a step that was acted on, (B, ...) each.
    """

    log_weights: Tensor
    best: Tensor | None
    extras: dict[str, Tensor]


class Agent(nn.Module, abc.ABC):
    """An algorithm's network and its way of choosing slates.

    Attributes:
        name: the algorithm's.
        spec: features of users, candidates and responses.
        history: what it remembers of a session.
        slate_size: K.
        settings: everything else that is needed to build it again, as plain data.
        actions: what it can act on, as `FeatureSpec.actions` says of a world.
        absorbs: whether it learns by `absorb`, and not by gradient steps on `loss`.
        needs_target: whether learning bootstraps from an older copy of the weights.
        fixed_exploration: the one way it acts, for agents that have no best slate.
    """

    name: ClassVar[str]
    actions: ClassVar[tuple[Actions, ...]] = ("slate",)
    absorbs: ClassVar[bool] = False
    needs_target: bool = False
    fixed_exploration: ClassVar[Exploration | None] = None

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build with fresh weights.

        Raises:
            ValueError: the world's actions are of a kind that the agent cannot take.
        """
        super().__init__()
        if spec.actions not in self.actions:
            raise ValueError(
                f"{self.name} {' or '.join(_ACTIONS[kind] for kind in self.actions)}, but in this "
                f"environment an agent {_ACTIONS[spec.actions]}; choose another algorithm or "
                "another environment"
            )
        self.spec, self.history, self.slate_size = spec, history, slate_size
        self.settings = dict(settings)

    def check_world(self, observation: Observation) -> None:
        """Refuse a world that the agent could be built for but not act or learn in.

        Args:
            observation: any of that world.

        Raises:
            ValueError: says what is wrong, and what to do.
        """

    @abc.abstractmethod
    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """Rank the candidates of a batch of observations."""

    def exploit(self, observation: Observation, slate_size: int) -> Decision:
        """The same for a policy that is asked for its best slates, and learns nothing from them.

        By default as `decide`, whose best slate is without exploration. Agents
        that explore by what they rank, not by departing from it, rank otherwise.
        """
        return self.decide(observation, slate_size)

    def learn_columns(self, fragment: Fragment) -> dict[str, Tensor]:
        """What the learner needs of a fragment, rows first, (rows, ...) each."""
        raise TypeError(f"{self.name} does not learn")

    def predict(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs with gradients for rows of `learn_columns`."""
        raise TypeError(f"{self.name} does not learn")

    def loss(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], target: Agent | None
    ) -> dict[str, Tensor]:
        """What to minimise, as `loss`, with other scalars to report."""
        raise TypeError(f"{self.name} does not learn")

    def absorb(self, columns: dict[str, Tensor]) -> dict[str, float]:
        """Learn from rows of `learn_columns` at once; returns numbers to report.

        What acting needs belongs into parameters and buffers (of any dtype,
        shapes fixed), what only learning needs into `learning_state`.
        """
        raise TypeError(f"{self.name} learns by gradient steps")

    def learning_state(self) -> dict[str, Any]:
        """What `absorb` needs besides the weights to continue with the same numbers."""
        return {}

    def set_learning_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `learning_state`."""

    def distribution(
        self,
        observation: Observation,
        exploration: Exploration,
        slate_size: int | None = None,
    ) -> ActionDistribution:
        """The distribution that the agent acts from."""
        size = self.slate_size if slate_size is None else slate_size
        return self.distribution_of(self.decide(observation, size), observation, exploration, size)

    def distribution_of(
        self,
        decision: Decision,
        observation: Observation,
        exploration: Exploration,
        slate_size: int,
    ) -> ActionDistribution:
        """The same, of a decision that is already made: over slates by default."""
        return slate_distribution(decision, observation, exploration, slate_size)


def check_agent(
    agent_class: type[Agent], simulator: Simulator, settings: Mapping[str, Any]
) -> None:
    """Refuse an agent that could not be built for a world, or not act or learn there.

    Starts fresh sessions; the global random numbers stay as they are.

    Raises:
        ValueError: says what is wrong.
    """
    with torch.random.fork_rng(devices=[]):
        agent = agent_class(simulator.spec, simulator.history, simulator.slate_size, settings)
    agent.check_world(simulator.reset())


def slate_distribution(
    decision: Decision, observation: Observation, exploration: Exploration, slate_size: int
) -> SlateDistribution:
    """Turn a decision into the one family of distributions over slates."""
    return SlateDistribution(
        log_weights=decision.log_weights,
        mask=observation.mask,
        slate_size=slate_size,
        epsilon=exploration.epsilon,
        temperature=exploration.temperature,
        greedy=decision.best,
    )
