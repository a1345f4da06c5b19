"""What lists are like beyond hits: how much of the catalogue, how varied, new and fitting.

Shapes: B users, K places, N items, G groups (genres). Lists hold numbers of items, and -1
where they are short.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Lists = NDArray[np.int64]
Floats = NDArray[np.float64]
Groups = NDArray[np.floating[Any]]

SMOOTHING = 0.01
"""Share of the user's own groups in those of the list; Steck's alpha."""


def coverage(exposure: NDArray[Any]) -> float:
    """Share of the catalogue that stands in at least one list.

    Args:
        exposure: in how many lists each item stands, (N,).
    """
    return float((exposure > 0).mean())


def gini(exposure: NDArray[Any]) -> float:
    """How unequally the catalogue is shown: 0 all alike, 1 - 1/N all places to one item.

    Args:
        exposure: in how many lists each item stands, (N,); not all 0.
    """
    rising = np.sort(exposure).astype(np.float64)
    count = len(rising)
    weighted = float(np.arange(1, count + 1) @ rising)
    return 2 * weighted / (count * float(rising.sum())) - (count + 1) / count


def self_information(takers: NDArray[Any], users: int) -> Floats:
    """-log2 of the share of users who took each item, in bits, (N,).

    One user more is counted for each item and for all, so that it is finite where nobody did.

    Args:
        takers: users who took each item, (N,).
        users: all of them.
    """
    return np.asarray(np.log2(users + 1.0) - np.log2(takers + 1.0))


def novelty(lists: Lists, information: Floats) -> Floats:
    """Mean self-information of the listed items, in bits, (B,); NaN for an empty list.

    Source: Zhou et al. (2010), PNAS 107, "surprisal".

    Args:
        lists: (B, K).
        information: of `self_information`, (N,).
    """
    return _mean_over_places(information[lists], lists >= 0)


def unit_rows(features: Groups) -> NDArray[np.float32]:
    """Rows of length 1, (N, G); of zeros where an item is in no group."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(length > 0, length, 1.0), np.float32)


def diversity(lists: Lists, units: NDArray[np.float32]) -> Floats:
    """Mean of 1 - cosine over the pairs of a list, (B,); NaN where there is no pair.

    The sum over pairs is half of |sum of units|^2 - sum of |unit|^2, so no pair is formed.
    An item in no group differs from every other one.

    Source: Ziegler et al. (2005), Improving recommendation lists through topic
    diversification; there the similarities are summed.

    Args:
        lists: (B, K).
        units: rows of `unit_rows`, (N, G).
    """
    there = lists >= 0
    rows = np.where(there[..., None], units[lists], 0.0)
    total = np.square(rows.sum(axis=1)).sum(axis=1, dtype=np.float64)
    own = np.square(rows).sum(axis=(1, 2), dtype=np.float64)
    count = there.sum(axis=1).astype(np.float64)
    pairs = count * (count - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(pairs > 0, 1.0 - (total - own) / pairs, np.nan))


def shares(features: Groups) -> NDArray[np.float32]:
    """Each item as one unit spread over its groups, (N, G); zeros for one in no group."""
    total = features.sum(axis=1, keepdims=True)
    return np.asarray(features / np.where(total > 0, total, 1.0), np.float32)


def miscalibration(lists: Lists, spread: NDArray[np.float32], own: Groups) -> Floats:
    """Divergence of a list's groups from those of what the user took, in nats, (B,).

    KL(p || q'), with p the user's shares of groups, q the list's, and q' = 0.99 q + 0.01 p:
    0 for a list that mirrors the user. NaN where the user or the list has no groups.

    Source: Steck (2018), Calibrated recommendations, eq. 3 and 4.

    Args:
        lists: (B, K).
        spread: rows of `shares`, (N, G).
        own: what the user took, summed over items' rows of `spread`, (B, G).
    """
    found = np.where((lists >= 0)[..., None], spread[lists], 0.0).sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = own / own.sum(axis=1, keepdims=True)
        q = found / found.sum(axis=1, keepdims=True)
        mixed = (1 - SMOOTHING) * q + SMOOTHING * p
        terms = np.where(p > 0, p * np.log(p / mixed), 0.0)
    terms[~np.isfinite(p).all(axis=1) | ~np.isfinite(q).all(axis=1)] = np.nan
    return np.asarray(terms.sum(axis=1))


def _mean_over_places(values: Floats, there: NDArray[np.bool_]) -> Floats:
    count = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
