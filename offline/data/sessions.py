"""Interactions as sessions, and what stood beside the taken item."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from envs.history import History

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Sessions(NamedTuple):
    """Interactions by user and time.

    Attributes:
        order: numbers of the interactions, session by session, (n,).
        begins: where each session begins in `order`, (sessions,).
        ordinal: the how manyth of its user each session is, from 0, (sessions,).
        cut: whether the data end before the session can be known to have, (sessions,).
    """

    order: Ints
    begins: Ints
    ordinal: Ints
    cut: NDArray[np.bool_]


def split(user: NDArray[Any], time: NDArray[np.float64], gap: float) -> Sessions:
    """Sort by user and time, and begin a session after each gap.

    A user's last session may go on after the data end: where that is less than a gap
    away, it counts as cut, not as ended.

    Args:
        user: of each interaction, (n,).
        time: in seconds, (n,); of equal ones the file's order decides.
        gap: in seconds, above which the next interaction begins a session.
    """
    order = np.lexsort((time, user))
    who, when = user[order], time[order]
    fresh_user = np.append(True, who[1:] != who[:-1])
    fresh = fresh_user | np.append(True, np.diff(when) > gap)
    begins = np.flatnonzero(fresh)
    number = np.arange(len(begins))
    first = np.where(fresh_user[begins], number, 0)
    ordinal = number - np.maximum.accumulate(first)
    last = np.append(begins[1:], len(order)) - 1
    return Sessions(order, begins, ordinal, when[last] + gap > when.max())


class Pool(NamedTuple):
    """Items in the order in which they came up.

    Attributes:
        items: numbers of the items, by their first interaction, (items,).
        rank: place of each item in `items`, (all items,); -1 where it never came up.
        since: first interaction of `items`, rising, (items,).
    """

    items: Ints
    rank: Ints
    since: NDArray[np.float64]

    @classmethod
    def of(cls, item: NDArray[Any], time: NDArray[np.float64], count: int) -> Pool:
        """The pool of `count` items, from all interactions."""
        since = np.full(count, np.inf)
        np.minimum.at(since, item, time)
        there = np.flatnonzero(np.isfinite(since))
        items = there[np.argsort(since[there], kind="stable")]
        rank = np.full(count, -1, np.int64)
        rank[items] = np.arange(len(items))
        return cls(items, rank, since[items])

    def offered(
        self,
        item: NDArray[Any],
        time: NDArray[np.float64],
        others: int,
        random: np.random.Generator,
    ) -> tuple[Ints, Ints]:
        """Candidates: the taken item, and others that had come up by then, in random order.

        The others are drawn uniformly without repetition. Before so many items have
        come up, the first ones that do are taken.

        Args:
            item: taken, (rows,).
            time: when, (rows,).
            others: how many beside it, fewer where there are no more items.
            random: decides.

        Returns:
            Numbers of items, (rows, N), and the place of the taken one, (rows,).
        """
        others = min(others, len(self.items) - 1)
        known = np.searchsorted(self.since, time, side="right")
        known = np.maximum(known, others + 1)
        taken = self.rank[item]
        drawn = distinct(known - 1, others, random)
        drawn += drawn >= taken[:, None]  # all known ones but the taken
        place = random.integers(0, others + 1, len(item))
        candidates = np.empty((len(item), others + 1), np.int64)
        rows = np.arange(len(item))
        candidates[:, :others] = drawn
        candidates[:, others] = candidates[rows, place] if others else taken
        candidates[rows, place] = taken
        return self.items[candidates], place


def distinct(below: Ints, count: int, random: np.random.Generator) -> Ints:
    """For each row, `count` different numbers from 0 to `below` - 1, uniformly, (rows, count).

    Source: Floyd's algorithm (Bentley and Floyd 1987, Communications of the ACM 30).
    The set is uniform; the order within it is not, so shuffle where it matters.
    """
    found = np.full((len(below), count), -1, np.int64)
    for number in range(count):
        top = below - count + number
        drawn = random.integers(0, top + 1)
        repeated = (found[:, :number] == drawn[:, None]).any(axis=1)
        found[:, number] = np.where(repeated, top, drawn)
    return found


@torch.no_grad()
def remembered(history: History, shown: Floats, response: Floats, lengths: Ints) -> Floats:
    """The history before each row of whole sessions of single items, (rows, H).

    Args:
        history: what is remembered.
        shown: features of the items, (rows, D), one session after the other.
        response: to them, (rows, R).
        lengths: of the sessions, which add up to the rows.
    """
    items, answers = torch.from_numpy(shown)[:, None], torch.from_numpy(response)[:, None]
    # The recursion is linear, so what each row adds is its update of nothing, all at once.
    added = history.update(history.initial(len(shown)), items, answers).numpy()
    one = torch.zeros((1, 1, shown.shape[1])), torch.zeros((1, 1, response.shape[1]))
    nothing = history.initial(1)
    decay = (history.update(nothing + 1, *one) - history.update(nothing, *one)).numpy()
    begins = np.cumsum(lengths) - lengths
    longest_first = np.argsort(-lengths, kind="stable")
    begins, left = begins[longest_first], lengths[longest_first]
    found = np.zeros((len(shown), history.size), np.float32)
    state = np.zeros((len(left), history.size), np.float32)
    for step in range(int(left[0]) if len(left) else 0):
        going = int(np.searchsorted(-left, -step, side="left"))
        rows = begins[:going] + step
        state = state[:going]
        found[rows] = state
        state = state * decay + added[rows]
    return found
