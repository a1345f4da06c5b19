"""Estimators for sessions of one step, as functions over rows.

`weight` is target over behaviour probability of what was shown, `q` the
predicted reward of it, and `v` the mean prediction over what the target would
show; all are (R,), and so are the results, whose mean is the estimate.
"""

from __future__ import annotations

import numpy as np

from offline.ope.contributions import Contributions, Weighted
from offline.ope.ragged import Floats


def ips(weight: Floats, reward: Floats) -> Floats:
    """Inverse propensity scoring: w r. Unbiased.

    Source: Horvitz and Thompson (1952), doi:10.1080/01621459.1952.10483446.
    """
    return weight * reward


def self_normalised(log_weight: Floats, reward: Floats) -> Contributions:
    """Self-normalised IPS: sum(w r) / sum(w). Consistent, and moves with the reward's zero.

    Source: Swaminathan and Joachims (2015), "The self-normalized estimator for
    counterfactual learning", NeurIPS.
    """
    rows = np.arange(len(reward) + 1)
    return Contributions(np.zeros(len(reward)), Weighted(log_weight, reward, rows))


def clipped(weight: Floats, reward: Floats, largest: float) -> Floats:
    """Clipped IPS: min(w, c) r. Biased where weights exceed c, with less variance.

    Source: Ionides (2008), "Truncated importance sampling",
    doi:10.1198/106186008X320456.
    """
    return np.minimum(weight, largest) * reward


def direct(v: Floats) -> Floats:
    """Direct method: what the model predicts of the target. As biased as the model.

    Source: Dudík, Langford and Li (2011), arXiv:1103.4601.
    """
    return v.copy()


def doubly_robust(weight: Floats, reward: Floats, q: Floats, v: Floats) -> Floats:
    """Doubly robust: v + w (r - q). Unbiased, and precise where the model is.

    Source: Dudík, Langford and Li (2011), arXiv:1103.4601.
    """
    return v + weight * (reward - q)


def switch_doubly_robust(
    weight: Floats, reward: Floats, q: Floats, v: Floats, largest: float
) -> Floats:
    """Switch-DR: v + w (r - q) where w <= tau, and v alone elsewhere.

    Source: Wang, Agarwal and Dudík (2017), arXiv:1612.01205 (the variant
    with doubly robust in place of IPS).
    """
    return v + np.where(weight <= largest, weight, 0.0) * (reward - q)


def optimistic_shrinkage(
    weight: Floats, reward: Floats, q: Floats, v: Floats, strength: float
) -> Floats:
    """DR with optimistic shrinkage: w becomes lambda w / (w^2 + lambda).

    lambda = 0 is the direct method, and infinity is doubly robust.

    Source: Su, Dimakopoulou, Krishnamurthy and Dudík (2020), arXiv:1907.09623.
    """
    shrunk = weight if np.isinf(strength) else _shrunk(weight, strength)
    return v + shrunk * (reward - q)


def _shrunk(weight: Floats, strength: float) -> Floats:
    below = weight**2 + strength
    return np.divide(strength * weight, below, out=np.zeros_like(weight), where=below > 0)
