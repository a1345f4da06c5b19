"""From estimates of what an item gives to the log-weights that slates are drawn from.

Shapes: B users, N candidates, K slots, M posterior draws.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LATER = 1e-6
"""What a draw's second place counts against its first, its third against its second."""

UNTRIED = 1e12
"""Index of what was never tried; finite, and above that of anything else."""


def confidence_index(mean: Tensor, count: Tensor, factor: float) -> Tensor:
    """Upper confidence bound of each arm: mean + factor * sqrt(ln(total count) / count).

    Args:
        mean: of each arm, (A,), float64.
        count: of its observations, (A,), float64; may be fractions of them.
        factor: in the feedback's unit; sqrt(2) is UCB1's for feedback in [0, 1].

    Returns:
        (A,); `UNTRIED` for arms without observations.

    Source: Auer et al. (2002), "Finite-time analysis of the multiarmed bandit
    problem"; Garivier and Moulines (2008), arXiv:0805.3415, for discounted and
    windowed counts, where factor is 2 B sqrt(xi) and B sqrt(xi).
    """
    ratio = count.sum().clamp_min(1.0).log() / count.clamp_min(1e-20)
    return torch.where(count > 0, mean + factor * ratio.sqrt(), UNTRIED)


def thompson_log_weights(scores: Tensor, mask: Tensor, slate_size: int) -> Tensor:
    """How often posterior draws rank a candidate first, as log-weights for every slot.

    A candidate's weight is the share of draws that rank it first, plus a
    millionth of the share that rank it second, and so on: a softmax without
    replacement then fills each slot by the share of draws in which an item
    comes first among those left, and by the next ranks where none does.

    Args:
        scores: of each candidate in each draw, (B, N, M).
        mask: (B, N) bool, eligible candidates.
        slate_size: K, of which at least as many must be eligible.

    Returns:
        (B, N), finite.
    """
    scores = scores.masked_fill(~mask[..., None], -torch.inf)
    best = scores.topk(slate_size, dim=1).indices
    places = _LATER ** torch.arange(slate_size, dtype=torch.float64, device=scores.device)
    weights = scores.new_full(mask.shape, _LATER**slate_size, dtype=torch.float64)
    share = (places / scores.shape[2])[:, None].expand(len(scores), -1, scores.shape[2])
    weights.scatter_add_(1, best.flatten(1), share.flatten(1))
    return weights.log().to(scores.dtype)


def inverse_gap_log_weights(mean: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Probabilities that fall with the gap to the best estimate, as log-weights.

    p(a) = 1 / (n + gamma * (best - mean(a))) for each of the n eligible
    candidates but the best, which takes the rest.

    Args:
        mean: estimate of each candidate, (B, N).
        mask: (B, N) bool, eligible candidates.
        gamma: the greater, the greedier.

    Source: Foster and Rakhlin (2020), "Beyond UCB: optimal and efficient
    contextual bandits with regression oracles" (SquareCB), arXiv:2002.04926.
    """
    mean = mean.masked_fill(~mask, -torch.inf)
    best, position = mean.max(dim=1, keepdim=True)
    probability = 1 / (mask.sum(1, keepdim=True) + gamma * (best - mean))
    others = probability.scatter(1, position, 0.0)  # 0 for ineligible candidates too
    rest = 1 - others.sum(1, keepdim=True)
    return probability.scatter(1, position, rest).clamp_min(torch.finfo(mean.dtype).tiny).log()


def top_slate(scores: Tensor, mask: Tensor, slate_size: int) -> Tensor:
    """The best eligible candidates in order, ties by position, (B, K)."""
    keys = scores.masked_fill(~mask, -torch.inf)
    return keys.argsort(dim=1, descending=True, stable=True)[:, :slate_size]
