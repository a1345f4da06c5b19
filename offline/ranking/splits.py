"""What is held out of interactions, and what the ranking of each user is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from offline.log import LogError
from offline.ranking.reading import Catalogue, Ints, Taken

SPLITS = ("leave-last-out", "time")
PARTS = ("test", "validation")
Part = Literal["test", "validation"]

TRAIN, VALIDATION, TEST = 0, 1, 2


def leave_last_out(user: Ints, item: Ints, time: NDArray[np.float64]) -> NDArray[np.int8]:
    """The last interaction of each user to test with, the one before it to validate, (n,).

    Of interactions at the same time, that with the larger item is the later one. A user
    with one interaction has it in training; one with two has none for validation.

    Args:
        user: (n,).
        item: (n,), numbers in the order of the catalogue.
        time: (n,).

    Returns:
        `TRAIN`, `VALIDATION` or `TEST`.
    """
    order = np.lexsort((item, time, user))
    who = user[order]
    ends = np.flatnonzero(np.append(who[1:] != who[:-1], True))
    count = np.diff(ends, prepend=-1)
    part = np.full(len(order), TRAIN, np.int8)
    part[ends[count > 1]] = TEST
    part[ends[count > 2] - 1] = VALIDATION
    found = np.empty_like(part)
    found[order] = part
    return found


def by_time(time: NDArray[np.float64], share: float) -> NDArray[np.int8]:
    """The last share of all interactions to test with, that of the rest to validate, (n,).

    Interactions at the same time stay together, in the later part.

    Args:
        time: (n,).
        share: of the interactions, between 0 and 1.
    """
    late = time >= np.quantile(time, 1 - share)
    part = np.where(late, TEST, TRAIN).astype(np.int8)
    rest = time[~late]
    if len(rest):
        part[~late & (time >= np.quantile(rest, 1 - share))] = VALIDATION
    return part


def split(taken: Taken, how: str, share: float) -> NDArray[np.int8]:
    """Each interaction's part, (n,).

    Raises:
        LogError: there is no such split, or the share is none.
    """
    if how not in SPLITS:
        raise LogError(f"--split is '{how}'; allowed are: {', '.join(SPLITS)}")
    if how == "leave-last-out":
        return leave_last_out(taken.user, taken.item, taken.time)
    if not 0 < share < 1:
        raise LogError(f"--share is {share:g}; the share held out lies between 0 and 1")
    return by_time(taken.time, share)


@dataclass(frozen=True, eq=False)
class Fitted:
    """All that a scorer may learn from: interactions before those that are held out.

    Attributes:
        catalogue: users and items.
        taken: the interactions, by user and then by time.
        seen: 1 where a user took an item, (users, N).
    """

    catalogue: Catalogue
    taken: Taken
    seen: csr_matrix

    @classmethod
    def of(cls, catalogue: Catalogue, taken: Taken) -> Fitted:
        """In order."""
        rows = taken.rows(np.lexsort((taken.item, taken.time, taken.user)))
        return cls(catalogue, rows, _pairs(rows, catalogue))

    @property
    def takers(self) -> Ints:
        """Users who took each item, (N,)."""
        return np.bincount(self.seen.indices, minlength=self.catalogue.num_items)


@dataclass(frozen=True, eq=False)
class Fold:
    """What is learned from, and what rankings are judged by.

    Attributes:
        fitted: what scorers may see.
        users: whose rankings are judged, rising, (M,).
        relevant: 1 where one of them took an item in the held-out part that is new to
            them, (M, N).
        unseen: users of the held-out part with nothing to learn from.
        repeats: held-out interactions with items that the user had taken before; those are
            masked, so nothing could find them.
    """

    fitted: Fitted
    users: Ints
    relevant: csr_matrix
    unseen: int
    repeats: int


def fold(catalogue: Catalogue, taken: Taken, part: NDArray[np.int8], on: str) -> Fold:
    """The fold that judges by a part: learned from is all that comes before it.

    Raises:
        LogError: there is no such part, or it has no users to judge by.
    """
    if on not in PARTS:
        raise LogError(f"--on is '{on}'; allowed are: {', '.join(PARTS)}")
    wanted = TEST if on == "test" else VALIDATION
    fitted = Fitted.of(catalogue, taken.rows(part < wanted))
    held = _pairs(taken.rows(part == wanted), catalogue)
    known = np.diff(fitted.seen.indptr) > 0
    there = np.diff(held.indptr) > 0
    fresh = held - held.multiply(fitted.seen)
    fresh.eliminate_zeros()
    users = np.flatnonzero((np.diff(fresh.indptr) > 0) & known)
    unseen, repeats = int((there & ~known).sum()), int(held.nnz - fresh.nnz)
    if not there.any():
        raise LogError(
            f"no user has interactions in the {on} part; leave-last-out takes it from users with "
            "two or more, --split time from the last ones of all"
        )
    if not len(users):
        raise LogError(
            f"no user is left for the {on}: of {int(there.sum()):,} with held-out interactions "
            f"{unseen:,} have no earlier ones, and the others only items that they had taken "
            "before; use more interactions, another --split or another --share"
        )
    return Fold(fitted, users, fresh[users], unseen, repeats)


def _pairs(taken: Taken, catalogue: Catalogue) -> csr_matrix:
    shape = (catalogue.num_users, catalogue.num_items)
    values = np.ones(len(taken), np.float32)
    found = csr_matrix((values, (taken.user, taken.item)), shape=shape)
    found.sum_duplicates()
    found.data[:] = 1.0
    found.sort_indices()
    return found
