"""Faults of the order of rows, which only the whole log shows.

About 40 bytes a row are kept, hashes instead of ids; sorting them in the end takes
as much again.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from offline.log import Fault, Rows
from offline.log.read import Piece
from offline.log.rows import Array


class Verdict(NamedTuple):
    """What to do with the rows of a log, by their number among the readable ones.

    Attributes:
        faults: in the order of the log.
        kept: rows of a clean copy, (rows,) bool.
        cut: of those, rows that a session now ends with, as truncated, (rows,) bool.
        sessions: how many there are.
        open: how many of them have no end.
        returns: sum of rewards of each session that has an end, (ended,).
        lengths: rows of the same sessions, (ended,).
    """

    faults: list[Fault]
    kept: Array
    cut: Array
    sessions: int
    open: int
    returns: Array
    lengths: Array


class Order:
    """Gathers what is needed of each row, piece by piece."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self._files: list[Path] = []
        self._parts: list[dict[str, Array]] = []

    def add(self, piece: Piece) -> None:
        """Take the readable rows of a piece in."""
        rows = piece.rows
        if not len(rows):
            return
        if not self._files or self._files[-1] != piece.file:
            self._files.append(piece.file)
        self._parts.append(
            {
                "session": _hashes(rows, "session_id"),
                "impression": _hashes(rows, "impression_id"),
                "step": rows["step"],
                "ends": rows["terminated"] | rows["truncated"],
                "reward": rows["reward"],
                "file": np.full(len(rows), len(self._files) - 1, np.int32),
                "line": piece.lines.astype(np.int32),
            }
        )

    def verdict(self) -> Verdict:
        """What is wrong, and what a clean copy keeps."""
        if not self._parts:
            nothing = np.zeros(0, np.bool_)
            return Verdict([], nothing, nothing, 0, 0, np.zeros(0), np.zeros(0, np.int64))
        columns = {name: np.concatenate([p[name] for p in self._parts]) for name in self._parts[0]}
        self._parts = []
        return _judge(columns, self._files)


def _hashes(rows: Rows, name: str) -> Array:
    return np.fromiter(map(hash, rows[name].tolist()), np.int64, len(rows))


class _Sorted(NamedTuple):
    """Rows by session and step, the first written first where they are alike, (rows,) each.

    Attributes:
        order: their numbers.
        step: of their sessions.
        before: the step of the row before in the session, -1 for none.
        ends: whether the session ends with it.
        begins: whether it is the first of its session.
        first: where each session begins, (sessions,).
    """

    order: Array
    step: Array
    before: Array
    ends: Array
    begins: Array
    first: Array

    @property
    def double(self) -> Array:
        """A second row for a step."""
        found: Array = (self.step == self.before) & ~self.begins
        return found

    @property
    def gap(self) -> Array:
        """A step was left out before."""
        found: Array = self.step > self.before + 1
        return found

    @property
    def after(self) -> Array:
        """The session had ended before."""
        return np.append(False, self.ends[:-1]) & ~self.begins & ~self.double & ~self.gap


def _sorted(session: Array, step: Array, ends: Array) -> _Sorted:
    order = np.lexsort((step, session))
    session, step = session[order], step[order]
    begins = np.append(True, session[1:] != session[:-1])
    before = np.where(begins, -1, np.append(-1, step[:-1]))
    return _Sorted(order, step, before, ends[order], begins, np.flatnonzero(begins))


def _judge(columns: dict[str, Array], files: list[Path]) -> Verdict:
    rows = _sorted(columns["session"], columns["step"], columns["ends"])
    said = _faults(rows, columns, files)
    kept, cut = _clean(rows, said)
    lengths = np.diff(rows.first, append=len(rows.order))
    ended = rows.ends[rows.first + lengths - 1]
    reward = columns["reward"][rows.order].astype(np.float64)
    return Verdict(
        [
            Fault(files[columns["file"][row]], int(columns["line"][row]), message)
            for row, message in sorted(said.items())
        ],
        kept,
        cut,
        len(rows.first),
        int((~ended).sum()),
        np.add.reduceat(reward, rows.first)[ended],
        lengths[ended],
    )


def _faults(rows: _Sorted, columns: dict[str, Array], files: list[Path]) -> dict[int, str]:
    """What is wrong with rows, by their number."""
    step, order, said = rows.step, rows.order, {}

    def place(row: int) -> str:
        return f"{files[columns['file'][row]]}:{columns['line'][row]}"

    for at in np.flatnonzero(rows.double).tolist():
        said[int(order[at])] = (
            f"a second row for step {step[at]} of its session; the other is {place(order[at - 1])}"
        )
    for at in np.flatnonzero(rows.gap).tolist():
        said[int(order[at])] = (
            f"step {step[at]} of its session, but step {rows.before[at] + 1} is missing"
        )
    for at in np.flatnonzero(rows.after).tolist():
        said[int(order[at])] = f"its session goes on after its end, {place(order[at - 1])}"
    # Stable again, so that of rows with one id the first written is the original.
    by_id = np.argsort(columns["impression"], kind="stable")
    ids = columns["impression"][by_id]
    for at in (np.flatnonzero(ids[1:] == ids[:-1]) + 1).tolist():
        said.setdefault(int(by_id[at]), f"its impression_id is that of {place(by_id[at - 1])}")
    return said


def _clean(rows: _Sorted, said: dict[int, str]) -> tuple[Array, Array]:
    """Rows that a clean copy keeps, and those that sessions are cut after, by number."""
    bad = np.zeros(len(rows.order), np.bool_)
    bad[list(said)] = True
    double = rows.double
    # From such a row on a session is not what happened; a double takes nothing with it.
    broken = (bad[rows.order] & ~double).astype(np.int64)
    so_far = broken.cumsum()
    lengths = np.diff(rows.first, append=len(broken))
    lost = so_far > np.repeat((so_far - broken)[rows.first], lengths)
    kept = ~lost & ~double
    last = np.maximum.reduceat(np.where(kept, np.arange(len(kept)), -1), rows.first)
    last = last[np.logical_or.reduceat(lost, rows.first) & (last >= 0)]
    cut = np.zeros_like(kept)
    cut[last] = ~rows.ends[last]
    back = np.argsort(rows.order)
    return kept[back], cut[back]
