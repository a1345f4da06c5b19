"""The learning rate over a run."""

from __future__ import annotations

import math


def warm_cosine(lr: float, done: float, warmed: float, *, cosine: bool = True) -> float:
    """Linear warm-up, then constant or half a cosine down to 0.

    Args:
        lr: the peak.
        done: share of the whole schedule that is done; counts as 1 beyond.
        warmed: share of the warm-up that is done; counts as 1 beyond.
        cosine: whether the rate falls.
    """
    rate = lr * min(1.0, warmed)
    return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done))) if cosine else rate
