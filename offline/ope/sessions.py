"""Estimators of the discounted return of a session, as functions over ragged columns.

`log_weight` (R,) is the log of the product of target over behaviour
probabilities of the session up to and with the row, rho_t; `offsets` (S + 1,)
tells the sessions, `q` and `v` are predictions of the return from the row on,
of what was shown and of what the target would show.
"""

from __future__ import annotations

import numpy as np

from offline.ope.contributions import Contributions, Weighted
from offline.ope.ragged import Floats, Ints, discounts, shifted, sums
from offline.ope.ratios import weights


def returns(reward: Floats, offsets: Ints, discount: float = 1.0) -> Contributions:
    """The discounted returns as logged: the value of the policy that logged them."""
    return Contributions(sums(discounts(offsets, discount) * reward, offsets))


def per_decision(
    log_weight: Floats, reward: Floats, offsets: Ints, discount: float = 1.0
) -> Contributions:
    """Per-decision importance sampling: sum_t gamma^t rho_t r_t. Unbiased.

    Source: Precup, Sutton and Singh (2000), "Eligibility traces for off-policy
    policy evaluation", ICML.
    """
    terms = discounts(offsets, discount) * weights(log_weight) * reward
    return Contributions(sums(terms, offsets))


def weighted(
    log_weight: Floats, reward: Floats, offsets: Ints, discount: float = 1.0
) -> Contributions:
    """Weighted importance sampling: returns averaged by the weights of whole sessions.

    Consistent; biased towards the logged mean with few sessions.

    Source: Precup, Sutton and Singh (2000), as above.
    """
    total = returns(reward, offsets, discount).base
    whole = Weighted(log_weight[offsets[1:] - 1], total, np.arange(len(total) + 1))
    return Contributions(np.zeros(len(total)), whole)


def weighted_per_decision(
    log_weight: Floats, reward: Floats, offsets: Ints, discount: float = 1.0
) -> Contributions:
    """Weighted per-decision: step by step, sum_i rho_it r_it / sum_i rho_it.

    Consistent. A session that has ended counts with its last weight and reward
    0, as if it went on in an absorbing state.

    Source: Thomas (2015), "Safe reinforcement learning", chapter 3 (CWPDIS);
    Precup et al. (2000) divide by another sum, which is not consistent.
    """
    terms = Weighted(log_weight, discounts(offsets, discount) * reward, offsets)
    return Contributions(np.zeros(len(offsets) - 1), terms)


def fitted_q(v: Floats, offsets: Ints) -> Contributions:
    """Fitted Q evaluation: mean prediction for the first step. As biased as the model.

    `v` comes from `fitted.fitted_q`, fitted on other sessions than its own.

    Source: Le, Voloshin and Yue (2019), arXiv:1903.08738.
    """
    return Contributions(v[offsets[:-1]])


def doubly_robust(
    log_weight: Floats,
    reward: Floats,
    q: Floats,
    v: Floats,
    offsets: Ints,
    discount: float = 1.0,
) -> Contributions:
    """Sequential doubly robust: v_0 + sum_t gamma^t rho_t (r_t + gamma v_{t+1} - q_t).

    Unbiased, and precise where the model is. v is 0 after the last row.

    Source: Jiang and Li (2016), arXiv:1511.03722, eq. 10, its recursion summed up.
    """
    terms = weights(log_weight) * _errors(reward, q, v, offsets, discount)
    return Contributions(v[offsets[:-1]] + sums(terms, offsets))


def weighted_doubly_robust(
    log_weight: Floats,
    reward: Floats,
    q: Floats,
    v: Floats,
    offsets: Ints,
    discount: float = 1.0,
) -> Contributions:
    """Weighted doubly robust: as sequential, with the weights of each step normalised.

    Consistent; ended sessions as in `weighted_per_decision`.

    Source: Thomas and Brunskill (2016), arXiv:1604.00923.
    """
    terms = Weighted(log_weight, _errors(reward, q, v, offsets, discount), offsets)
    return Contributions(v[offsets[:-1]], terms)


def _errors(reward: Floats, q: Floats, v: Floats, offsets: Ints, discount: float) -> Floats:
    """What the model missed at each row, discounted: gamma^t (r_t + gamma v_{t+1} - q_t)."""
    missed = reward + discount * shifted(v, offsets) - q
    return discounts(offsets, discount) * missed
