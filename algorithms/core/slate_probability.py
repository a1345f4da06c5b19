"""Log-probabilities of the slots of a slate, as pure functions."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

NEVER = -1e30  # exp() of it is 0, and unlike -inf it leaves gradients free of nan


@lru_cache
def earlier(size: int, device: torch.device) -> Tensor:
    """(K, K, 1) bool, whether the first slot comes before the second."""
    return torch.ones((size, size), dtype=torch.bool, device=device).triu(1)[:, :, None]


def repeats(slates: Tensor) -> Tensor:
    """Whether a slot's item stands in an earlier slot too, (B, K) bool."""
    by_slot = slates.t().contiguous()  # (K, B): comparing whole rows is fast
    same = (by_slot[:, None] == by_slot) & earlier(len(by_slot), slates.device)
    return same.any(0).t()


def follows(rank: Tensor) -> Tensor:
    """Whether a slot shows the first item of an order that was not shown yet, (B, K) bool.

    Args:
        rank: place in the order of each shown item, (B, K), distinct; K or more
            for items outside it.
    """
    by_slot = rank.t().contiguous()
    better = (by_slot[:, None] < by_slot) & earlier(len(by_slot), rank.device)
    return (better.sum(0) == by_slot).t()


def plackett_luce_slots(scores: Tensor, slates: Tensor, repeated: Tensor | None) -> Tensor:
    """Log-probability of each slot under a softmax without replacement, (B, K).

    Args:
        scores: (B, N), `NEVER` where a candidate can't be drawn.
        slates: (B, K) positions.
        repeated: (B, K) bool, slots to skip since an earlier one has their item.
    """
    shown = scores.gather(1, slates)
    if repeated is not None:
        shown = shown.masked_fill(repeated, NEVER)
    size = slates.shape[1]
    unshown = scores.scatter(1, slates, NEVER).logsumexp(1)
    later = shown.t()[:, None].expand(-1, size, -1)
    later = later.masked_fill(earlier(size, slates.device), NEVER)
    return shown - torch.cat([later, unshown.expand(1, size, -1)]).logsumexp(0).t()


def certain(chosen: Tensor, like: Tensor) -> Tensor:
    """0 where chosen and -inf elsewhere, in the dtype of `like`."""
    return like.new_zeros(()).where(chosen, -math.inf)


def mix(preferred: Tensor | None, remaining: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
    """Log of (1 - epsilon) * exp(preferred) + epsilon / remaining.

    Args:
        preferred: log-probabilities without exploration; not needed at epsilon 1.
        remaining: how many candidates exploration chooses from, at least 1.
        epsilon: probability to explore.
        dtype: of the result.
    """
    if epsilon == 0 and preferred is not None:
        return preferred
    uniform = math.log(epsilon) - remaining.to(dtype).log()
    if preferred is None:
        return uniform
    return torch.logaddexp(preferred + math.log1p(-epsilon), uniform)
