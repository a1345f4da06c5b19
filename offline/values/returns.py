"""Targets of value learning along logged sessions, corrected for what another policy did.

Pure functions on (T, B) tensors as in `algorithms.core.returns`: T consecutive rows, in
whose columns sessions follow one another.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-12


def corrected_returns(
    reward: Tensor,
    terminated: Tensor,
    cut: Tensor,
    value_next: Tensor,
    chosen_value: Tensor,
    keep: Tensor,
    *,
    discount: float = 1.0,
) -> Tensor:
    """Returns along what was logged, as far as the learned policy would do it too, (T, B).

    G_t = r_t + discount * [V_{t+1} + c_{t+1} (G_{t+1} - Q_{t+1}(chosen))], where the
    session goes on; r_t where it terminates. V is the value under the learned policy.
    At the last step, and where `cut`, c_{t+1} is 0: the target is r_t + discount * V_{t+1}.

    The bracket's second part has the mean 0 where Q is right, whoever acted, so any c
    has the right fixed point; c_t <= pi(chosen) / mu(chosen) gives a contraction.

    Args:
        reward: (T, B).
        terminated: (T, B) bool, the user left at this step.
        cut: (T, B) bool, nothing is known of the step after this one but what was seen.
        value_next: V of the next observation, (T, B); not read where terminated.
        chosen_value: Q of what was chosen at each step, (T, B). Row 0 is not used.
        keep: c, (T, B), from 0 to 1. Row 0 is not used.
        discount: per step.

    Source: Munos et al. (2016), "Safe and efficient off-policy reinforcement learning",
    arXiv:1606.02647, eq. 3; with a constant c Harutyunyan et al. (2016),
    arXiv:1602.04951.
    """
    targets = reward + discount * value_next.masked_fill(terminated, 0.0)
    weight = (discount * keep[1:]).masked_fill((terminated | cut)[:-1], 0.0)
    for step in range(len(targets) - 2, -1, -1):
        targets[step].addcmul_(weight[step], targets[step + 1] - chosen_value[step + 1])
    return targets


def choice_probability(
    choice_model: str, masses: Tensor, no_click_mass: float, slates: Tensor, position: Tensor
) -> Tensor:
    """Probability that a position is chosen from a slate, or no click, (B,).

    Args:
        choice_model: one of `envs.choice.CHOICE_MODELS`.
        masses: as `algorithms.core.affinity.attraction` gives them, (B, N).
        no_click_mass: the same, of no click; cascades ignore it.
        slates: (B, K) positions; -1 where a slate is shorter.
        position: of the chosen item, (B,); -1 for no click. An item that is not on the
            slate has the probability 0.
    """
    there = slates >= 0
    shown = masses.gather(1, slates.clamp_min(0)).masked_fill(~there, 0.0)
    if choice_model.endswith("cascade"):
        reach = torch.nn.functional.pad((1 - shown).cumprod(1), (1, 0), value=1.0)
        slots, none = reach[:, :-1] * shown, reach[:, -1]
    else:
        total = (shown.sum(1) + no_click_mass).clamp_min(_TINY)
        slots, none = shown / total[:, None], no_click_mass / total
    of_item = (slots * ((slates == position[:, None]) & there)).sum(1)
    return torch.where(position < 0, none, of_item)
