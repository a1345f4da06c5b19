"""Puts the rows of each session together, in the order of their steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

import numpy as np

from offline.log.rows import Array, Rows, concatenate
from offline.log.schema import LogError

NEEDED = ("session_id", "step", "terminated", "truncated")


def starts(rows: Rows) -> Array:
    """Where each session begins in rows of whole sessions, (sessions,)."""
    found: Array = (rows["step"] == 0).nonzero()[0]
    return found


def whole(batches: Iterable[Rows], size: int) -> Iterator[Rows]:
    """Rows regrouped into whole sessions.

    Args:
        batches: in any order; sessions may be interleaved and lie in several batches.
        size: rows to hand on together, at least.

    Yields:
        Sessions in the order in which they ended, and at last those that never did.

    Raises:
        LogError: a session with two rows for a step, or without one of its steps.
    """
    ready: list[Rows] = []
    held: Rows | None = None
    for batch in batches:
        held = batch if held is None else concatenate([held, batch])
        ended, held = _split(held)
        ready.append(ended)
        if sum(map(len, ready)) >= size:
            yield concatenate(ready)
            ready = []
    if held is not None and len(held):
        ready.append(_in_order(held)[0])
        _refuse_gaps(ready[-1])
    ready = [part for part in ready if len(part)]
    if ready:
        yield concatenate(ready)


def codes(names: Array) -> Array:
    """Whole numbers from 0 instead of names, in the order in which they appear."""
    numbers, next_number = {}, count()
    for name in names.tolist():
        if name not in numbers:
            numbers[name] = next(next_number)
    return np.fromiter(map(numbers.__getitem__, names.tolist()), np.int64, len(names))


def _in_order(rows: Rows) -> tuple[Rows, Array]:
    """Rows by session and step, and where each session begins."""
    session = codes(rows["session_id"])
    order = np.lexsort((rows["step"], session))
    session = session[order]
    begins = np.flatnonzero(np.diff(session, prepend=-1))
    if (order == np.arange(len(order))).all():
        return rows, begins
    return rows.take(order), begins


def _split(rows: Rows) -> tuple[Rows, Rows]:
    """The sessions that are complete, and the rest."""
    rows, begins = _in_order(rows)
    if not len(begins):
        return rows, rows
    lengths = np.diff(begins, append=len(rows))
    last = begins + lengths - 1
    ended = (rows["terminated"] | rows["truncated"])[last]
    complete = ended & (rows["step"][last] == lengths - 1)
    kept = np.repeat(complete, lengths)
    found = rows if kept.all() else rows.take(kept)
    _refuse_gaps(found)
    return found, rows.take(~kept)


def _refuse_gaps(rows: Rows) -> None:
    """Steps of each session must be 0, 1, 2, ..."""
    if not len(rows):
        return
    ids, step = rows["session_id"], rows["step"]
    begins = np.append(True, ids[1:] != ids[:-1])
    expected = np.where(begins, 0, np.append(0, step[:-1] + 1))
    bad = np.flatnonzero(step != expected)
    if len(bad):
        row = int(bad[0])
        is_double = not begins[row] and step[row] == step[row - 1]
        what = f"two rows for step {step[row]}" if is_double else f"no row for step {expected[row]}"
        several = "; of several logs, record one anew with another --seed" if is_double else ""
        raise LogError(
            f"session '{ids[row]}' has {what}; `python -m offline.check DIR --fix DEST` writes a "
            f"clean copy{several}"
        )
