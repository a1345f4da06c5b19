"""How far a log covers what a policy would show: what a learner from logs cannot know."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from algorithms.policy import Policy
from offline.judge.target import NEEDED, Target, target_of
from offline.log import Log, LogError, Rows
from offline.log.rows import Array
from offline.log.sessions import codes
from offline.observed import STATED, distributions
from offline.ope.diagnostics import overlap

ROWS = 20_000
"""Rows looked at, unless another number is asked for."""

_COLUMNS = tuple(
    dict.fromkeys(
        (*NEEDED, *STATED, "log_propensity", "slot_log_propensities", "propensity_source")
    )
)
_BATCH, _LEAST = 4096, 2048
_FEW_ROWS, _FEW_SHARE, _CONCENTRATED, _UNSEEN = 100, 0.01, 0.5, 0.01


@dataclass(frozen=True)
class Coverage:
    """What a log can tell of a policy, row by row; nothing about later rows of a session.

    Attributes:
        rows: looked at.
        known: share of them with propensities.
        effective: sample size, (sum w)^2 / sum w^2 over the rows with propensities, where w
            is how much likelier the policy shows the logged slate; `None` without any.
        effective_share: of these rows.
        top_share: share of all weight in the top 1 % of these rows; `None` where all is 0.
        never: share of rows with a stated distribution in which the item that the policy
            likes best was not shown, and could not have been; `None` without any.
        agreement: share of rows whose first item is the one that the policy likes best.
    """

    rows: int
    known: float
    effective: float | None
    effective_share: float | None
    top_share: float | None
    never: float | None
    agreement: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def warning(self) -> str | None:
        """One plain sentence; `None` where the log covers the policy well."""
        if self.effective is None or self.effective_share is None:
            return (
                "the log has no propensities, so it cannot be known how far it covers the policy; "
                f"its first item is the policy's choice in {self.agreement:.1%} of the rows"
            )
        faults = []
        if self.never is not None and self.never > _UNSEEN:
            faults.append(f"in {self.never:.1%} of the rows it never shows the policy's choice")
        if self.effective < _FEW_ROWS or self.effective_share < _FEW_SHARE:
            faults.append(
                f"of {round(self.rows * self.known):,} rows it says as much about the policy as "
                f"{self.effective:,.0f} of the policy's own"
            )
        if self.top_share is not None and self.top_share > _CONCENTRATED:
            faults.append(f"{self.top_share:.0%} of the weight lies in 1 % of them")
        if not faults:
            return None
        return f"the log covers this policy poorly: {'; '.join(faults)}"


def coverage_of(
    log: Log, policy: Policy | Target, *, rows: int = ROWS, seed: int = 0, greedy: bool = False
) -> Coverage:
    """Look at a sample of a log's rows.

    Args:
        log: with or without propensities.
        policy: acts as it explores.
        rows: to look at, about; shards are taken in a random order, and of each the
            beginning, so that time and memory do not grow with the log.
        seed: of that order.
        greedy: judge the policy's best slates instead.

    Raises:
        LogError: faults of the log, no row, or a policy that does not fit it.
    """
    target = policy if isinstance(policy, Target) else target_of(policy, log.header)
    if greedy:
        target = target.without_exploration()
    parts = [_look(part, target) for part in sampled(log, rows, seed)]
    if not parts:
        raise LogError("the log has no session from its first step on, so nothing can be judged")
    log_ratio, certain, agrees = (np.concatenate(column) for column in zip(*parts, strict=True))
    known = ~np.isnan(log_ratio)
    weights = overlap(log_ratio[known]) if known.any() else None
    stated = ~np.isnan(certain)
    return Coverage(
        rows=len(agrees),
        known=float(known.mean()),
        effective=None if weights is None else weights.effective,
        effective_share=None if weights is None else weights.effective / weights.sessions,
        top_share=None if weights is None or math.isnan(weights.top_share) else weights.top_share,
        never=float(certain[stated].mean()) if stated.any() else None,
        agreement=float(agrees.mean()),
    )


def sampled(log: Log, rows: int, seed: int = 0) -> Iterator[Rows]:
    """About so many rows, of sessions from their first step on, from all over the log."""
    order = np.random.default_rng(seed).permutation(len(log.shards))
    each = max(_LEAST, -(-rows // len(order)))
    left = rows
    for number in order.tolist():
        taken = 0
        for batch in Log(log.header, (log.shards[number],)).batches(_BATCH, _COLUMNS):
            part = _beginnings(batch, min(each - taken, left))
            if len(part):
                yield part
            taken, left = taken + len(part), left - len(part)
            if taken >= each or left <= 0:
                break
        if left <= 0:
            return


def _beginnings(rows: Rows, most: int) -> Rows:
    """Sessions' rows from the first step on, as far as they are here, one after the other."""
    session = codes(rows["session_id"])
    order = np.lexsort((rows["step"], session))
    begins = np.flatnonzero(np.diff(session[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    # Sorted by step, a row in its place has all earlier ones before it, unless one is doubled.
    return rows.take(order[rows["step"][order] == place][:most])


@torch.no_grad()
def _look(rows: Rows, target: Target) -> tuple[Array, Array, Array]:
    """Of each row the log-ratio, whether the choice is impossible, and whether it was shown.

    Returns:
        Three arrays (rows,); NaN where the log does not tell.
    """
    acting = list(target.distributions(target.observation(rows), rows))
    wanted = np.empty(len(rows))
    choice = np.empty(len(rows), np.int64)
    for index, each in acting:
        slates = torch.from_numpy(rows["slate"][index][:, : each.slate_size])
        wanted[index] = each.log_prob(slates).numpy()
        choice[index] = each.mode()[:, 0].numpy()
    known = rows["propensity_source"] != "none"
    ratio = np.where(known, wanted - rows["log_propensity"], np.nan)
    agrees = rows["slate"][:, 0] == choice
    return ratio, _impossible(rows, choice, known, agrees), agrees


def _impossible(rows: Rows, choice: Array, known: Array, agrees: Array) -> Array:
    """1 where the log could not have shown a choice in the first slot, 0 where it could."""
    found = np.where(known & agrees, 0.0, np.nan)
    # A slot shown with certainty leaves nothing to others, whatever else is stated.
    found[known & ~agrees & (rows["slot_log_propensities"][:, 0] >= 0)] = 1.0
    stated = np.flatnonzero(known & ~np.isnan(rows["epsilon"]) & np.isnan(found))
    if len(stated):
        some = rows.take(stated)
        for index, logged in distributions(some):
            nothing = torch.zeros((1, 1, some["mask"].shape[1]), dtype=torch.bool)
            chances = logged.conditional(nothing, 0)[:, 0].numpy()
            at = choice[stated[index]][:, None]
            found[stated[index]] = np.isneginf(np.take_along_axis(chances, at, 1)[:, 0])
    return found
