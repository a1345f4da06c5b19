"""What the slates of a log are like beyond hits: of a policy in a simulated world, say.

Documents of a simulated world are new at each step, so kinds of items (topics) stand for
items. Shapes: B rows, N candidates, K slots, G kinds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.registry import nearest
from envs.spec import Feature, FeatureSpec
from offline.log import Log, LogError
from offline.ranking import beyond


def measure(log: Log, groups: str | None = None) -> dict[str, Any]:
    """Diversity, coverage, Gini and novelty of the slates that a log shows, by kinds of items.

    Coverage is the share of kinds that are ever shown, Gini how unequally they are. Novelty
    is the mean self-information of what is shown, in bits, by how often its kinds were
    offered. Diversity is `None` where slates hold one item.

    Args:
        log: with features of candidates.
        groups: candidate feature of kinds, one-hot or a vector; the first such if not given.

    Raises:
        LogError: there is no such feature, or no rows.
    """
    spec = log.header.spec
    columns = spec.candidate_slice(kind_feature(spec, groups).name)
    size = columns.stop - columns.start
    shown, offered = np.zeros(size), np.zeros(size)
    parts: list[NDArray[np.float64]] = []
    rows = slots = 0
    for batch in log.batches(columns=("candidates", "mask", "slate")):
        kinds, slate = batch["candidates"][:, :, columns], batch["slate"]
        offered += beyond.shares(kinds[batch["mask"]]).sum(axis=0, dtype=np.float64)
        there = slate >= 0
        items = np.take_along_axis(kinds, np.maximum(slate, 0)[..., None], axis=1)
        flat = items.reshape(-1, size)
        shown += beyond.shares(flat[there.ravel()]).sum(axis=0, dtype=np.float64)
        lists = np.where(there, np.arange(len(flat)).reshape(slate.shape), -1)
        parts.append(beyond.diversity(lists, beyond.unit_rows(flat)))
        rows, slots = rows + len(slate), max(slots, slate.shape[1])
    if not rows or not shown.sum():
        raise LogError("the log shows no items of any kind; record some first")
    diversity = np.concatenate(parts)
    given = diversity[~np.isnan(diversity)]
    met = shown > 0
    information = -np.log2(offered[met] / offered.sum())
    return {
        "rows": rows,
        "kinds": size,
        f"diversity@{slots}": float(given.mean()) if len(given) else None,
        f"coverage@{slots}": beyond.coverage(shown),
        f"gini@{slots}": beyond.gini(shown),
        f"novelty@{slots}": float(shown[met] @ information / shown.sum()),
    }


def kind_feature(spec: FeatureSpec, name: str | None) -> Feature:
    """The candidate feature that says of which kind an item is.

    Raises:
        LogError: there is none.
    """
    fit = {each.name: each for each in spec.candidate if each.kind in ("one_hot", "vector")}
    if not fit:
        raise LogError("no feature of the log's items says of which kind they are")
    if name is None:
        return next(iter(fit.values()))
    if name not in fit:
        raise LogError(f"'{name}' is no one-hot feature or vector of items; {nearest(name, fit)}")
    return fit[name]
