"""The mathematics of MARWIL, as pure functions on rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def returns_to_go(
    reward: NDArray[np.float32], step: NDArray[np.int64], discount: float
) -> NDArray[np.float32]:
    """Discounted sum of rewards from each row to the end of its session, (rows,).

    Args:
        reward: (rows,), of whole sessions, the rows of each one after the other.
        step: number of each row in its session, (rows,), from 0.
        discount: per step, in [0, 1].
    """
    total = reward.astype(np.float64)
    if discount == 0 or not len(step):
        return reward
    # Rows by step, the last ones first: all sessions that are this long at once.
    order = np.argsort(step, kind="stable")
    for rows in np.split(order, np.bincount(step).cumsum()[:-1])[:0:-1]:
        total[rows - 1] += discount * total[rows]
    with np.errstate(over="ignore"):  # infinities are for the caller to see
        return total.astype(np.float32)


def normaliser(moment: Tensor, count: int, square: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """Moving average of squared advantages, and the same freed from where it began.

    m_t = (1 - rate) m_{t-1} + rate x_t with m_0 = 0; c^2_t = m_t / (1 - (1 - rate)^t),
    which is x_1 at first and a weighted mean of all x ever after. RLlib's begins at 100
    and moves by 1e-8 a row.

    Args:
        moment: m_{t-1}, ().
        count: t, from 1.
        square: x_t, the mean of squared advantages of a minibatch, ().
        rate: in (0, 1].

    Returns:
        m_t and c^2_t, () each.

    Source: the correction is that of Kingma and Ba (2015), arXiv:1412.6980, algorithm 1.
    """
    moment = (1 - rate) * moment + rate * square
    return moment, moment / (1 - (1 - rate) ** count)


def advantage_weights(advantage: Tensor, square: Tensor, beta: float, largest: float) -> Tensor:
    """min(exp(beta * A / c), largest), (rows,).

    Args:
        advantage: A, (rows,).
        square: c^2, ().
        beta: how much better rows count more; 0 imitates all alike.
        largest: weight of a row.

    Source: Wang et al. (2018), "Exponentially weighted imitation learning for batched
    historical data", eq. 7 and section 5. Deviation: weights are clipped.
    """
    return (beta * advantage / square.sqrt().clamp_min(1e-8)).exp().clamp_max(largest)


def weighted_likelihood_loss(log_likelihood: Tensor, weight: Tensor) -> Tensor:
    """-mean(weight * log pi), with rows of (rows,) each."""
    return -(weight * log_likelihood).mean()


def spread(values: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and standard deviation; 1 for the latter where all are equal."""
    deviation = float(values.std(dtype=np.float64))
    return float(values.mean(dtype=np.float64)), deviation if deviation > 0 else 1.0


def half_square(error: Tensor) -> Tensor:
    """Half the mean squared error, ()."""
    return 0.5 * torch.square(error).mean()
