"""How likely logged slates are under a softmax without replacement."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.core.slate_probability import NEVER, plackett_luce_slots


def slate_log_likelihood(
    log_weights: Tensor, mask: Tensor, slates: Tensor, pinned: Tensor | None = None
) -> Tensor:
    """Log-likelihood of ordered slates under Plackett-Luce at temperature 1, (B,).

    Only what a policy chose counts: slots that are pinned or padding add nothing, and
    items that are pinned are offered to no other slot.

    Args:
        log_weights: (B, N).
        mask: eligible candidates, (B, N) bool.
        slates: positions, (B, K), each once in a row; -1 from where a slate ends.
        pinned: positions fixed from outside, (B, K), -1 where the slot is free.

    Source: Plackett (1975), "The analysis of permutations"; Luce (1959).
    """
    padding = slates < 0
    chosen = ~padding
    # A position that the slate holds already, which the sums leave out.
    places = torch.where(padding, slates[:, :1], slates)
    free = mask
    if pinned is not None:
        fixed = pinned >= 0
        chosen = chosen & ~fixed
        padded = torch.nn.functional.pad(mask, (1, 0))  # pins of -1 land in column 0
        free = padded.scatter(1, pinned + 1, False)[:, 1:]
    scores = log_weights.masked_fill(~free, NEVER)
    slots = plackett_luce_slots(scores, places, padding)
    return torch.where(chosen, slots, 0.0).sum(1)
