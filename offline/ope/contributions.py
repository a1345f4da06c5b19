"""What each session adds to an estimate.

Every estimator here has one form,

    mean_i base_i + sum_t (sum_i w_it x_it) / (sum_i w_it),

with sessions i and steps t; estimators that don't normalise their weights
are all base. A session that has ended keeps its last weight, and adds x = 0.
This is what intervals need: resampling, and the derivative by each session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from offline.ope.columns import Refusal
from offline.ope.ragged import Floats, Ints, lengths, steps

_BLOCK = 2_000_000


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weighted means, one a step.

    Attributes:
        log_weight: of each row, (R,); -inf for 0. A factor that all rows have in
            common at a step changes nothing, so nothing over- or underflows.
        value: what is averaged, (R,).
        offsets: (S + 1,), the rows of each session.
    """

    log_weight: Floats
    value: Floats
    offsets: Ints


@dataclass(frozen=True, eq=False)
class Contributions:
    """An estimate, session by session.

    Attributes:
        base: averaged over sessions, (S,).
        weighted: self-normalised terms, if any.
    """

    base: Floats
    weighted: Weighted | None = None


def estimate(contributions: Contributions) -> float:
    """The estimated value.

    Raises:
        Refusal: at some step every weight is 0.
    """
    value = float(contributions.base.mean())
    if contributions.weighted is None:
        return value
    return value + float(_ratios(contributions.weighted)[0].sum())


def influence(contributions: Contributions) -> Floats:
    """Values, (S,), whose mean is the estimate and whose spread tells its variance.

    Those of a plain mean are its terms; a ratio's are linearised (the delta
    method): r + w (x - r) / mean(w).
    """
    values = contributions.base.copy()
    weighted = contributions.weighted
    if weighted is None:
        return values
    ratios, totals, shift = _ratios(weighted)
    scale = len(values) / totals
    for sessions, weight, value in _blocks(weighted, shift):
        values[sessions] += (ratios + scale * weight * (value - ratios)).sum(1)
    return values


def resample(contributions: Contributions, counts: Floats) -> Floats:
    """The estimate on resampled logs, (B,).

    Args:
        contributions: of S sessions.
        counts: how often each resample holds each session, (B, S); rows sum to S.

    Returns:
        (B,), normalised anew in each resample; NaN where it holds no weight at some step.
    """
    values: Floats = counts @ contributions.base / len(contributions.base)
    weighted = contributions.weighted
    if weighted is None:
        return values
    shift = _shift(weighted)
    above, below = np.zeros((2, len(counts), len(shift)))
    for sessions, weight, value in _blocks(weighted, shift):
        above += counts[:, sessions] @ (weight * value)
        below += counts[:, sessions] @ weight
    ratios = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    values += ratios.sum(1)
    return values


def _ratios(weighted: Weighted) -> tuple[Floats, Floats, Floats]:
    """Weighted means and sums of weights by step, (T,), and the shift of the latter's logs."""
    shift = _shift(weighted)
    above, below = np.zeros((2, len(shift)))
    for _, weight, value in _blocks(weighted, shift):
        above += np.einsum("st,st->t", weight, value)
        below += weight.sum(0)
    return above / below, below, shift


def _shift(weighted: Weighted) -> Floats:
    """The largest log-weight at each step, (T,), ended sessions included."""
    length = lengths(weighted.offsets)
    longest = int(length.max())
    largest: Floats = np.full(longest, -np.inf)
    if longest == 1:
        largest[0] = weighted.log_weight.max()
    else:
        ended = largest.copy()
        np.maximum.at(largest, steps(weighted.offsets), weighted.log_weight)
        short = length < longest
        np.maximum.at(ended, length[short], weighted.log_weight[weighted.offsets[1:] - 1][short])
        largest = np.maximum(largest, np.maximum.accumulate(ended))
    if np.isneginf(largest).any():
        step = int(np.isneginf(largest).argmax())
        if longest == 1:
            raise Refusal(
                "the target would have shown none of the logged sessions to its end, so all "
                "weights are 0; judge a target that explores, or shorter sessions"
            )
        raise Refusal(
            f"from step {step} on the target would have gone on with none of the logged sessions, "
            "so all weights are 0; judge a target that explores, or shorter sessions"
        )
    return largest


def _blocks(weighted: Weighted, shift: Floats) -> Iterator[tuple[slice, Floats, Floats]]:
    """Sessions, and their weights and values padded to the longest, (S', T)."""
    length = lengths(weighted.offsets)
    if len(shift) == 1:
        weight = np.exp(weighted.log_weight - shift)
        yield slice(None), weight[:, None], weighted.value[:, None]
        return
    places = np.arange(len(shift))
    size = max(1, _BLOCK // len(shift))
    for first in range(0, len(length), size):
        sessions = slice(first, min(first + size, len(length)))
        last = length[sessions, None] - 1
        row = weighted.offsets[:-1][sessions, None] + np.minimum(places, last)
        weight = np.exp(weighted.log_weight[row] - shift)
        yield sessions, weight, np.where(places <= last, weighted.value[row], 0.0)
