"""What a policy would show: how much of what is offered, and how different items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from offline.judge.target import NEEDED, Target
from offline.log import Log, Rows
from offline.log.rows import Array
from serve.cycling.deciding import Guard
from serve.cycling.settings import GuardSection

COLUMNS = (*NEEDED, "policy_version", "candidate_ids")

RECURS = 0.5
"""Distinct items in an offer, at most, for items to be the same from slate to slate."""


@dataclass
class Shown:
    """What a policy shows.

    Attributes:
        ids: of different items.
        kinds: different feature vectors.
        distance: sum over slates of the mean distance between their items.
        slates: of at least two items.
    """

    ids: set[str] = field(default_factory=set)
    kinds: set[bytes] = field(default_factory=set)
    distance: float = 0.0
    slates: int = 0

    def add(self, rows: Rows, slates: Array) -> None:
        """Take slates, (B, K), of rows that hold their candidates."""
        at = np.arange(len(slates))[:, None]
        items = np.ascontiguousarray(rows["candidates"][at, slates])
        self.ids.update(rows["candidate_ids"][at, slates].ravel().tolist())
        self.kinds |= kinds_of(items.reshape(-1, items.shape[-1]))
        if slates.shape[1] > 1:
            self.distance += float(distances(items).sum())
            self.slates += len(slates)

    @property
    def diversity(self) -> float | None:
        """Mean distance between the items of a slate; `None` for single items."""
        return self.distance / self.slates if self.slates else None


def kinds_of(items: Array) -> set[bytes]:
    """Different rows of (items, D)."""
    return {row.tobytes() for row in np.unique(items, axis=0)}


def distances(items: Array) -> Array:
    """Mean Euclidean distance between the items of each slate, (B,) of (B, K, D)."""
    size = items.shape[1]
    apart = np.linalg.norm(items[:, :, None] - items[:, None], axis=-1)
    found: Array = apart.sum((1, 2)) / (size * (size - 1))
    return found


@dataclass
class Offered:
    """What there was to choose from.

    Attributes:
        ids: of different candidates.
        kinds: different feature vectors.
        count: of candidates, each as often as it was offered.
    """

    ids: set[str] = field(default_factory=set)
    kinds: set[bytes] = field(default_factory=set)
    count: int = 0

    def add(self, rows: Rows) -> None:
        """Take the candidates of rows."""
        there = rows["mask"]
        self.ids.update(rows["candidate_ids"][there].tolist())
        self.kinds |= kinds_of(rows["candidates"][there])
        self.count += int(there.sum())

    def coverage(self, shown: Shown) -> float | None:
        """Share of the different items that were shown.

        Items are told apart by id where ids recur, else by features; `None` where neither
        does, because then nothing could be shown again.
        """
        if len(self.ids) <= RECURS * self.count:
            return len(shown.ids) / len(self.ids)
        if len(self.kinds) <= RECURS * self.count:
            return len(shown.kinds) / len(self.kinds)
        return None


def guards(log: Log, candidate: Target, live: Target, rules: GuardSection) -> list[Guard]:
    """What a candidate would show, against what the live policy would.

    Args:
        log: whose candidates both choose from, as they explore.
        candidate: a policy that fits.
        live: another.
        rules: what to look at.
    """
    if rules.coverage is None and rules.diversity is None:
        return []
    offered, shown = Offered(), (Shown(), Shown())
    size = candidate.policy.slate_size
    for rows in _sample(log, rules.rows):
        offered.add(rows)
        for one, target in zip(shown, (candidate, live), strict=True):
            one.add(*drawn(target, rows, size))
    found = []
    if rules.coverage is not None:
        coverages = [offered.coverage(one) for one in shown]
        found.append(Guard("coverage", coverages[0], coverages[1], rules.coverage))
    if rules.diversity is not None:
        found.append(Guard("diversity", shown[0].diversity, shown[1].diversity, rules.diversity))
    return found


def drawn(target: Target, rows: Rows, size: int) -> tuple[Rows, Array]:
    """Rows with slates of one size, (B', ...), and what a policy draws for them, (B', K)."""
    seen = target.observation(rows)
    index = np.flatnonzero((rows["slate"] >= 0).sum(axis=1) == size)
    if len(index) < len(rows):
        rows, seen = rows.take(index), seen.map(lambda column: column[index])
    if not len(rows):
        return rows, np.zeros((0, size), np.int64)
    generator = torch.Generator().manual_seed(len(rows))
    pinned = torch.from_numpy(rows["pinned"][:, :size])
    slates, _ = target.distribution(seen, size, pinned).sample(generator)
    return rows, slates.numpy()


def _sample(log: Log, most: int) -> Iterator[Rows]:
    """The first sessions up to so many rows."""
    left = most
    for rows in log.sessions(columns=COLUMNS):
        first = np.flatnonzero(rows["step"] == 0)
        ends = np.append(first[1:], len(rows))
        fit = ends[ends <= left]
        size = int(fit[-1]) if len(fit) else int(ends[0])
        yield rows.take(slice(size))
        left -= size
        if left <= 0 or size < len(rows):
            return
