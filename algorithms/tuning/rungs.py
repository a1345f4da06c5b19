"""When a trial is looked at."""

from __future__ import annotations

import math


def first_rung(budget: int, reduction: int) -> int:
    """Steps of the first reading: two reductions below the budget, rounded up."""
    return math.ceil(budget / reduction**2)


def rungs(budget: int, first: int, reduction: int | None) -> list[int]:
    """Steps at which a trial is judged, the budget last.

    Args:
        budget: user-steps of a whole trial.
        first: of the first reading.
        reduction: factor between two readings; `None` reads only at the end.

    Source: Li et al. (2020), "A system for massively parallel hyperparameter tuning",
    arXiv:1810.05934, algorithm 2.
    """
    if reduction is None:
        return [budget]
    found, steps = [], first
    while steps < budget:
        found.append(steps)
        steps *= reduction
    return [*found, budget]
