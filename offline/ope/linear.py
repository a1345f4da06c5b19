"""Fitted Q evaluation with a linear model, from sums over rows.

Each fit of `fitted.fitted_q` with `regressions.ridge` reads all rows anew. A
linear model needs only second moments of its inputs, of the shown slate and of
the target's in the next row: they are summed once, fold by fold, and all fits
happen in the space of the F inputs. Nothing as large as the inputs is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from offline.ope.columns import Refusal
from offline.ope.fitted import EXPLODED, ROUNDS, SETTLED
from offline.ope.ragged import Floats, Ints, lengths

_CHUNK = 8192


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over rows; F + 1 inputs, of which the first is 1.

    Attributes:
        rows: how many.
        shown: of products of the inputs of what was shown, (F + 1, F + 1).
        onward: of inputs shown times the target's in the session's next row, or 0.
        following: of products of the latter.
        reward: of inputs shown times the reward, (F + 1,).
    """

    rows: int
    shown: Floats
    onward: Floats
    following: Floats
    reward: Floats

    def minus(self, other: Moments) -> Moments:
        """Those of the rows that are not in the other ones."""
        return Moments(
            self.rows - other.rows,
            self.shown - other.shown,
            self.onward - other.onward,
            self.following - other.following,
            self.reward - other.reward,
        )


def linear_fitted_q(
    inputs: NDArray[np.floating],
    means: NDArray[np.floating],
    reward: Floats,
    offsets: Ints,
    discount: float = 1.0,
    *,
    folds: int = 5,
    seed: int = 0,
    penalty: float = 1e-3,
) -> tuple[Floats, Floats]:
    """Predict the target's return from each row on, each session by a model of the others.

    The numbers of `fitted.fitted_q` with `ridge(penalty)` and one choice a row.

    Args:
        inputs: of what was shown, (R, F).
        means: the same in the mean over what the target shows, (R, F).
        reward: (R,).
        offsets: (S + 1,), the rows of each session.
        discount: of the rewards.
        folds: parts of the sessions, at least 2.
        seed: of the parts.
        penalty: on coefficients of standardised inputs, times rows.

    Returns:
        q: predicted value of what was shown, (R,).
        v: mean over what the target would show, (R,).

    Raises:
        Refusal: fewer sessions than folds, or the fits diverge.
    """
    sessions = len(offsets) - 1
    if not 2 <= folds <= sessions:
        raise Refusal(
            f"a model is fitted to {folds} parts of the sessions, and there are {sessions}; log "
            "more sessions, or use an estimator without a model"
        )
    part = np.random.default_rng(seed).permutation(sessions) % folds
    of_row = np.repeat(part, lengths(offsets))
    standard = _standard(inputs)
    sums = _by_fold(inputs, means, reward, offsets, of_row, standard)
    total = reduce(_sum, sums)
    most = ROUNDS * int(lengths(offsets).max())
    bound = EXPLODED * (1 + float(np.abs(reward).max()) * int(lengths(offsets).max()))
    weights = np.stack([_iterate(total.minus(s), discount, penalty, most, bound) for s in sums])
    q, v = np.empty((2, len(reward)))
    for first, shown, target in _blocks(inputs, means, *standard):
        rows = slice(first, first + len(shown))
        chosen = weights[of_row[rows]]
        q[rows] = np.einsum("rf,rf->r", shown, chosen)
        v[rows] = np.einsum("rf,rf->r", target[:-1], chosen)
    return q, v


def _by_fold(
    inputs: NDArray[np.floating],
    means: NDArray[np.floating],
    reward: Floats,
    offsets: Ints,
    of_row: Ints,
    standard: tuple[Floats, Floats],
) -> list[Moments]:
    """Moments of the rows of each fold, `of_row` (R,)."""
    goes_on = np.ones(len(reward))
    goes_on[offsets[1:] - 1] = 0.0
    sums = [_none(inputs.shape[1]) for _ in range(int(of_row.max()) + 1)]
    for first, shown, target in _blocks(inputs, means, *standard):
        rows = slice(first, first + len(shown))
        onward = target[1:] * goes_on[rows, None]
        for fold in range(len(sums)):
            ours = of_row[rows] == fold
            sums[fold] = _plus(sums[fold], shown[ours], onward[ours], reward[rows][ours])
    return sums


def _iterate(moments: Moments, discount: float, penalty: float, most: int, bound: float) -> Floats:
    """Fit reward + discount * next prediction over and over; coefficients, (F + 1,)."""
    mean = moments.shown[0] / moments.rows
    spread = np.diag(moments.shown) / moments.rows - mean**2
    spread = np.where(spread > 1e-12, spread, 1.0)
    spread[0] = 0.0  # the intercept goes free
    solver = linalg.cho_factor(moments.shown + penalty * moments.rows * np.diag(spread))
    found: Floats = linalg.cho_solve(solver, moments.reward)
    before = np.zeros_like(found)
    for _ in range(most - 1):
        change = discount * _size(moments, found - before)
        size = discount * _size(moments, found)
        if not size <= bound:
            raise Refusal(
                "fitted Q evaluation diverges on this log; use a smaller discount, or an "
                "estimator without a model"
            )
        if change <= SETTLED * (1 + size):
            break
        before = found
        found = linalg.cho_solve(solver, moments.reward + discount * (moments.onward @ found))
    return found


def _size(moments: Moments, coefficients: Floats) -> float:
    """Root mean square of the predictions for next rows."""
    square = float(coefficients @ moments.following @ coefficients)
    return float(np.sqrt(max(square, 0.0) / moments.rows))


def _standard(inputs: NDArray[np.floating]) -> tuple[Floats, Floats]:
    centre = inputs.mean(0, dtype=np.float64)
    square = np.zeros(inputs.shape[1])
    for first in range(0, len(inputs), _CHUNK):
        square += ((inputs[first : first + _CHUNK] - centre) ** 2).sum(0)
    scale = np.sqrt(square / len(inputs))
    return centre, np.where(scale > 1e-12, scale, 1.0)


def _blocks(
    inputs: NDArray[np.floating], means: NDArray[np.floating], centre: Floats, scale: Floats
) -> Iterator[tuple[int, Floats, Floats]]:
    """First row, standardised inputs after a 1, (r, F + 1), and means with a row more."""
    for first in range(0, len(inputs), _CHUNK):
        shown = _after_one((inputs[first : first + _CHUNK] - centre) / scale)
        target = _after_one((means[first : first + _CHUNK + 1] - centre) / scale)
        if len(target) == len(shown):
            target = np.concatenate([target, np.zeros_like(target[:1])])
        yield first, shown, target


def _after_one(values: Floats) -> Floats:
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)


def _none(inputs: int) -> Moments:
    size = inputs + 1
    square = np.zeros((size, size))
    return Moments(0, square, square, square, np.zeros(size))


def _plus(moments: Moments, shown: Floats, onward: Floats, reward: Floats) -> Moments:
    more = Moments(
        len(shown), shown.T @ shown, shown.T @ onward, onward.T @ onward, shown.T @ reward
    )
    return _sum(moments, more)


def _sum(one: Moments, other: Moments) -> Moments:
    return Moments(
        one.rows + other.rows,
        one.shown + other.shown,
        one.onward + other.onward,
        one.following + other.following,
        one.reward + other.reward,
    )
