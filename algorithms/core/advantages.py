"""How much better than expected what was done turned out, over fragments.

Pure functions on (T, B) tensors, T steps of B users side by side, in whose
columns sessions follow one another; names as in `algorithms.core.returns`.
"""

from __future__ import annotations

from torch import Tensor

from algorithms.core.returns import lambda_returns


def generalised_advantages(
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    value_next: Tensor,
    value: Tensor,
    *,
    lam: float,
    discount: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Generalised advantages, and the returns that a value network is to predict.

    A_t = d_t + discount * lambda * A_{t+1} with
    d_t = r_t + discount * V_{t+1} - V_t. Nothing follows a terminated step
    (V_{t+1} counts as 0). A truncated step and the fragment's last one bootstrap
    from V_{t+1}, and A_{t+1} counts as 0. Lambda 1 gives n-step advantages
    up to the fragment's edge, lambda 0 the errors d_t.

    Args:
        reward: (T, B).
        terminated: (T, B) bool, the user left at this step.
        truncated: (T, B) bool, the session was cut after this step.
        value_next: V of the next observation of the same session, (T, B); not
            read where terminated.
        value: V of the observation acted on, (T, B).
        lam: lambda in [0, 1].
        discount: per step, in [0, 1].

    Returns:
        advantages: (T, B).
        returns: A_t + V_t, (T, B).

    Source: Schulman et al. (2016), arXiv:1506.02438, eq. 16; as lambda-returns
    with the values as their baseline.
    """
    returns = lambda_returns(
        reward, terminated, truncated, value_next, value, lam=lam, discount=discount
    )
    return returns - value, returns


def returns_to_go(reward: Tensor, ended: Tensor, *, discount: float = 1.0) -> tuple[Tensor, Tensor]:
    """Discounted sum of rewards from each step to the end of its session.

    Args:
        reward: (T, B).
        ended: (T, B) bool, the session's last step.
        discount: per step.

    Returns:
        returns: (T, B); of what the fragment holds where the session goes on after it.
        complete: (T, B) bool, whether the session's end is in the fragment.
    """
    returns, complete = reward.clone(), ended.clone()
    for step in range(len(reward) - 2, -1, -1):
        going_on = ~ended[step]
        returns[step] += discount * going_on * returns[step + 1]
        complete[step] |= complete[step + 1]
    return returns, complete


def standardised(advantages: Tensor) -> Tensor:
    """Advantages less their mean, over their standard deviation; 0 where all are equal."""
    centred = advantages - advantages.mean()
    return centred / (centred.square().mean().sqrt() + 1e-8)
