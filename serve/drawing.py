"""From requests to slates: one decision for requests of one shape, then draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from algorithms.core.agent import Exploration
from algorithms.core.slates import SlateDistribution
from algorithms.policy import Policy
from envs.simulator import Observation
from serve.asking import Asked, Positions
from serve.safe import Safe
from serve.token import Floats


class NotFinite(ValueError):
    """Scores or probabilities that are not finite."""


class Impossible(ValueError):
    """A slate that the request does not allow; the policy is at fault."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A slate and what it was drawn from.

    Attributes:
        slate: positions, (K,).
        slots: log-probability of each slot given the earlier ones, (K,).
        log_weights: (N,), finite; 0 where not eligible.
        epsilon: of the distribution.
        temperature: of the distribution.
        greedy: the optimiser's slate, (K,), or `None`.
        explored: slots that show another item than without exploration.
    """

    slate: Positions
    slots: Floats
    log_weights: Floats
    epsilon: float
    temperature: float
    greedy: Positions | None
    explored: int


def observe(
    asked: Sequence[Asked], histories: Sequence[Floats], fresh: Sequence[bool]
) -> Observation:
    """What a policy sees of requests of one shape.

    Args:
        asked: all with N candidates and, where they continue a session, K' slots before.
        histories: the state to act on of each, (H,).
        fresh: whether a request begins a session.
    """
    width = asked[0].response
    shape = (asked[0].slate_size, 0) if width is None else width.shape
    responses = [
        np.zeros(shape, np.float32) if new or one.response is None else one.response
        for one, new in zip(asked, fresh, strict=True)
    ]
    return Observation(
        _stack([one.user for one in asked]),
        _stack([one.offer.features for one in asked]),
        _stack([one.mask for one in asked]),
        _stack(responses),
        torch.tensor([[0.0 if new else 1.0] for new in fresh]),
        _stack(histories),
    )


def _stack(rows: Sequence[np.ndarray]) -> Tensor:
    # A request on its own is the usual case, and needs no copy.
    return torch.from_numpy(rows[0][None] if len(rows) == 1 else np.stack(rows))


def pins_of(asked: Sequence[Asked]) -> Tensor | None:
    """Positions pinned, (B, K), `None` where nobody pins."""
    if all(one.pinned is None for one in asked):
        return None
    free = np.full(asked[0].slate_size, -1, np.int64)
    return _stack([free if one.pinned is None else one.pinned for one in asked])


@torch.no_grad()
def decide(policy: Policy, seen: Observation, asked: Sequence[Asked]) -> SlateDistribution:
    """What a policy's slates are drawn from, for requests with one K and one epsilon.

    Raises:
        NotFinite: a score is not.
    """
    size, stated = asked[0].slate_size, policy.acting(True)
    exploration = Exploration(max(stated.epsilon, asked[0].epsilon), stated.temperature)
    decision = policy.agent.decide(seen, size)
    found = policy.agent.distribution_of(decision, seen, exploration, size)
    assert isinstance(found, SlateDistribution)
    weights = found.log_weights
    if not weights.isfinite().all():
        if not weights[seen.mask].isfinite().all():
            raise NotFinite
    # What is not eligible is not drawn, and the log holds finite numbers only.
    weights = weights.masked_fill(~seen.mask, 0.0)
    return replace(found, log_weights=weights, pinned=pins_of(asked))


def part(distribution: SlateDistribution, rows: list[int]) -> SlateDistribution:
    """Some rows of a distribution."""
    if len(rows) == len(distribution.mask):
        return distribution

    def of(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[rows]

    return replace(
        distribution,
        log_weights=distribution.log_weights[rows],
        mask=distribution.mask[rows],
        greedy=of(distribution.greedy),
        pinned=of(distribution.pinned),
    )


@torch.no_grad()
def draw(distribution: SlateDistribution, generator: torch.Generator) -> list[Drawn]:
    """One slate a row.

    Raises:
        NotFinite: a probability is not.
        Impossible: a slate shows what is not eligible, or an item twice.
    """
    drawn, log_probs = distribution.sample(generator)
    preferred = distribution.mode().numpy()
    slates, slots = drawn.numpy(), log_probs.to(torch.float32).numpy()
    if not np.isfinite(slots).all():
        raise NotFinite
    mask = distribution.mask.numpy()
    weights = distribution.log_weights.to(torch.float32).numpy()
    greedy = None if distribution.greedy is None else distribution.greedy.numpy()
    found = []
    for number, slate in enumerate(slates):
        if not mask[number][slate].all() or len(set(slate.tolist())) < len(slate):
            raise Impossible(f"the slate {slate.tolist()} is not possible")
        found.append(
            Drawn(
                slate,
                slots[number],
                weights[number],
                distribution.epsilon,
                distribution.temperature,
                None if greedy is None else greedy[number],
                int((slate != preferred[number]).sum()),
            )
        )
    return found


def draw_safely(safe: Safe, asked: Asked, generator: torch.Generator) -> Drawn:
    """A slate of the safe policy."""
    mask = torch.from_numpy(asked.mask[None])
    pinned = pins_of([asked])
    made = safe.distribution(asked.offer.ids, mask, asked.slate_size, asked.epsilon, pinned)
    return draw(made, generator)[0]
