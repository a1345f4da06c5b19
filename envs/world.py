"""The contract of a world: users and documents as pure functions on tensors."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from envs.history import Term
from envs.noise import Draws
from envs.spec import FeatureSpec

State = dict[str, Tensor]


class Outcome(NamedTuple):
    """What one step of a world gives.

    Attributes:
        state: of the users afterwards.
        response: to each shown document, (B, K, R).
        reward: (B,).
        terminated: (B,) bool, whether the user has left.
    """

    state: State
    response: Tensor
    reward: Tensor
    terminated: Tensor


@dataclass(frozen=True)
class Insight:
    """What a world may tell people, not agents, under names that people read.

    Attributes:
        users: numbers of each user, (B,) each.
        items: numbers of each candidate, (B, N) each.
        tension: names of what attracts at once and of what decides the rest of the
            session, among the items and users; `None` where a world has no such pair.
        topic: what kind of document each candidate is, (B, N) int64.
        topic_kind: what such a kind is called, as in "genre".
        topic_names: of every kind, in the order in which they are drawn.
    """

    users: Mapping[str, Tensor] = field(default_factory=dict)
    items: Mapping[str, Tensor] = field(default_factory=dict)
    tension: tuple[str, str] | None = None
    topic: Tensor | None = None
    topic_kind: str = "topic"
    topic_names: tuple[str, ...] = ()


class World(abc.ABC):
    """Users and documents as pure functions; parameters are attributes.

    A subclass sets `spec`, `num_candidates`, `slate_size`, the name of its reward
    function and, where a session may last for ever, `time_limit` in steps.
    """

    spec: FeatureSpec
    num_candidates: int
    slate_size: int
    time_limit: int | None = None
    reward_name: ClassVar[str]
    default_history: ClassVar[tuple[Term, ...]] = ()

    @abc.abstractmethod
    def new_users(self, draws: Draws, dtype: torch.dtype, device: torch.device) -> State:
        """States of fresh users, without candidates: entries whose first axis is B."""

    @abc.abstractmethod
    def new_candidates(self, state: State, draws: Draws) -> State:
        """The candidates for the coming step, as entries to put into the state.

        They are drawn anew before every step; `state` holds what `new_users` and
        `transition` give.
        """

    @abc.abstractmethod
    def transition(self, state: State, slate: Tensor, draws: Draws) -> Outcome:
        """The user's reaction to a slate of candidate positions, (B, K) int64.

        Gives a state with the entries that `new_users` gives, and writes into
        no tensor of the state it got: observations may share them.
        """

    @abc.abstractmethod
    def observe(self, state: State) -> tuple[Tensor, Tensor]:
        """User features (B, U) and candidate features (B, N, D)."""

    def insight(self, state: State) -> Insight | None:
        """What reports may show of a state with candidates; agents never see it.

        `None` leaves reports to what is observed.
        """
        return None

    def metrics(self, response: Tensor) -> dict[str, Tensor]:
        """Numbers to report a step, (B,) each, by response feature of the clicked document."""
        return consumed(self.spec, response)


def consumed(spec: FeatureSpec, response: Tensor) -> dict[str, Tensor]:
    """Single-column response features summed over clicked documents, (B,) each."""
    click = response[..., spec.response_slice("click")].squeeze(-1)
    return {
        feature.name: (click * response[..., spec.response_slice(feature.name)].squeeze(-1)).sum(1)
        for feature in spec.response
        if feature.size == 1
    }


def check_sizes(num_candidates: int, slate_size: int) -> None:
    """Refuse worlds that cannot fill a slate."""
    for name, value in (("num_candidates", num_candidates), ("slate_size", slate_size)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if slate_size > num_candidates:
        raise ValueError(
            f"slate_size is {slate_size}, but only {num_candidates} candidates are offered; "
            "lower slate_size or raise num_candidates"
        )
