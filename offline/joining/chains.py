"""Which rows of a raw log are sessions, and where these end.

All functions take columns of the same rows, (n,). Ids are hashes of 64 bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from offline.log.rows import Array

NONE, MISSING = -1, -2
"""Of a row that begins a session, and of one whose previous row is not there."""


class Kept(NamedTuple):
    """What becomes of each row, (n,) bool each, one true at a time.

    Attributes:
        kept: is a step of a session.
        branched: belongs to a branch that is given up.
        lost: comes after a row that is not there.
    """

    kept: Array
    branched: Array
    lost: Array


class Sessions(NamedTuple):
    """Rows of whole sessions, one session after the other.

    Attributes:
        order: numbers of the rows, (m,).
        begins: where each session begins in `order`, (sessions,).
        part: the how manyth the session is of those with one id, from 0, (sessions,).
        terminated: whether the session has ended; else it is cut, (sessions,).
    """

    order: Array
    begins: Array
    part: Array
    terminated: Array


def find(keys: Array, wanted: Array) -> Array:
    """Places of wanted keys among different keys, -1 where there is none."""
    if not len(keys):
        return np.full(len(wanted), NONE, np.int64)
    order = np.argsort(keys)
    place = np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)
    found: Array = np.where(keys[order[place]] == wanted, order[place], NONE)
    return found


def originals(identity: Array, time: Array) -> Array:
    """The earliest row of each id, (n,) bool; of equally early ones the first."""
    order = np.lexsort((time, identity))
    first = np.append(True, np.diff(identity[order]) != 0)[: len(order)]
    flags = np.zeros(len(order), np.bool_)
    flags[order[first]] = True
    return flags


def parents(session: Array, step: Array, identity: Array, previous: Array) -> Array:
    """The row before each in its session; `NONE` at step 0, `MISSING` where there is none."""
    found = find(identity, previous)
    follows = (session[found] == session) & (step[found] == step - 1)
    return np.where(step == 0, NONE, np.where((found != NONE) & follows, found, MISSING))


def keep(session: Array, step: Array, time: Array, parent: Array) -> Kept:
    """One way through each session.

    Of rows that follow the same row, the one is kept that another row follows; where none
    or several are followed, the earliest.
    """
    rows = np.arange(len(parent))
    followed = np.zeros(len(parent), np.bool_)
    followed[parent[parent >= 0]] = True
    order = np.lexsort((time, ~followed, parent, step, session))
    alike = np.ones(len(order), np.bool_)
    for column in (session, step, parent):
        alike[1:] &= column[order][1:] == column[order][:-1]
    alike[:1] = False
    chosen = np.ones(len(order), np.bool_)
    chosen[order[alike]] = False
    # Each round looks twice as far back: a row counts if all before it do.
    before = np.where(parent >= 0, parent, rows)
    while True:
        chosen = chosen & chosen[before]
        further = before[before]
        if (further == before).all():
            break
        before = further
    lost = parent[before] == MISSING
    return Kept(chosen & ~lost, ~chosen & ~lost, lost)


def cut_sessions(
    session: Array, step: Array, time: Array, kept: Kept, gap: float, until: float
) -> Sessions:
    """Sessions with their ends.

    A pause longer than the gap ends a session; what comes after it is another. A session
    ends at its last row if nothing came for longer than the gap; it is cut there if the
    time is up before that can be said, or if later rows are not there.

    Args:
        session: id.
        step: in the session.
        time: seconds.
        kept: what `keep` found.
        gap: seconds.
        until: up to when rows would be there, seconds.
    """
    order = np.flatnonzero(kept.kept)
    order = order[np.lexsort((step[order], session[order]))]
    who, when = session[order], time[order]
    fresh_id = np.append(True, who[1:] != who[:-1])[: len(order)]
    paused = np.append(False, np.diff(when) > gap)[: len(order)] & ~fresh_id
    begins = np.flatnonzero(fresh_id | paused)
    number = np.arange(len(begins))
    part = number - np.maximum.accumulate(np.where(fresh_id[begins], number, 0))
    last = np.append(begins[1:], len(order))[: len(begins)] - 1
    goes_on = np.append(part[1:] > 0, False)[: len(begins)]
    holes = np.isin(who[last], session[kept.lost])
    terminated = goes_on | (~holes & (until - when[last] > gap))
    return Sessions(order, begins, part, terminated)


def chosen_sessions(found: Sessions, taken: Array) -> Sessions:
    """Some of the sessions, (sessions,) bool."""
    lengths = np.diff(found.begins, append=len(found.order))
    kept = lengths[taken]
    return Sessions(
        found.order[np.repeat(taken, lengths)],
        np.cumsum(kept) - kept,
        found.part[taken],
        found.terminated[taken],
    )


def by_time(found: Sessions, time: Array) -> Sessions:
    """The sessions in the order in which they began, and of their rows where they began at once."""
    lengths = np.diff(found.begins, append=len(found.order))
    first = found.order[found.begins]
    # Not in the order of ids: their hashes differ from process to process.
    order = np.lexsort((first, time[first]))
    sizes = lengths[order]
    begins = np.cumsum(sizes) - sizes
    inside = np.arange(len(found.order)) - np.repeat(begins, sizes)
    return Sessions(
        found.order[np.repeat(found.begins[order], sizes) + inside],
        begins,
        found.part[order],
        found.terminated[order],
    )
