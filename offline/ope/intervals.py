"""Intervals for an estimate, and for the difference of two, over sessions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from offline.ope.columns import Refusal
from offline.ope.contributions import Contributions, estimate, influence, resample
from offline.ope.ragged import Floats

_CHUNK = 20_000_000
_ROUNDING = 1e-5
_UNDEFINED = 0.01
"""Share of resamples that may hold no weight at some step."""


@dataclass(frozen=True)
class Interval:
    """Where a value lies with some confidence.

    Attributes:
        low: lower end.
        high: upper end.
        level: nominal coverage, such as 0.95.
        method: how it was made.
    """

    low: float
    high: float
    level: float
    method: str

    @property
    def width(self) -> float:
        """From end to end."""
        return self.high - self.low


def student_t(
    contributions: Contributions, level: float = 0.95, against: Contributions | None = None
) -> Interval:
    """Student's t over sessions; ratios are linearised.

    Args:
        contributions: of the estimate.
        level: of confidence.
        against: gives the interval of the paired difference from this estimate.

    Raises:
        Refusal: a single session.
    """
    _check_level(level)
    values = influence(contributions)
    if against is not None:
        values = values - influence(against)
    count = _several(values)
    half = stats.t.ppf((1 + level) / 2, count - 1) * values.std(ddof=1) / math.sqrt(count)
    mean = float(values.mean())
    return Interval(mean - float(half), mean + float(half), level, "t")


def bootstrap(
    contributions: Contributions,
    level: float = 0.95,
    *,
    resamples: int = 1000,
    seed: int = 0,
    against: Contributions | None = None,
) -> Interval:
    """Percentile bootstrap: sessions drawn with replacement, ratios normalised anew.

    Args:
        contributions: of the estimate.
        level: of confidence.
        resamples: how many.
        seed: of the draws.
        against: gives the interval of the paired difference from this estimate.

    Raises:
        Refusal: a single session, or resamples without any weight.

    Source: Efron (1979), doi:10.1214/aos/1176344552; for off-policy estimates
    Hanna, Stone and Niekum (2017), arXiv:1606.06126.
    """
    both = [contributions] if against is None else [contributions, against]
    values = resampled(both, resamples, seed)
    found = values[0] if against is None else values[0] - values[1]
    return percentile(found, level)


def percentile(values: Floats, level: float = 0.95) -> Interval:
    """The interval that resampled estimates span, (B,); NaN marks a resample without weights."""
    _check_level(level)
    undefined = np.isnan(values).mean()
    if undefined > _UNDEFINED:
        raise Refusal(
            f"{undefined:.0%} of the resampled logs hold no session that the target would go on "
            "with, so there is no interval; log more sessions, or judge a nearer target"
        )
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, "bootstrap")


def resampled(
    several: Sequence[Contributions], resamples: int = 1000, seed: int = 0
) -> list[Floats]:
    """Each estimate on the same resampled logs, (B,) each."""
    if resamples < 2:
        raise ValueError(f"resamples is {resamples}; it must be at least 2")
    sessions = _several(several[0].base)
    parts = [
        [resample(each, counts) for each in several] for counts in _draws(sessions, resamples, seed)
    ]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def _draws(sessions: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each resample holds each session, (B', S), in parts that fit the memory."""
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // sessions)
    for first in range(0, resamples, step):
        size = min(step, resamples - first)
        drawn = generator.integers(sessions, size=(size, sessions))
        drawn += sessions * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * sessions)
        yield counts.reshape(size, sessions).astype(np.float64)


def empirical_bernstein(
    contributions: Contributions, low: float, high: float, level: float = 0.95
) -> Interval:
    """An interval that holds for any distribution with the declared bounds.

    mean ± (sqrt(2 V ln(2/d) / n) + 7 (high - low) ln(2/d) / (3 (n - 1))), with V
    the sample variance and d half of 1 - level for each side.

    Args:
        contributions: of an estimate without self-normalisation.
        low: what a session can contribute at least, whatever is logged.
        high: what a session can contribute at most: for importance sampling the
            largest return times the largest weight that the policies allow.
        level: of confidence.

    Raises:
        Refusal: no finite bounds, a contribution outside, or self-normalised weights.

    Source: Maurer and Pontil (2009), arXiv:0907.3740, theorem 4, on both sides.
    """
    _check_level(level)
    if contributions.weighted is not None:
        raise Refusal(
            "empirical Bernstein bounds a mean of independent values, and self-normalised weights "
            "are none; use an estimator without normalisation, or another interval"
        )
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise Refusal(
            f"the bounds of a session's contribution are {low} and {high}; empirical Bernstein "
            "needs finite ones, declared before looking at the log"
        )
    values = contributions.base
    slack = _ROUNDING * (high - low)  # logged propensities are float32
    if values.min() < low - slack or values.max() > high + slack:
        raise Refusal(
            f"sessions contribute from {values.min():.6g} to {values.max():.6g}, outside the "
            f"declared bounds {low:.6g} and {high:.6g}; declare bounds that always hold"
        )
    count = _several(values)
    log = math.log(4 / (1 - level))
    spread = math.sqrt(2 * float(values.var(ddof=1)) * log / count)
    half = spread + 7 * (high - low) * log / (3 * (count - 1))
    value = estimate(contributions)
    return Interval(value - half, value + half, level, "empirical_bernstein")


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it lies between 0 and 1, such as 0.95")


def _several(values: Floats) -> int:
    if len(values) < 2:
        raise Refusal("the log has one session; an interval needs at least 2")
    return len(values)
