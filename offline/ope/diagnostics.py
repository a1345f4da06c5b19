"""How far a log can speak for a target, and whether its propensities are true."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.ope.ragged import Floats

LARGEST = 5


@dataclass(frozen=True)
class Overlap:
    """What the importance weights of whole sessions look like.

    Attributes:
        sessions: S.
        effective: sample size, (sum w)^2 / sum w^2: so many sessions of equal
            weight would say as much (Kish, 1965).
        largest: shares of the sum that the largest weights have, largest first.
        top_share: share of the sum in the top 1 % of the sessions.
        mean: of the weights; expected to be 1.
        mean_error: standard error of that mean; NaN for one session.
    """

    sessions: int
    effective: float
    largest: tuple[float, ...]
    top_share: float
    mean: float
    mean_error: float


def overlap(log_weight: Floats) -> Overlap:
    """Diagnose log-weights of whole sessions, (S,).

    For sessions of several steps: `session_log_weight` at each last row.
    """
    shift = float(log_weight.max())
    if shift == -np.inf:
        return Overlap(len(log_weight), 0.0, (), math.nan, 0.0, math.nan)
    weight = np.sort(np.exp(log_weight - shift))[::-1]
    total, count = float(weight.sum()), len(weight)
    scale = math.exp(min(shift, 700.0))
    error = float(weight.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Overlap(
        sessions=count,
        effective=total**2 / float((weight**2).sum()),
        largest=tuple(float(each) / total for each in weight[:LARGEST]),
        top_share=float(weight[: math.ceil(count / 100)].sum()) / total,
        mean=scale * total / count,
        mean_error=scale * error,
    )


@dataclass(frozen=True)
class Calibration:
    """How often things were shown against how often the log says they would be.

    Attributes:
        stated: mean stated probability in each bin, (bins,).
        observed: share that was shown, (bins,).
        count: of (row, item) pairs, (bins,).
        error: mean distance of the two over the pairs.
        worst: largest distance of a bin, in standard errors of its stated probability.
    """

    stated: Floats
    observed: Floats
    count: NDArray[np.int64]
    error: float
    worst: float


def calibration(stated: Floats, shown: NDArray[np.bool_], bins: int = 10) -> Calibration:
    """Compare stated probabilities with what was shown, in bins of equally many pairs.

    Args:
        stated: probability that the slate (or the slot, given the earlier ones)
            shows a candidate, any shape; leave out what was not eligible.
        shown: whether it did, the same shape.
        bins: at most so many; empty ones are left out.

    Raises:
        ValueError: shapes that differ, nothing given, or no probabilities.
    """
    if stated.shape != shown.shape or not stated.size:
        raise ValueError(
            f"stated has shape {stated.shape} and shown {shown.shape}; "
            "give one of each for every row and candidate"
        )
    if not (stated.min() >= 0 and stated.max() <= 1 + 1e-6):
        raise ValueError(
            f"stated probabilities go from {stated.min():.6g} to {stated.max():.6g}; "
            "they lie from 0 to 1"
        )
    flat, hit = stated.ravel(), shown.ravel().astype(np.float64)
    edges = np.unique(np.quantile(flat, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, flat, side="left")
    count = np.bincount(place)
    kept = count > 0
    count = count[kept]
    mean = np.bincount(place, flat)[kept] / count
    observed = np.bincount(place, hit)[kept] / count
    error = np.sqrt(np.bincount(place, flat * (1 - flat).clip(0))[kept]) / count
    distance = np.abs(mean - observed)
    apart = np.divide(distance, error, out=np.where(distance > 1e-6, np.inf, 0.0), where=error > 0)
    return Calibration(
        mean, observed, count, float(distance @ count / count.sum()), float(apart.max())
    )
