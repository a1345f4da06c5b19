"""All metrics of a scorer, block by block of users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from offline.log import LogError
from offline.ranking import accuracy, beyond
from offline.ranking.splits import Fold
from offline.ranking.top import Floats, Ints, top_k

BLOCK_CELLS = 2**21
"""Scores of a block: few enough for a processor's cache, many enough for numpy."""

BEYOND = ("coverage", "diversity", "novelty", "gini", "calibration_kl")
NAMES = (*accuracy.METRICS, *BEYOND)


class Scorer(Protocol):
    """Says how much each item suits a user."""

    def scores(self, users: Ints) -> Floats:
        """Scores of all items, (B, N) float32, an array that the caller may write into.

        Args:
            users: their numbers, (B,).
        """


@dataclass(frozen=True)
class Measured:
    """What came of it.

    Attributes:
        values: by metric, without K; `None` where the data do not say.
        errors: standard errors of those that are means over users.
        users: that were judged.
    """

    values: dict[str, float | None]
    errors: dict[str, float]
    users: int


class Judge:
    """Gathers lists block by block, and says what all of them are like."""

    def __init__(
        self,
        relevant: csr_matrix,
        k: int,
        information: NDArray[np.float64],
        groups: NDArray[np.float32],
        own: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        """Begin.

        Args:
            relevant: 1 where an item is relevant to a user, (M, N), indices sorted.
            k: places of a list.
            information: of each item, (N,); see `beyond.self_information`.
            groups: 1 where an item is of a kind, (N, G); G may be 0.
            own: groups of what each user took, (M, G); see `beyond.miscalibration`.
        """
        self._relevant, self._k = relevant, k
        self._information = information
        self._grouped = groups.shape[1] > 0
        self._units, self._spread = beyond.unit_rows(groups), beyond.shares(groups)
        self._own = own
        self._exposure = np.zeros(relevant.shape[1], np.int64)
        self._parts: dict[str, list[NDArray[np.float64]]] = {}

    def add(self, first: int, scores: Floats, seen: csr_matrix) -> None:
        """Rank a block of users; their scores are written into.

        Args:
            first: number of the first of them, among those of `relevant`.
            scores: (B, N).
            seen: 1 where an item may not be shown, (B, N).
        """
        rows = np.repeat(np.arange(len(scores)), np.diff(seen.indptr))
        scores[rows, seen.indices] = -np.inf
        self.add_lists(first, top_k(scores, self._k))

    def add_lists(self, first: int, lists: Ints) -> None:
        """The same of lists that are already made, (B, K)."""
        relevant = self._relevant[first : first + len(lists)]
        hits = in_rows(relevant, lists)
        count = np.diff(relevant.indptr)
        found = {name: metric(hits, count) for name, metric in accuracy.METRICS.items()}
        found["novelty"] = beyond.novelty(lists, self._information)
        if self._grouped:
            found["diversity"] = beyond.diversity(lists, self._units)
            if self._own is not None:
                own = self._own[first : first + len(lists)]
                found["calibration_kl"] = beyond.miscalibration(lists, self._spread, own)
        for name, values in found.items():
            self._parts.setdefault(name, []).append(values)
        self._exposure += np.bincount(lists[lists >= 0], minlength=len(self._exposure))

    def result(self) -> Measured:
        """Means over users, standard errors, and what is said of all lists together."""
        values: dict[str, float | None] = dict.fromkeys(NAMES)
        errors: dict[str, float] = {}
        for name, parts in self._parts.items():
            each = np.concatenate(parts)
            given = each[~np.isnan(each)]
            if len(given):
                values[name] = float(given.mean())
            if len(given) > 1:
                errors[name] = float(given.std(ddof=1) / np.sqrt(len(given)))
        values["coverage"] = beyond.coverage(self._exposure)
        values["gini"] = beyond.gini(self._exposure) if self._exposure.any() else None
        return Measured(values, errors, sum(map(len, self._parts["ndcg"])))


def in_rows(table: csr_matrix, lists: Ints) -> NDArray[np.bool_]:
    """Whether each item of a list stands in its row of a table, (B, K).

    Args:
        table: (B, N), indices sorted.
        lists: (B, K), -1 for nothing.
    """
    items = table.shape[1]
    first = np.arange(len(lists), dtype=np.int64) * items
    known = table.indices + np.repeat(first, np.diff(table.indptr))
    wanted = lists + first[:, None]
    place = np.searchsorted(known, wanted)
    found = np.append(known, -1)[np.minimum(place, len(known))] == wanted
    return np.asarray(found & (lists >= 0))


def check_k(k: int, items: int) -> None:
    """Refuse lists that cannot be.

    Raises:
        LogError: K is below 1, or larger than the catalogue.
    """
    if not 1 <= k <= items:
        raise LogError(
            f"--k is {k}, and the catalogue has {items:,} items; lists hold 1 to as many as there "
            "are"
        )


def evaluate(
    scorer: Scorer, fold: Fold, k: int, progress: Callable[[int], object] = lambda done: None
) -> Measured:
    """Rank the whole catalogue for every judged user, without what they had taken before.

    Args:
        scorer: learned from `fold.fitted`.
        fold: what to judge by.
        k: places of a list.
        progress: called with the number of users done.

    Raises:
        LogError: K does not fit the catalogue, or a score is NaN.
    """
    catalogue, fitted = fold.fitted.catalogue, fold.fitted
    check_k(k, catalogue.num_items)
    takers = int((np.diff(fitted.seen.indptr) > 0).sum())
    information = beyond.self_information(fitted.takers, takers)
    own = fitted.seen[fold.users] @ beyond.shares(catalogue.groups)
    judge = Judge(fold.relevant, k, information, catalogue.groups, own)
    size = max(1, BLOCK_CELLS // catalogue.num_items)
    for first in range(0, len(fold.users), size):
        users = fold.users[first : first + size]
        try:
            judge.add(first, scorer.scores(users), fitted.seen[users])
        except ValueError as error:
            raise LogError(str(error)) from None
        progress(first + len(users))
    return judge.result()
