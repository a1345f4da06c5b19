"""Ordered slates as actions that RLlib knows, the inverse of `envs.views.FlatView.slate`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_DISCRETE = 1000
"""Up to so many ordered slates are numbered, as `FlatView` does."""

Ints = NDArray[np.int64]


def picks(slate: Ints) -> Ints:
    """Each slot's place among the candidates that earlier slots have left, (R, K).

    Args:
        slate: distinct positions, (R, K).
    """
    earlier = slate[:, None, :] < slate[:, :, None]  # [r, k, j]: slot j holds a lower position
    before = np.tri(slate.shape[1], k=-1, dtype=np.bool_)
    lower: Ints = (earlier & before).sum(axis=2)
    return slate - lower


def sizes(candidates: int, slots: int) -> list[int]:
    """How many candidates each slot chooses from."""
    return [candidates - slot for slot in range(slots)]


def is_discrete(candidates: int, slots: int) -> bool:
    """Whether slates are numbered, rather than written slot by slot."""
    return math.prod(sizes(candidates, slots)) <= MAX_DISCRETE


def actions(slate: Ints, candidates: int) -> Ints:
    """Actions in the space of `FlatView`: (R,) numbers of slates, or (R, K) picks."""
    chosen = picks(slate)
    slots = slate.shape[1]
    if not is_discrete(candidates, slots):
        return chosen
    numbers: Ints = np.ravel_multi_index(tuple(chosen.T), tuple(sizes(candidates, slots)))
    return numbers
