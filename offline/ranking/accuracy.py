"""How many of the items that a user went on to take stand in the list, and how far up.

Shapes: B users, K places. All are means over users of numbers between 0 and 1, which
ir-measures computes as P, R, nDCG, AP and Success. An item is relevant or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]
Floats = NDArray[np.float64]
Counts = NDArray[Any]


def precision(hits: Hits, relevant: Counts) -> Floats:
    """Share of the K places that hold a relevant item, (B,).

    Args:
        hits: whether each place holds one, (B, K); a short list's empty places do not.
        relevant: how many relevant items there are, (B,), at least 1.
    """
    return np.asarray(hits.mean(axis=1))


def recall(hits: Hits, relevant: Counts) -> Floats:
    """Share of the relevant items that stand in the list, (B,); arguments as `precision`."""
    return np.asarray(hits.sum(axis=1) / relevant)


def hit_rate(hits: Hits, relevant: Counts) -> Floats:
    """1 where the list holds a relevant item, else 0, (B,); arguments as `precision`."""
    return np.asarray(hits.any(axis=1), np.float64)


def ndcg(hits: Hits, relevant: Counts) -> Floats:
    """Discounted gain over that of the best list of K, (B,); arguments as `precision`.

    A relevant item in place i, from 1, gains 1 / log2(i + 1).

    Source: Järvelin and Kekäläinen (2002), Cumulated gain-based evaluation of IR techniques.
    """
    gain = 1.0 / np.log2(np.arange(hits.shape[1]) + 2.0)
    ideal = np.cumsum(gain)[np.minimum(relevant, hits.shape[1]) - 1]
    return np.asarray((hits @ gain) / ideal)


def average_precision(hits: Hits, relevant: Counts) -> Floats:
    """Precision at each relevant item of the list, summed, over all relevant items, (B,).

    As trec_eval's `map_cut`: relevant items beyond the K places count in the divisor.
    Arguments as `precision`.
    """
    places = np.arange(1, hits.shape[1] + 1)
    at_hits = np.where(hits, np.cumsum(hits, axis=1) / places, 0.0)
    return np.asarray(at_hits.sum(axis=1) / relevant)


METRICS = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "map": average_precision,
    "hit_rate": hit_rate,
}
"""By their names in results, which `@` and K follow."""
