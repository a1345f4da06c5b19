"""Means over seeds, and differences on the same users and luck.

Shapes: S training seeds, U users of the evaluation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from algorithms.evaluation import Estimate, Numbers


def student(values: Numbers) -> Estimate:
    """The mean of independent values, (S,), with Student's 95 % interval.

    The ends are NaN where one value is all there is.
    """
    count = len(values)
    if count < 2:
        return Estimate.of(values)
    mean = float(values.mean())
    half = quantile(count - 1) * float(values.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half)


def quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's t."""
    return float(stdtrit(freedom, 0.975))


@dataclass(frozen=True)
class Difference:
    """How much more one policy earns than another, on the same users and luck.

    Attributes:
        mean: over seeds and users, in the reward's unit.
        low: lower end of the 95 % interval.
        high: upper end.
        p_value: of no difference, two-sided.
        seeds_error: standard error of the mean that seeds alone would make; 0 for one seed.
        users_error: standard error that users alone would make.
        per_seed: mean over the users of each seed's difference, (S,).
    """

    mean: float
    low: float
    high: float
    p_value: float
    seeds_error: float
    users_error: float
    per_seed: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is not a number becomes null."""
        unknown = math.isnan(self.low)
        return {
            "mean": self.mean,
            "ci95": None if unknown else [self.low, self.high],
            "p_value": None if math.isnan(self.p_value) else self.p_value,
            "seeds_error": self.seeds_error,
            "users_error": self.users_error,
            "per_seed": list(self.per_seed),
        }


def paired_difference(first: Numbers, second: Numbers) -> Difference:
    """The mean of `first - second` and a paired t-test of it.

    Both seeds and users are draws from many. So the variance of the mean is
    that of the seeds' mean differences, s_S^2 / S, plus that of the users',
    s_U^2 / U, with Satterthwaite's degrees of freedom. What seeds and users
    make together is counted in both, which errs to the wide side. With one
    seed only the users are left: the interval then says nothing of another
    training run.

    Args:
        first: return of each user by each seed, (S, U).
        second: the same, (S, U), or (1, U) for a policy that needs no training.

    Raises:
        ValueError: the shapes differ otherwise.
    """
    if first.shape[1] != second.shape[1] or len({1, len(first), len(second)}) > 2:
        raise ValueError(f"no pairs between shapes {first.shape} and {second.shape}")
    differences = first - second
    per_seed, per_user = differences.mean(axis=1), differences.mean(axis=0)
    parts = [(_variance(values), len(values) - 1) for values in (per_seed, per_user)]
    mean, variance = float(differences.mean()), sum(part for part, _ in parts)
    low = high = p_value = math.nan
    if per_user.size > 1:
        # Without any variance every quantile multiplies a 0.
        spread = sum(part**2 / freedom for part, freedom in parts if freedom)
        freedom = variance**2 / spread if spread else 1.0
        half = quantile(freedom) * math.sqrt(variance)
        low, high = mean - half, mean + half
        p_value = _two_sided(mean, math.sqrt(variance), freedom)
    seeds_error, users_error = (math.sqrt(part) for part, _ in parts)
    return Difference(mean, low, high, p_value, seeds_error, users_error, tuple(per_seed.tolist()))


def difference_by_seed(first: Numbers, second: Numbers) -> Difference:
    """The mean of `first - second`, a value a seed, (S,), and Student's paired t-test of it."""
    differences = first - second
    found = paired_difference(differences[None], np.zeros_like(differences)[None])
    per_seed = tuple(differences.tolist())
    return replace(found, seeds_error=found.users_error, users_error=0.0, per_seed=per_seed)


def _variance(values: Numbers) -> float:
    """Of the mean of independent values; 0 where one is all there is."""
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def _two_sided(mean: float, error: float, freedom: float) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(mean) / error))


def band(curves: list[tuple[Numbers, Numbers]]) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Mean and Student's 95 % band of curves over the steps that all of them have.

    Args:
        curves: steps, rising, and values of each seed; NaN is left out.

    Returns:
        steps, mean, low, high; the first seed's steps, within every seed's range.
        Without a second seed the band has no width. Empty where nothing is common.
    """
    kept = [(steps[~np.isnan(values)], values[~np.isnan(values)]) for steps, values in curves]
    kept = [curve for curve in kept if len(curve[0])]
    if not kept:
        nothing = np.zeros(0)
        return nothing, nothing, nothing, nothing
    begin, end = max(steps[0] for steps, _ in kept), min(steps[-1] for steps, _ in kept)
    grid = kept[0][0][(kept[0][0] >= begin) & (kept[0][0] <= end)]
    values = np.stack([np.interp(grid, *curve) for curve in kept])
    mean = values.mean(axis=0)
    half = np.zeros_like(mean)
    if len(values) > 1:
        half = quantile(len(values) - 1) * values.std(axis=0, ddof=1) / math.sqrt(len(values))
    return grid, mean, mean - half, mean + half
