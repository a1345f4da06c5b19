"""Targets of value learning over fragments.

Pure functions on (T, B) tensors: T steps of B users side by side, in whose
columns sessions follow one another. `_next` marks the observation after a
step: of the same session always, so that of a truncated session its final one.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Trace = Literal["harutyunyan", "peng", "watkins", "sarsa"]
TRACES: tuple[str, ...] = get_args(Trace)


def one_step_targets(
    reward: Tensor, terminated: Tensor, value_next: Tensor, *, discount: float = 1.0
) -> Tensor:
    """Reward + discount * V_next; the reward alone where the user has left.

    Args:
        reward: any shape, as all the others.
        terminated: bool; truncation is no termination, it bootstraps.
        value_next: value of the same session's next observation. Not read where
            `terminated`, so it may hold anything there.
        discount: per step.
    """
    return reward + discount * value_next.masked_fill(terminated, 0.0)


def n_step_returns(
    reward: Tensor, terminated: Tensor, truncated: Tensor, *, n: int, discount: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Discounted sums of up to n rewards, and how many they hold, (T, B) each.

    A sum stops with the session and with the fragment; whoever uses it
    bootstraps from what followed its last step, unless the user left there.

    Args:
        reward: (T, B).
        terminated: (T, B) bool.
        truncated: (T, B) bool.
        n: at least 1.
        discount: per step.
    """
    total, count = reward.clone(), torch.ones_like(reward, dtype=torch.int64)
    ended = terminated | truncated
    going_on = torch.ones_like(ended)
    for ahead in range(1, min(n, len(reward))):
        going_on = going_on[:-1] & ~ended[ahead - 1 : -1]
        more = discount**ahead * reward[ahead:]
        total[: len(more)] += more.masked_fill(~going_on, 0.0)
        count[: len(more)] += going_on
    return total, count


def lambda_returns(
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    value_next: Tensor,
    chosen_value: Tensor,
    *,
    lam: float,
    discount: float = 1.0,
    trace: Trace = "harutyunyan",
    greedy: Tensor | None = None,
    shown_value: Tensor | None = None,
) -> Tensor:
    """Lambda-returns over a fragment, (T, B).

    G_t = r_t + discount * [V_{t+1} + lambda * c_t * (G_{t+1} - baseline_{t+1})]
    where the session goes on; r_t where it terminates. The trace factor c_t is
    0 where the session was truncated and at the fragment's last step, whose
    targets are r + discount * V_{t+1}; otherwise it is 1. The traces:

    - `harutyunyan`: the baseline is the value of what was chosen, never cut.
    - `peng`: the baseline is V, so that the bracket is
      (1 - lambda) V_{t+1} + lambda G_{t+1}; never cut.
    - `watkins`: as `harutyunyan`, cut (c_t = 0) where slate t + 1 was exploratory.
    - `sarsa`: as `harutyunyan`, with V_{t+1} the value of the slate shown at
      t + 1. No slate is known after the last step of a fragment or of a
      truncated session: there V_{t+1} is `value_next`.

    Args:
        reward: (T, B).
        terminated: (T, B) bool, the user left at this step.
        truncated: (T, B) bool, the session was cut after this step; where both
            flags are set the step counts as terminated.
        value_next: V of the next observation of the same session, (T, B); of the
            final observation where truncated. Not read where terminated.
        chosen_value: Q_t of what was chosen at step t (the clicked item or no
            click), (T, B). Row 0 is not used.
        lam: lambda in [0, 1]; 0 gives `one_step_targets`.
        discount: per step, in [0, 1].
        trace: one of `TRACES`.
        greedy: for `watkins` only, (T, B) bool: slate t is the one the target
            policy would show. Row 0 is not used.
        shown_value: for `sarsa` only, (T, B): value of the slate shown at t, the
            expectation over choices. Row 0 is not used.

    Raises:
        ValueError: lambda or discount outside [0, 1], an unknown trace, or an
            argument that a trace lacks or would ignore.

    Source: Harutyunyan et al. (2016), arXiv:1602.04951 (Q(lambda) with off-policy
    corrections); Peng and Williams (1996); Watkins (1989). Deviation: the choice
    of the user within a slate is part of the action whose value is corrected.
    """
    _check(lam, discount, trace, greedy, shown_value)
    value = value_next
    going_on = ~(terminated | truncated)[:-1]
    if shown_value is not None:
        value = torch.cat([torch.where(going_on, shown_value[1:], value[:-1]), value[-1:]])
    targets = one_step_targets(reward, terminated, value, discount=discount)
    if lam == 0 or len(reward) == 1:
        return targets
    baseline = value[:-1] if trace == "peng" else chosen_value[1:]
    if greedy is not None:
        going_on = going_on & greedy[1:]
    weight = going_on.to(targets.dtype) * (lam * discount)
    targets[:-1] -= weight * baseline.masked_fill(~going_on, 0.0)
    for step in range(len(targets) - 2, -1, -1):
        targets[step].addcmul_(weight[step], targets[step + 1])
    return targets


def _check(
    lam: float, discount: float, trace: str, greedy: Tensor | None, shown_value: Tensor | None
) -> None:
    for name, number in (("lam", lam), ("discount", discount)):
        if not 0 <= number <= 1:
            raise ValueError(f"{name} is {number}; it must lie from 0 to 1")
    if trace not in TRACES:
        raise ValueError(f"unknown trace '{trace}'; choose one of {', '.join(TRACES)}")
    for name, owner, given in (
        ("greedy", "watkins", greedy is not None),
        ("shown_value", "sarsa", shown_value is not None),
    ):
        if given != (trace == owner):
            verb = "needs" if trace == owner else "does not use"
            raise ValueError(f"the trace '{trace}' {verb} `{name}`, which belongs to '{owner}'")
