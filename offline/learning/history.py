"""What a learner remembers of logged sessions, computed anew."""

from __future__ import annotations

import numpy as np
import torch

from envs.history import History
from offline.log import Rows


def remember(rows: Rows, history: History) -> Rows:
    """Rows with another history, as if it had been kept while they were logged.

    One unit of time passes with each step.

    Args:
        rows: whole sessions, with candidates, slates and responses; of any length, so
            that step by step all sessions that reach it are updated together.
        history: to remember.

    Returns:
        The same rows with another column `history`, (rows, H).
    """
    step = rows["step"]
    seen = rows.tensors(("candidates", "response"))
    # Nothing was clicked in a slot that is padding.
    slates = torch.from_numpy(rows["slate"]).clamp_min(0)
    state = history.initial(len(rows))
    order = np.argsort(step, kind="stable")
    counts = np.bincount(step) if len(step) else np.zeros(1, np.int64)
    groups = np.split(order, counts.cumsum()[:-1])
    for following in groups[1:]:
        before = torch.from_numpy(following - 1)
        state[before + 1] = history.update(
            state[before],
            seen["candidates"][before],
            seen["response"][before],
            slates=slates[before],
        )
    return rows.replace(history=state.numpy())
