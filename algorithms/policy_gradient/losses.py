"""What policy gradients minimise: pure functions on rows, (rows,) each."""

from __future__ import annotations

import torch
from torch import Tensor


def likelihood_loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """-mean(log pi(a|s) * A); its gradient is the policy gradient's negative.

    Source: Williams (1992), "Simple statistical gradient-following algorithms
    for connectionist reinforcement learning".
    """
    return -(log_prob * advantage).mean()


def clipped_loss(
    log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float | None
) -> Tensor:
    """-mean(min(w A, clip(w, 1 - c, 1 + c) A)) with w = pi(a|s) / pi_old(a|s).

    Args:
        log_prob: of what was done, under the present policy.
        old_log_prob: the same under the policy that did it.
        advantage: of what was done.
        clip: c; `None` clips nothing, so that the loss is -mean(w A).

    Source: Schulman et al. (2017), arXiv:1707.06347, eq. 7 and, unclipped, 6.
    """
    ratio = (log_prob - old_log_prob).exp()
    gain = ratio * advantage
    if clip is not None:
        gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return -gain.mean()


def divergence(log_prob: Tensor, old_log_prob: Tensor) -> Tensor:
    """Estimate of KL(pi_old, pi) from actions of pi_old: mean(w - 1 - log w), never negative.

    Source: Schulman (2020), "Approximating KL divergence", the estimator k3.
    """
    log_ratio = log_prob - old_log_prob
    return (log_ratio.exp() - 1 - log_ratio).mean()


def shown_entropy(log_weights: Tensor, mask: Tensor, slates: Tensor) -> Tensor:
    """Entropy of each slot of a Plackett-Luce policy given the earlier slots shown, summed, (B,).

    Exact for one slot. For more it is an estimate of the slate's entropy from the
    one slate that was shown: unbiased if that was drawn from this policy, and its
    gradient leaves out how the earlier slots come about.

    Args:
        log_weights: (B, N).
        mask: (B, N) bool, eligible candidates.
        slates: (B, K) positions.
    """
    left, total = mask, log_weights.new_zeros(len(mask))
    for slot in range(slates.shape[1]):
        log_probs = log_weights.masked_fill(~left, -1e30).log_softmax(1)
        total = total - (log_probs.exp() * log_probs.masked_fill(~left, 0.0)).sum(1)
        left = left.scatter(1, slates[:, slot, None], False)
    return total
