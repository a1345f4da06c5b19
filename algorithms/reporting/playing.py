"""Plays policies with the same users and keeps what happened at every step.

Shapes: T steps of the longest session, U users, K slots of a slate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from algorithms.core.slates import SlateDistribution
from algorithms.environment import World
from algorithms.evaluation import (
    CHUNK,
    EvaluationResult,
    PlayedStep,
    check_fit,
    one_thread,
    steps_of_sessions,
)
from algorithms.policy import Policy
from algorithms.reporting.observed import observed
from envs.registry import make_simulator
from envs.simulator import Simulator
from envs.world import Insight

Array = NDArray[Any]

_EXACT_SLATES = 1000
"""Up to so many ordered slates the entropy is exact, beyond an estimate."""
_SAMPLES = 4


@dataclass(frozen=True)
class Playback:
    """Sessions of one policy, one a user; entries after a session's end mean nothing.

    Attributes:
        result: what each user came to.
        playing: whose session was not over before a step, (T, U) bool.
        reward: (T, U).
        click: whether each slot was consumed, (T, U, K) bool.
        shown: numbers of what was shown, (T, U, K) each.
        offered: their means over all candidates, (T, U) each.
        users: numbers of the users before a step, (T, U) each.
        topic: kinds of what was shown, (T, U, K), or `None`.
        topic_kind: what such a kind is called.
        topic_names: of each kind.
        tension: names of what attracts at once and of what decides the rest.
        spread: entropy of the slates when acting as in training, over that of uniformly
            random slates, (T, U); `None` where actions are made or there is one slate.
        slates: whether slates were shown; otherwise actions were made, and stand in `shown`.
    """

    result: EvaluationResult
    playing: Array
    reward: Array
    click: Array
    shown: dict[str, Array]
    offered: dict[str, Array]
    users: dict[str, Array]
    topic: Array | None
    topic_kind: str
    topic_names: tuple[str, ...]
    tension: tuple[str, str] | None
    spread: Array | None
    slates: bool

    @property
    def steps(self) -> int:
        """T."""
        return len(self.playing)


def play_sessions(
    policy: Policy,
    world: World,
    users: int,
    seed: int,
    tick: Callable[[], None] = lambda: None,
) -> Playback:
    """Play fresh sessions with a policy's best slates, one a user.

    The users, their luck and the policy's own draws are those of `evaluate_policy`.

    Args:
        policy: what acts.
        world: arguments of `envs.registry.make_simulator`; the history is the policy's.
        users: how many, numbered from 0.
        seed: of their luck.
        tick: called at every step; may raise to stop.

    Raises:
        ValueError: the policy does not fit the world.
    """
    check_fit(policy, make_simulator(num_users=1, **{**world, "history": []}))
    world = {**world, "history": policy.history.to_json()}
    # Some agents draw from torch's global numbers; what plays first must not matter.
    with one_thread(), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        parts = [
            _chunk(policy, world, first, min(CHUNK, users - first), seed, tick)
            for first in range(0, users, CHUNK)
        ]
    return _joined(parts, str(world.get("backend", "torch")))


@dataclass(frozen=True)
class _Part:
    """Sessions of users side by side."""

    columns: dict[str, Array]
    totals: dict[str, Array]
    told: Insight
    slates: bool


def _chunk(
    policy: Policy, world: World, first: int, count: int, seed: int, tick: Callable[[], None]
) -> _Part:
    simulator = make_simulator(num_users=count, seed=seed, replace=False, **world)
    kept: dict[str, list[Array]] = {}
    totals: dict[str, Array] = {}
    told = Insight()
    slates = simulator.spec.actions == "slate"
    for step in steps_of_sessions(policy, simulator, first, seed, explore=False, insight=True):
        tick()
        told = step.insight or observed(simulator.spec, step.observation)
        for name, values in _columns(policy, simulator, step, told).items():
            kept.setdefault(name, []).append(values.cpu().numpy())
        for name, value in simulator.metrics(step.transition.response).items():
            total = (value * step.playing).double().cpu().numpy()
            totals[name] = totals.get(name, np.zeros(count)) + total
    return _Part({name: np.stack(values) for name, values in kept.items()}, totals, told, slates)


def _columns(
    policy: Policy, simulator: Simulator, step: PlayedStep, told: Insight
) -> dict[str, Tensor]:
    """What is kept of a step, by name and kind of number."""
    click = simulator.spec.response_slice("click")
    found = {
        "playing": step.playing,
        "reward": step.transition.reward.double(),
        "click": step.transition.response[..., click].squeeze(-1) > 0,
    }
    found |= {f"users/{name}": value.float() for name, value in told.users.items()}
    slates = step.recommended.slates
    if simulator.spec.actions != "slate":
        columns = zip(simulator.spec.candidate, slates.unbind(1), strict=True)
        return found | {f"shown/{feature.name}": value[:, None] for feature, value in columns}
    for name, value in told.items.items():
        found[f"shown/{name}"] = value.gather(1, slates).float()
        found[f"offered/{name}"] = value.float().mean(dim=1)
    if told.topic is not None:
        found["topic"] = told.topic.gather(1, slates)
    spread = _spread(policy, step)
    return found if spread is None else {**found, "spread": spread}


def _spread(policy: Policy, step: PlayedStep) -> Tensor | None:
    """Entropy of the slates that training would draw from, over the largest there is, (B,)."""
    distribution = policy.distribution(
        step.observation, slate_size=step.recommended.slates.shape[1]
    )
    assert isinstance(distribution, SlateDistribution)
    largest = distribution.remaining.double().log().sum(dim=1)
    if not bool((largest > 0).any()):
        return None
    closed = distribution.temperature == 0 or distribution.epsilon == 1
    if closed or float(largest.max()) <= math.log(_EXACT_SLATES):
        entropy = distribution.entropy()
    else:
        generator = torch.Generator(distribution.mask.device).manual_seed(0)
        entropy = distribution.estimate_entropy(_SAMPLES, generator)
    return (entropy.double() / largest.clamp_min(1e-12)).float()


def _joined(parts: Sequence[_Part], backend: str) -> Playback:
    steps = max(len(part.columns["playing"]) for part in parts)
    columns = {
        name: np.concatenate([_padded(part.columns[name], steps) for part in parts], axis=1)
        for name in parts[0].columns
    }
    playing, told = columns["playing"], parts[0].told
    totals = {
        name: np.concatenate([part.totals[name] for part in parts]) for name in parts[0].totals
    }
    returns = (columns["reward"] * playing).sum(axis=0)
    return Playback(
        EvaluationResult(returns, playing.sum(axis=0).astype(float), totals, backend),
        playing,
        columns["reward"],
        columns["click"],
        _named(columns, "shown/"),
        _named(columns, "offered/"),
        _named(columns, "users/"),
        columns.get("topic"),
        told.topic_kind,
        told.topic_names,
        told.tension,
        columns.get("spread"),
        parts[0].slates,
    )


def _padded(values: Array, steps: int) -> Array:
    """Zeros behind the steps of a part, up to those of the longest one."""
    return np.pad(values, [(0, steps - len(values)), *([(0, 0)] * (values.ndim - 1))])


def _named(columns: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): values
        for name, values in columns.items()
        if name.startswith(prefix)
    }
