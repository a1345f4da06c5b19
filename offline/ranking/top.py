"""The first K items of each user, without sorting the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_GROUPS_PER_PLACE = 10
"""Groups of items for each of the K places; few items then reach the K-th best group."""


def top_k(scores: NDArray[np.floating[Any]], k: int) -> Ints:
    """Numbers of the K items with the highest scores, best first, (B, K).

    Of equal scores the smaller number comes first. Items that score -inf are no
    candidates; a list that they leave short ends with -1.

    Items are cut into groups, of which the K-th best maximum bounds the K-th best score
    from below. Few items reach it, and only those are sorted.

    Args:
        scores: (B, N).
        k: at least 1.

    Raises:
        ValueError: a score is NaN.
    """
    users, items = scores.shape
    best = _best_of_groups(scores, k * _GROUPS_PER_PLACE)
    if np.isnan(best).any():
        raise ValueError("a score is NaN; every item's score must be a number")
    groups = best.shape[1]
    if groups >= k:
        bound = np.partition(best, groups - k, axis=1)[:, groups - k]
    else:
        bound = np.full(users, -np.inf, scores.dtype)
    reach = scores >= bound[:, None]
    if np.isneginf(bound).any():
        reach &= scores > -np.inf
    row, item = np.divmod(np.flatnonzero(reach), items)
    value = scores[row, item]
    # Of many that only equal the bound, the first K are enough.
    kept = np.flatnonzero((value > bound[row]) | (_place(row, value == bound[row], users) < k))
    row, item, value = row[kept], item[kept], value[kept]
    order = np.lexsort((-value, row))
    row, item = row[order], item[order]
    place = _place(row, np.ones(len(row), np.bool_), users)
    found = np.full((users, k), -1, np.int64)
    fits = place < k
    found[row[fits], place[fits]] = item[fits]
    return found


def _best_of_groups(scores: NDArray[np.floating[Any]], least: int) -> NDArray[np.floating[Any]]:
    """Maxima of at least so many groups of items, or of each item, (B, groups).

    Halves are laid over each other, which reads memory in one go.
    """
    best = scores
    while (half := best.shape[1] // 2) >= least:
        rest = best[:, 2 * half :]
        best = np.maximum(best[:, :half], best[:, half : 2 * half])
        if rest.shape[1]:
            np.maximum(best[:, :1], rest, out=best[:, :1])
    return best


def _place(row: Ints, counted: NDArray[np.bool_], rows: int) -> Ints:
    """How many counted entries of its row stand before each entry; rows rise."""
    before: Ints = np.cumsum(counted) - counted
    begins = np.searchsorted(row, np.arange(rows))
    first = np.append(before, 0)[begins] if len(row) else np.zeros(rows, np.int64)
    return before - first[row]
