"""What the slates of a log are like beyond hits: of a policy in a simulated world, say.

Documents of a simulated world are new at each step, so kinds of items (topics) stand for
items. Shapes: B rows, N candidates, K slots, G kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.registry import nearest
from envs.spec import Feature, FeatureSpec
from offline.log import Log, LogError, starts
from offline.ranking import beyond

Floats = NDArray[np.float64]

COLUMNS = ("candidates", "mask", "slate", "response")


def measure(log: Log, groups: str | None = None) -> dict[str, Any]:
    """What the slates of a log are like, by kinds of items.

    Coverage is the share of kinds that are ever shown, Gini how unequally they are. Novelty
    is the mean self-information of what is shown, in bits, by how often its kinds were
    offered. Calibration is the divergence of a slate's kinds from those of what the user had
    clicked in the session, over slates after a first click. Diversity is `None` where slates
    hold one item, calibration where nobody clicks.

    Args:
        log: with features of candidates.
        groups: candidate feature of kinds, as in `kind_feature`.

    Raises:
        LogError: there is no such feature, or no rows.
    """
    spec = log.header.spec
    feature = kind_feature(spec, groups)
    columns, size = spec.candidate_slice(feature.name), max(feature.size, 2)
    shown, offered = np.zeros(size), np.zeros(size)
    varied: list[Floats] = []
    fitting: list[Floats] = []
    rows = slots = 0
    for batch in log.sessions(columns=COLUMNS):
        kinds, slate = _kinds(batch["candidates"][:, :, columns]), batch["slate"]
        offered += beyond.shares(kinds[batch["mask"]]).sum(axis=0, dtype=np.float64)
        there = slate >= 0
        items = np.take_along_axis(kinds, np.maximum(slate, 0)[..., None], axis=1)
        flat = items.reshape(-1, size)
        shown += beyond.shares(flat[there.ravel()]).sum(axis=0, dtype=np.float64)
        lists = np.where(there, np.arange(len(flat)).reshape(slate.shape), -1)
        varied.append(beyond.diversity(lists, beyond.unit_rows(flat)))
        spread = beyond.shares(flat)
        clicked = there & (batch["response"][..., spec.response_slice("click").start] > 0)
        taken = np.where(clicked[..., None], spread.reshape(items.shape), 0.0).sum(axis=1)
        fitting.append(beyond.miscalibration(lists, spread, _before(taken, starts(batch))))
        rows, slots = rows + len(slate), max(slots, slate.shape[1])
    if not rows or not shown.sum():
        raise LogError("the log shows no items of any kind; record some first")
    met = shown > 0
    information = -np.log2(offered[met] / offered.sum())
    return {
        "rows": rows,
        "kinds": size,
        f"diversity@{slots}": _mean(varied),
        f"calibration_kl@{slots}": _mean(fitting),
        f"coverage@{slots}": beyond.coverage(shown),
        f"gini@{slots}": beyond.gini(shown),
        f"novelty@{slots}": float(shown[met] @ information / shown.sum()),
    }


def _kinds(values: NDArray[Any]) -> NDArray[Any]:
    """How much of each kind items are, (B, N, G); a number x between 0 and 1 is 1 - x, and x."""
    return np.concatenate([1.0 - values, values], axis=2) if values.shape[2] == 1 else values


def _before(values: NDArray[Any], begins: NDArray[Any]) -> NDArray[Any]:
    """Sums over the rows before each in its session, (B, G)."""
    # In float64, so that what earlier sessions add takes nothing from the sums of this one.
    total = np.cumsum(values, axis=0, dtype=np.float64) - values
    lengths = np.diff(begins, append=len(values))
    return np.asarray(total - np.repeat(total[begins], lengths, axis=0))


def _mean(parts: Sequence[Floats]) -> float | None:
    values = np.concatenate(parts)
    given = values[~np.isnan(values)]
    return float(given.mean()) if len(given) else None


def kind_feature(spec: FeatureSpec, name: str | None) -> Feature:
    """The candidate feature that says of which kind an item is.

    One-hot columns or a vector, or a number from 0 to 1, which makes two kinds; the first of
    these in that order if no name is given.

    Raises:
        LogError: there is none.
    """
    found = [each for each in spec.candidate if each.kind in ("one_hot", "vector")]
    found += [each for each in spec.candidate if each.kind == "number" and _is_share(each)]
    fit = {each.name: each for each in found}
    if not fit:
        raise LogError("no feature of the log's items says of which kind they are")
    if name is None:
        return found[0]
    if name not in fit:
        raise LogError(
            f"'{name}' is no one-hot feature, vector or number from 0 to 1 of items; "
            f"{nearest(name, fit)}"
        )
    return fit[name]


def _is_share(feature: Feature) -> bool:
    return (feature.low, feature.high) == (0.0, 1.0)
