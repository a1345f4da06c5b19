"""Moments of a slate distribution, exact by enumeration or estimated.

The exact ones walk over all ordered prefixes of a slate; `MAX_ORDERED_SLATES`
bounds how many a row may have. Special cases with a closed form have no bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from algorithms.core.slates import SlateDistribution

MAX_ORDERED_SLATES = 200_000
_CHUNK = 4_000_000


def marginals(distribution: SlateDistribution) -> Tensor:
    """Probability that slot k shows candidate n, (B, K, N).

    Raises:
        ValueError: too many ordered slates to enumerate.
    """
    closed = _closed_marginals(distribution)
    if closed is not None:
        return closed
    _refuse_many(distribution, "marginals")
    return torch.cat([_marginals(_walk(part)) for part in _chunks(distribution)])


def entropy(distribution: SlateDistribution) -> Tensor:
    """Entropy of the ordered slate in nats, (B,).

    Raises:
        ValueError: too many ordered slates to enumerate.
    """
    if distribution.temperature == 0 or distribution.epsilon == 1:
        return _closed_entropy(distribution)
    _refuse_many(distribution, "entropy")
    return torch.cat([_entropy(_walk(part)) for part in _chunks(distribution)])


def pairwise(distribution: SlateDistribution) -> Tensor:
    """Probability that slot k shows n and slot l shows m, (B, K, N, K, N).

    Raises:
        ValueError: too many ordered slates to enumerate.
    """
    _refuse_many(distribution, "marginals")
    batch, candidates = distribution.mask.shape
    size = distribution.slate_size
    slates, log_probs = enumerate_slates(distribution)
    result = log_probs.new_zeros(size, size, candidates * candidates, batch)
    probs = log_probs.exp().t()
    rows = [
        [
            result[k, m].index_add(0, slates[:, k] * candidates + slates[:, m], probs)
            for m in range(size)
        ]
        for k in range(size)
    ]
    stacked = torch.stack([torch.stack(row) for row in rows])
    return stacked.reshape(size, size, candidates, candidates, batch).permute(4, 0, 2, 1, 3)


def enumerate_slates(distribution: SlateDistribution) -> tuple[Tensor, Tensor]:
    """All ordered slates of N candidates, (S, K), and their log-probabilities, (B, S).

    Raises:
        ValueError: too many ordered slates to enumerate.
    """
    _refuse_many(distribution, "marginals")
    candidates = distribution.mask.shape[1]
    device = distribution.mask.device
    slates = torch.zeros((1, 0), dtype=torch.int64, device=device)
    log_probs: Tensor | None = None
    for slot in range(distribution.slate_size):
        taken = torch.zeros((len(slates), candidates), dtype=torch.bool, device=device)
        taken.scatter_(1, slates, True)
        log_slot = distribution.conditional(taken[None], slot)
        parent, item = (~taken).nonzero(as_tuple=True)
        slates = torch.cat([slates[parent], item[:, None]], dim=1)
        step = log_slot[:, parent, item]
        log_probs = step if log_probs is None else log_probs[:, parent] + step
    assert log_probs is not None
    return slates, log_probs


@torch.no_grad()
def estimate_marginals(
    distribution: SlateDistribution, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Unbiased estimate of `marginals`, (B, K, N).

    Averages the exact distribution of each slot over sampled earlier slots, so
    nothing that can be shown gets the probability 0.
    """
    return _marginals(_sampled_walk(distribution, samples, generator))


