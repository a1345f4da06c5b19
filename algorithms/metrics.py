"""The numbers of a run over time, as CSV and as TensorBoard events."""

from __future__ import annotations

import csv
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, float]
STEPS = "env_steps"


def read_rows(path: Path) -> list[dict[str, float]]:
    """Rows of the CSV file; empty cells are NaN, a torn last row is left out."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers: list[dict[str, float]] = []
    for row in rows:
        if None in row.values() or None in row:
            continue
        try:
            numbers.append({key: float(value or "nan") for key, value in row.items()})
        except ValueError:
            continue
    return numbers


def last_row(path: Path) -> dict[str, float] | None:
    """The last whole row of the CSV file; `None` before there is one."""
    rows = read_rows(path)
    return rows[-1] if rows else None


class EventFile:
    """TensorBoard events, written at once.

    TensorBoard's own writer leaves that to a thread, which answers a full disk with
    a traceback.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """Begin a file.

        Args:
            folder: where TensorBoard looks.
            purge_step: from which on earlier files of the folder no longer count.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        self._event, self._summary = Event, Summary
        folder.mkdir(exist_ok=True)
        host, now = socket.gethostname(), time.time_ns()
        name = f"events.out.tfevents.{now // 10**9:010d}.{host}.{os.getpid()}.{now % 10**9}"
        self._file = (folder / name).open("wb")
        self._writer = RecordWriter(self._file)
        self._put(file_version="brain.Event:2")
        if purge_step is not None:
            self._put(step=purge_step, session_log=SessionLog(status=SessionLog.START))

    def write(self, row: Row) -> None:
        """Every number of a row but NaN."""
        values = [
            self._summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name != STEPS and not math.isnan(value)
        ]
        self._put(step=int(row[STEPS]), summary=self._summary(value=values))

    def _put(self, **content: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **content).SerializeToString())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class MetricsLog:
    """Appends rows to both; in the file every row has all columns."""

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        """Open or continue.

        Args:
            folder: of the run.
            resumed_at: user-steps of the checkpoint that is continued; rows
                after it are dropped.
        """
        self._path, self._columns = folder / "metrics.csv", list[str]()
        if resumed_at is not None:
            self._rewrite([row for row in read_rows(self._path) if row[STEPS] <= resumed_at])
        purge = None if resumed_at is None else resumed_at + 1
        self._events = EventFile(folder / "tensorboard", purge)

    def _rewrite(self, rows: Sequence[Row], more: Sequence[str] = ()) -> None:
        if not self._path.exists():
            return
        self._columns = [*(rows[0] if rows else ()), *more]
        partial = self._path.with_name(f".{self._path.name}.partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            if self._columns:
                writer.writeheader()
            writer.writerows(_cells(row) for row in rows)
        os.replace(partial, self._path)

    def write(self, row: Row) -> None:
        """Append a row; NaN stands as an empty cell."""
        new = not self._columns
        if new:
            self._columns = list(row)
        elif later := [name for name in row if name not in self._columns]:
            self._rewrite(read_rows(self._path), later)
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            if new:
                writer.writeheader()
            writer.writerow(_cells(row))
        self._events.write(row)

    def close(self) -> None:
        """Close the events."""
        self._events.close()


def _cells(row: Row) -> dict[str, float | int | str]:
    def cell(value: float) -> float | int | str:
        if math.isnan(value):
            return ""
        return int(value) if float(value).is_integer() else float(value)

    return {name: cell(value) for name, value in row.items()}
