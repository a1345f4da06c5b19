"""The policy to judge, as it would have acted in the rows of a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from algorithms.core.agent import Exploration
from algorithms.core.slates import SlateDistribution, uniform
from algorithms.policy import Policy, baseline
from envs.history import History
from envs.simulator import Observation
from offline.learning.history import remember
from offline.log import Header, LogError, Rows
from offline.log.rows import Array
from offline.observed import SEEN, observation

NEEDED = (*SEEN, "slate", "pinned")
"""Columns of the log that a target looks at."""

Acting = list[tuple[Array, SlateDistribution]]
"""Numbers of rows, (b,), and what their slates would have been drawn from; together all rows."""


@dataclass(frozen=True)
class Target:
    """A policy, and how it acts.

    Attributes:
        name: as it was given.
        policy: loaded.
        exploration: how far it departs from its best slates.
        remembers: whether the log's column `history` is what the policy remembers of a
            session; else that is computed anew.
        any_size: whether it shows slates of any size, as baselines do.
        explores: whether it may also explore by what it ranks, as some bandits do.
    """

    name: str
    policy: Policy
    exploration: Exploration
    remembers: bool
    any_size: bool = False
    explores: bool = True

    @property
    def acting(self) -> str:
        """How it acts, in words."""
        chosen = self.exploration
        if not chosen.epsilon and not chosen.temperature:
            return "greedy"
        return f"epsilon {chosen.epsilon:g}, temperature {chosen.temperature:g}"

    def without_exploration(self) -> Target:
        """The same policy with its best slates; unchanged where it has a way of its own."""
        return replace(self, exploration=self.policy.acting(explore=False), explores=False)

    def observation(self, rows: Rows) -> Observation:
        """What it would have seen, of rows of sessions from their first step on."""
        return observation(rows if self.remembers else remember(rows, self.policy.history))

    def distributions(
        self, seen: Observation, rows: Rows
    ) -> Iterator[tuple[Array, SlateDistribution]]:
        """What its slates would have been drawn from, under the log's eligibility and pins.

        Yields:
            Numbers of rows, (b,), and their distribution in float64; rows with as many
            slots stand together.

        Raises:
            LogError: slates of another size than the policy's.
        """
        slots = (rows["slate"] >= 0).sum(axis=1)
        for size in np.unique(slots).tolist():
            if not self.any_size and size != self.policy.slate_size:
                raise LogError(
                    f"'{self.name}' shows slates of {self.policy.slate_size}, but the log has "
                    f"slates of {size}; judge a policy of that slate size"
                )
            index = np.flatnonzero(slots == size)
            every = len(index) == len(rows)
            part = seen if every else _some(seen, index)
            pinned = torch.from_numpy(rows["pinned"][index][:, :size])
            yield index, self.distribution(part, size, pinned)

    @torch.no_grad()
    def distribution(self, seen: Observation, size: int, pinned: Tensor) -> SlateDistribution:
        """The same for rows with one number of slots.

        Args:
            seen: (B, ...).
            size: K.
            pinned: (B, K), -1 where the slot is free.
        """
        agent = self.policy.agent
        decision = (agent.decide if self.explores else agent.exploit)(seen, size)
        found = agent.distribution_of(decision, seen, self.exploration, size)
        if not isinstance(found, SlateDistribution):
            raise LogError(f"'{self.name}' makes items itself; judge one that shows slates")
        return replace(
            found,
            log_weights=found.log_weights.double(),
            pinned=pinned if bool((pinned >= 0).any()) else None,
        )


def _some(seen: Observation, index: Array) -> Observation:
    return seen.map(lambda column: column[index])


def load_target(
    name: str,
    header: Header,
    slate_size: int,
    epsilon: float | None = None,
    temperature: float | None = None,
) -> Target:
    """The policy of a run folder, a policy folder or a baseline, to be judged by a log.

    Args:
        name: of the folder or the baseline.
        header: of the log.
        slate_size: of the log's slates, for baselines.
        epsilon: instead of the policy's own.
        temperature: instead of the policy's own.

    Raises:
        ValueError: it does not fit the log, or cannot explore so.
    """
    from algorithms.evaluate import load

    found = load(name)
    history = header.history or History(header.spec, ())
    policy = found or baseline(name, header.spec, history, slate_size)
    return target_of(policy, header, name, epsilon, temperature, any_size=found is None)


def target_of(
    policy: Policy,
    header: Header,
    name: str | None = None,
    epsilon: float | None = None,
    temperature: float | None = None,
    *,
    any_size: bool = False,
) -> Target:
    """A policy that is already loaded; see `load_target`."""
    called = name or policy.algorithm
    _check_features(called, policy, header)
    logged = None if header.history is None else header.history.version
    remembers = logged == policy.history.version
    exploration = _explored(called, policy, epsilon, temperature)
    return Target(called, policy, exploration, remembers, any_size)


def _check_features(name: str, policy: Policy, header: Header) -> None:
    for group in ("user", "candidate", "response"):
        expected, found = _sizes(policy.spec, group), _sizes(header.spec, group)
        if expected != found:
            raise LogError(
                f"'{name}' expects the {group} features {_words(expected)}, but the log has "
                f"{_words(found)}; judge it by a log with its features"
            )


def _sizes(spec: Any, group: str) -> list[tuple[str, int]]:
    return [(feature.name, feature.size) for feature in getattr(spec, group)]


def _words(features: list[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({size})" for name, size in features)


def _explored(
    name: str, policy: Policy, epsilon: float | None, temperature: float | None
) -> Exploration:
    own = policy.acting(explore=True)
    given: Mapping[str, float] = {
        key: value
        for key, value in (("epsilon", epsilon), ("temperature", temperature))
        if value is not None
    }
    if not given:
        return own
    if policy.agent.fixed_exploration is not None:
        raise LogError(
            f"'{name}' always explores in its own way; leave --epsilon and --temperature out"
        )
    chosen = replace(own, **given)
    # Refuses what is no probability or no temperature.
    replace(uniform(torch.ones((1, 1), dtype=torch.bool), 1), **asdict(chosen))
    return chosen