@torch.no_grad()
def estimate_entropy(
    distribution: SlateDistribution, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Unbiased estimate of `entropy`, (B,).

    Sums the exact entropy of each slot over sampled earlier slots. Without
    gradient: that of an average over samples would not be the entropy's.
    """
    return _entropy(_sampled_walk(distribution, samples, generator))


def _walk(distribution: SlateDistribution) -> Iterator[tuple[Tensor, Tensor]]:
    """Slot by slot: probabilities of all prefixes, (B, P), and the slot's log, (B, P, N)."""
    batch, candidates = distribution.mask.shape
    taken = torch.zeros((1, candidates), dtype=torch.bool, device=distribution.mask.device)
    prefix = distribution.log_weights.new_zeros(batch, 1)
    for slot in range(distribution.slate_size):
        log_slot = distribution.conditional(taken[None], slot)
        yield prefix.exp(), log_slot
        if slot + 1 < distribution.slate_size:
            parent, item = (~taken).nonzero(as_tuple=True)
            prefix = prefix[:, parent] + log_slot[:, parent, item]
            taken = taken[parent].scatter(1, item[:, None], True)


def _sampled_walk(
    distribution: SlateDistribution, samples: int, generator: torch.Generator | None
) -> Iterator[tuple[Tensor, Tensor]]:
    if samples < 1:
        raise ValueError(f"samples is {samples}; it must be at least 1")
    batch, candidates = distribution.mask.shape
    rows = torch.arange(batch, device=distribution.mask.device).repeat_interleave(samples)
    slates = _rows(distribution, rows).sample(generator)[0].reshape(batch, samples, -1)
    taken = torch.zeros(
        (batch, samples, candidates), dtype=torch.bool, device=distribution.mask.device
    )
    weight = distribution.log_weights.new_full((batch, samples), 1 / samples)
    for slot in range(distribution.slate_size):
        yield weight, distribution.conditional(taken, slot)
        taken.scatter_(2, slates[:, :, slot, None], True)


def _marginals(walk: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    slots = [(weight[:, :, None] * log_slot.exp()).sum(1) for weight, log_slot in walk]
    return torch.stack(slots, dim=1)


def _entropy(walk: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    total = torch.zeros(())
    for weight, log_slot in walk:
        finite = log_slot.masked_fill(log_slot == -math.inf, 0.0)
        total = total.to(weight) - (weight * (log_slot.exp() * finite).sum(2)).sum(1)
    return total


def _closed_marginals(distribution: SlateDistribution) -> Tensor | None:
    """Where no slot depends on the earlier ones: all uniform, or nothing random."""
    if distribution.epsilon == 1:
        free = distribution.free.to(distribution.log_weights.dtype)
        slots = (free / free.sum(1, keepdim=True).clamp_min(1))[:, None]
        slots = slots.expand(-1, distribution.slate_size, -1)
        if distribution.pinned is None:
            return slots.clone()
        return torch.where(
            distribution.pinned[:, :, None] < 0, slots, _one_hot(distribution, distribution.pinned)
        )
    if distribution.epsilon == 0 and distribution.temperature == 0:
        return _one_hot(distribution, distribution.mode())
    return None


def _one_hot(distribution: SlateDistribution, slates: Tensor) -> Tensor:
    places = torch.arange(distribution.mask.shape[1], device=slates.device)
    return (slates[:, :, None] == places).to(distribution.log_weights.dtype)


def _closed_entropy(distribution: SlateDistribution) -> Tensor:
    """At temperature 0 each slot has one likely item and equal others, whatever came before."""
    left = distribution.remaining.to(distribution.log_weights.dtype)
    other = distribution.epsilon / left
    best = 1 - distribution.epsilon + other
    slots = -torch.xlogy(best, best) - (left - 1) * torch.xlogy(other, other)
    if distribution.pinned is not None:
        slots = slots.masked_fill(distribution.pinned >= 0, 0.0)
    return slots.sum(1)


def check_enumerable(num_candidates: int, slate_size: int, what: str, instead: str) -> None:
    """Refuse to enumerate the ordered slates of a large world.

    Args:
        num_candidates: N.
        slate_size: K.
        what: would be exact.
        instead: what to do.

    Raises:
        ValueError: there are more than `MAX_ORDERED_SLATES`.
    """
    count = math.perm(num_candidates, slate_size)
    if count > MAX_ORDERED_SLATES:
        raise ValueError(
            f"exact {what} would enumerate {count:,} ordered slates ({slate_size} of "
            f"{num_candidates} candidates), more than {MAX_ORDERED_SLATES:,}; {instead}"
        )


def _refuse_many(distribution: SlateDistribution, what: str) -> None:
    instead = f"use estimate_{what}(samples, generator)"
    check_enumerable(distribution.mask.shape[1], distribution.slate_size, what, instead)


def _chunks(distribution: SlateDistribution) -> Iterator[SlateDistribution]:
    batch, candidates = distribution.mask.shape
    rows = max(1, _CHUNK // math.perm(candidates, distribution.slate_size))
    if rows >= batch:
        yield distribution
        return
    for part in torch.split(torch.arange(batch, device=distribution.mask.device), rows):
        yield _rows(distribution, part)


def _rows(distribution: SlateDistribution, rows: Tensor) -> SlateDistribution:
    return replace(
        distribution,
        log_weights=distribution.log_weights[rows],
        mask=distribution.mask[rows],
        greedy=None if distribution.greedy is None else distribution.greedy[rows],
        pinned=None if distribution.pinned is None else distribution.pinned[rows],
    )
