"""Whole slates as actions: all of them, numbered.

Shapes: B users, N candidates, K slots, M slates.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import torch
from torch import Tensor


def count_slates(num_candidates: int, slate_size: int, ordered: bool) -> int:
    """M, the number of slates of distinct candidates; in any order, or in each order."""
    return (math.perm if ordered else math.comb)(num_candidates, slate_size)


def check_count(num_candidates: int, slate_size: int, ordered: bool, limit: int) -> None:
    """Refuse worlds with more slates than can be valued one by one.

    Raises:
        ValueError: there are more than `limit`.
    """
    count = count_slates(num_candidates, slate_size, ordered)
    if count > limit:
        raise ValueError(
            f"{num_candidates} candidates make {count:,} {'ordered ' if ordered else ''}slates of "
            f"{slate_size}, and full-slate Q values each of at most {limit:,} (max_slates); use "
            "slateq, which values items, or lower num_candidates or slate_size"
        )


@lru_cache(maxsize=16)
def slate_table(num_candidates: int, slate_size: int, ordered: bool) -> Tensor:
    """Every slate of distinct positions in lexical order, (M, K); not to be written into.

    Unordered slates stand there once, positions rising.
    """
    kind = itertools.permutations if ordered else itertools.combinations
    count = count_slates(num_candidates, slate_size, ordered)
    flat = itertools.chain.from_iterable(kind(range(num_candidates), slate_size))
    return torch.tensor(list(flat), dtype=torch.int64).view(count, slate_size)


@lru_cache(maxsize=16)
def slates_with(num_candidates: int, slate_size: int, ordered: bool) -> Tensor:
    """The numbers of the slates that hold each candidate, (N, M * K / N)."""
    table = slate_table(num_candidates, slate_size, ordered)
    holds = (table[None] == torch.arange(num_candidates)[:, None, None]).any(2)
    return holds.nonzero()[:, 1].view(num_candidates, -1)


def eligible_slates(mask: Tensor, table: Tensor) -> Tensor:
    """Whether all of a slate may be shown, (B, M), of eligible candidates (B, N)."""
    return mask[:, table].all(2)


def item_worths(values: Tensor, mask: Tensor, holding: Tensor) -> Tensor:
    """The value of the best eligible slate that holds each candidate, (B, N).

    Args:
        values: of each slate, (B, M), -inf where it may not be shown.
        mask: eligible candidates, (B, N).
        holding: of `slates_with`.

    Returns:
        Finite; 0 for candidates that may not be shown.
    """
    best = values[:, holding].amax(2)
    return best.masked_fill(~mask, 0.0)
