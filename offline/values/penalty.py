"""What keeps learned values from being too hopeful about items that the log lacks."""

from __future__ import annotations

import torch
from torch import Tensor


def conservative_gap(values: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    """How far the best values stand above that of what was chosen, (B,).

    log(sum_i w_i exp(Q_i) / sum_i w_i) - Q_chosen: a soft maximum over all items, weighted
    as they attract, less the logged one. As a loss it lowers values in general and
    raises those of what the log holds, so that unseen items are not preferred by mistake.

    Args:
        values: Q_i, (B, N), in the network's own unit; the temperature is 1 of it.
        weights: w_i >= 0, (B, N); 0 where an item may not be shown.
        chosen: position of what was logged, (B,).

    Source: Kumar et al. (2020), "Conservative Q-learning", arXiv:2006.04779, eq. 4,
    CQL(rho) with rho proportional to w; CQL(H) where all w are equal. Deviation: items are
    not actions of the recommender here, clicks on them are the user's. What the user
    would choose among all candidates, w, is therefore the prior, and there is no gap
    where nothing was clicked.
    """
    logs = weights.log()
    soft = torch.logsumexp(logs + values, 1) - torch.logsumexp(logs, 1)
    return soft - values.gather(1, chosen[:, None])[:, 0]
