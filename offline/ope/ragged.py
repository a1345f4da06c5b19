"""Sums within sessions of different lengths, without a loop over them.

Rows of a session stand together and in order; `offsets` (S + 1,) says where:
session s is rows offsets[s] to offsets[s + 1] - 1, and none is empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def lengths(offsets: Ints) -> Ints:
    """Steps of each session, (S,)."""
    return np.diff(offsets)


def steps(offsets: Ints) -> Ints:
    """How many rows of its session come before each row, (R,)."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths(offsets))


def sums(values: Floats, offsets: Ints) -> Floats:
    """Sum over each session, (S,)."""
    return np.add.reduceat(values, offsets[:-1])


def running(values: Floats, offsets: Ints) -> Floats:
    """Sum of a row and the rows of its session before it, (R,).

    -inf stays to the end of the session and goes no further.
    """
    never = np.isneginf(values)
    finite = np.where(never, 0.0, values)
    total = _running(finite, offsets)
    if never.any():
        total[_running(never.astype(np.float64), offsets) > 0.5] = -np.inf
    return total


def _running(values: Floats, offsets: Ints) -> Floats:
    # Each session starts by taking back the sum of the one before it, so that the
    # running sum stays as small as the sessions' and rounds like them.
    restarted = values.copy()
    restarted[offsets[1:-1]] -= sums(values, offsets)[:-1]
    return np.cumsum(restarted)


def shifted(values: Floats, offsets: Ints) -> Floats:
    """The session's next row, (R,); 0 after its last one."""
    following = np.append(values[1:], 0.0)
    following[offsets[1:] - 1] = 0.0
    return following


def discounts(offsets: Ints, discount: float) -> Floats:
    """discount^t of each row, (R,), with t the steps before it."""
    if discount == 1.0:
        return np.ones(int(offsets[-1]))
    powers = discount ** np.arange(int(lengths(offsets).max()), dtype=np.float64)
    return powers[steps(offsets)]
