"""The numbers of a run over time, as CSV and as TensorBoard events."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path

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


class MetricsLog:
    """Appends rows to both; all columns are there from the first row on."""

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        """Open or continue.

        Args:
            folder: of the run.
            resumed_at: user-steps of the checkpoint that is continued; rows
                after it are dropped.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._path, self._columns = folder / "metrics.csv", list[str]()
        if resumed_at is not None:
            self._drop_after(resumed_at)
        purge = None if resumed_at is None else resumed_at + 1
        self._events = SummaryWriter(folder / "tensorboard", purge_step=purge)

    def _drop_after(self, steps: int) -> None:
        rows = read_rows(self._path)
        if not rows:
            return
        self._columns = list(rows[0])
        partial = self._path.with_name(f".{self._path.name}.partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(_cells(row) for row in rows if row[STEPS] <= steps)
        os.replace(partial, self._path)

    def write(self, row: Row) -> None:
        """Append a row; NaN stands as an empty cell."""
        new = not self._columns
        if new:
            self._columns = list(row)
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, extrasaction="ignore", restval="")
            if new:
                writer.writeheader()
            writer.writerow(_cells(row))
        for name, value in row.items():
            if name != STEPS and not math.isnan(value):
                self._events.add_scalar(name, value, int(row[STEPS]))

    def flush(self) -> None:
        """Bring the events to the disk."""
        self._events.flush()

    def close(self) -> None:
        """Close the events."""
        self._events.close()


def _cells(row: Row) -> dict[str, float | int | str]:
    def cell(value: float) -> float | int | str:
        if math.isnan(value):
            return ""
        return int(value) if float(value).is_integer() else float(value)

    return {name: cell(value) for name, value in row.items()}
