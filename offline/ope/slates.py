"""Estimators for single slates of K slots, as functions over rows.

Each assumes less about the target's slates and more about the user than the one
before: whole slates (no assumption), cascades (a slot's reward depends on the
slots up to it), single slots (on its own item only), and additive effects.
Slot rewards (R, K) sum to the reward of the row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offline.ope.columns import Refusal
from offline.ope.ragged import Floats, Ints
from offline.ope.ratios import weights

_SINGULAR = 1e-9
"""Eigenvalues of the slate's second moments below this share of the largest are 0."""

_CHUNK = 4_000_000


def standard(slot_log_ratio: Floats, reward: Floats) -> Floats:
    """Slate IPS: the product of the slots' ratios times the reward, (R,). Unbiased.

    Args:
        slot_log_ratio: log of target over behaviour probability of each slot's
            item given the earlier slots, (R, K).
        reward: of the whole slate, (R,).

    Source: Swaminathan et al. (2017), arXiv:1605.04812.
    """
    return weights(slot_log_ratio.sum(1)) * reward


def independent(marginal_log_ratio: Floats, slot_reward: Floats) -> Floats:
    """Independent IPS: sum_k w_k r_k, (R,), with the slots' marginal ratios.

    Unbiased where a slot's reward depends on its own item alone.

    Source: Li et al. (2018), "Offline evaluation of ranking policies with click
    models", arXiv:1804.10488 (the item-position model).
    """
    result: Floats = (weights(marginal_log_ratio) * slot_reward).sum(1)
    return result


def reward_interaction(slot_log_ratio: Floats, slot_reward: Floats) -> Floats:
    """Reward-interaction IPS: sum_k (w_1 ... w_k) r_k, (R,).

    Unbiased where a slot's reward depends on the items up to it (a cascade).

    Source: McInerney et al. (2020), "Counterfactual evaluation of slate
    recommendations with sequential reward interactions", arXiv:2007.12986.
    Deviation: not self-normalised.
    """
    result: Floats = (weights(slot_log_ratio.cumsum(1)) * slot_reward).sum(1)
    return result


def cascade_doubly_robust(
    slot_log_ratio: Floats, slot_reward: Floats, slot_q: Floats, slot_v: Floats
) -> Floats:
    """Cascade doubly robust: v_1 + sum_k (w_1 ... w_k) (r_k + v_{k+1} - q_k), (R,).

    The sequential doubly robust estimator along the slots: unbiased under the
    same assumption as `reward_interaction`, with less variance.

    Args:
        slot_log_ratio: as for `standard`, (R, K).
        slot_reward: (R, K).
        slot_q: predicted reward of slot k and later, after the items up to k, (R, K).
        slot_v: mean of slot_q over the target's item in slot k, (R, K).

    Source: Kiyohara et al. (2022), "Doubly robust off-policy evaluation for
    ranking policies under the cascade behavior model", arXiv:2202.01562.
    """
    later = np.zeros_like(slot_v)
    later[:, :-1] = slot_v[:, 1:]
    errors = weights(slot_log_ratio.cumsum(1)) * (slot_reward + later - slot_q)
    result: Floats = slot_v[:, 0] + errors.sum(1)
    return result


def pseudo_inverse(weight: Floats, reward: Floats) -> Floats:
    """Pseudo-inverse estimator: weight times the whole slate's reward, (R,).

    Unbiased where the expected reward is a sum of effects of each item in its
    slot; needs no rewards of single slots.

    Source: Swaminathan et al. (2017), arXiv:1605.04812.
    """
    return weight * reward


def pseudo_inverse_weights(
    slates: Ints, pairwise: NDArray[np.floating], target_marginals: NDArray[np.floating]
) -> Floats:
    """The weight of each logged slate, (R,): q' G^+ 1(slate).

    1(slate) marks the K of K * N (slot, item) pairs that are shown, G is its
    second moment under the log and q its mean under the target. Weights may be
    negative; under the target itself they are 1.

    Args:
        slates: shown positions, (R, K).
        pairwise: `SlateDistribution.pairwise()` of the log, (R, K, N, K, N).
        target_marginals: `SlateDistribution.marginals()` of the target, (R, K, N).

    Raises:
        Refusal: the target shows in some slot what the log never shows there.

    Source: Swaminathan et al. (2017), arXiv:1605.04812.
    """
    rows, slots, candidates = target_marginals.shape
    size = slots * candidates
    shown = np.arange(slots) * candidates + slates
    result = np.empty(rows)
    step = max(1, _CHUNK // size**2)
    for first in range(0, rows, step):
        part = slice(first, first + step)
        moments = np.asarray(pairwise[part], np.float64).reshape(-1, size, size)
        mean = np.asarray(target_marginals[part], np.float64).reshape(-1, size, 1)
        tolerance = _SINGULAR if pairwise.dtype == np.float64 else 1e-5
        solved = np.linalg.pinv(moments, rcond=tolerance, hermitian=True) @ mean
        missed = np.abs(moments @ solved - mean).max(axis=(1, 2))
        if missed.max() > 1e-3:
            raise Refusal(
                f"in row {first + int(missed.argmax())} the target shows an item in a slot where "
                "the log could never show it; log with exploration in every slot"
            )
        result[part] = np.take_along_axis(solved[:, :, 0], shown[part], 1).sum(1)
    return result
