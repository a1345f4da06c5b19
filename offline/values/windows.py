"""Logged sessions cut into windows of equal length, which returns are computed in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from offline.log import Rows
from offline.log.rows import Array


class Windows(NamedTuple):
    """Rows of sessions that follow one another, so many at a time.

    Attributes:
        numbers: of rows, (W, T + 1); each window's last is the next one's first,
            and the last window is filled up with the last row.
        learned: whether it is known what followed row t, (W, T) bool.
        cut: whether no more than the observation is known of row t + 1, (W, T) bool.
    """

    numbers: Tensor
    learned: Tensor
    cut: Tensor


def windows(terminated: Array, ends: Array, length: int) -> Windows:
    """Cut rows of whole sessions into windows, each row once.

    A session that was truncated, or has not ended, holds no observation after its last
    row. That row is not learned from, and the one before bootstraps from it: a session
    that was cut off did not end there.

    Args:
        terminated: (rows,) bool, the user left.
        ends: (rows,) bool, last row of its session.
        length: T.
    """
    count = len(ends)
    number = -(-count // length)
    index = np.arange(number)[:, None] * length + np.arange(length + 1)
    is_there = index[:, :-1] < count
    index = np.minimum(index, max(count - 1, 0))
    unknown = ends & ~terminated
    before = np.append(unknown[1:], False) & ~ends
    learned = ~unknown[index[:, :-1]] & is_there
    return Windows(
        torch.from_numpy(index),
        torch.from_numpy(learned),
        torch.from_numpy(before[index[:, :-1]]),
    )


def session_ends(rows: Rows) -> Array:
    """Which rows are the last of their session, (rows,) bool."""
    ends: Array = np.append(rows["step"][1:] == 0, True)
    return ends
