"""Looks a whole log over: what is in it, and what is wrong with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from offline.log import COLUMNS, Fault, Log, Rows
from offline.log.layout import real_sizes
from offline.log.rows import Array
from offline.order import Order, Verdict


@dataclass
class Moments:
    """Count, range, mean and deviation of numbers that come in parts."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, values: Array) -> None:
        """Take numbers in."""
        if not len(values):
            return
        exact = values.astype(np.float64)
        self.count += len(exact)
        self.total += float(exact.sum())
        self.squares += float((exact**2).sum())
        self.low, self.high = min(self.low, float(exact.min())), max(self.high, float(exact.max()))

    def to_json(self) -> dict[str, float] | None:
        """Plain data; `None` for no numbers."""
        if not self.count:
            return None
        mean = self.total / self.count
        spread = math.sqrt(max(self.squares / self.count - mean**2, 0.0))
        return {"mean": mean, "std": spread, "min": self.low, "max": self.high}


@dataclass
class Report:
    """What `check` found.

    Attributes:
        rows: that can be read.
        faults: in the order of the log, the order of rows after all else.
        torn: last lines that were never finished; no faults, but left out.
        verdict: on the order of the rows.
    """

    rows: int = 0
    faults: list[Fault] = field(default_factory=list)
    torn: list[Fault] = field(default_factory=list)
    verdict: Verdict | None = None
    acting: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    slots: Counter[int] = field(default_factory=Counter)
    time: Moments = field(default_factory=Moments)
    reward: Moments = field(default_factory=Moments)
    candidates: Moments = field(default_factory=Moments)
    eligible: Moments = field(default_factory=Moments)
    clicks: Moments = field(default_factory=Moments)
    log_propensity: Moments = field(default_factory=Moments)
    certain: int = 0
    distributions: int = 0

    def add(self, rows: Rows, click: slice) -> None:
        """Take rows in; `click` are the columns of the response that say what was clicked."""
        self.rows += len(rows)
        names = (rows[name].tolist() for name in ("policy", "policy_version", "arm"))
        self.acting.update(zip(*names, strict=True))
        self.sources.update(rows["propensity_source"].tolist())
        offered, shown = real_sizes(rows)
        self.slots.update(shown.tolist())
        self.time.add(rows["time"])
        self.reward.add(rows["reward"])
        self.candidates.add(offered)
        self.eligible.add(rows["mask"].sum(axis=1) / offered)
        self.clicks.add(rows["response"][..., click].sum(axis=(1, 2)) > 0)
        known = rows["log_propensity"][~np.isnan(rows["log_propensity"])]
        self.log_propensity.add(known)
        self.certain += int((known >= 0).sum())
        self.distributions += int((~np.isnan(rows["epsilon"])).sum())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        verdict, rows = self.verdict, max(self.rows, 1)
        returns, lengths = Moments(), Moments()
        if verdict is not None:
            returns.add(verdict.returns)
            lengths.add(verdict.lengths)
        return {
            "rows": self.rows,
            "sessions": 0 if verdict is None else verdict.sessions,
            "open_sessions": 0 if verdict is None else verdict.open,
            "time": None if not self.time.count else [self.time.low, self.time.high],
            "policies": [
                {"policy": policy, "version": version, "arm": arm, "rows": count}
                for (policy, version, arm), count in sorted(self.acting.items())
            ],
            "propensities": {
                "source": {name: count / rows for name, count in sorted(self.sources.items())},
                "log": self.log_propensity.to_json(),
                "certain": self.certain / rows,
                "with_distribution": self.distributions / rows,
            },
            "reward": self.reward.to_json(),
            "return": returns.to_json(),
            "session_length": lengths.to_json(),
            "slates": {
                "slots": {str(size): count for size, count in sorted(self.slots.items())},
                "candidates": self.candidates.to_json(),
                "eligible": self.eligible.to_json(),
                "clicked": self.clicks.to_json(),
            },
            "torn": _plain(self.torn),
            "faults": _plain(self.faults),
        }


def _plain(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    return [{"file": str(f.file), "line": f.line, "message": f.message} for f in faults]


def check(log: Log) -> Report:
    """Look a log over.

    Memory grows by about 80 bytes a row, for duplicates and gaps.
    """
    report, order = Report(), Order()
    click = log.header.spec.response_slice("click")
    for piece in log.pieces(tuple(COLUMNS)):
        report.faults += piece.faults
        report.torn += [] if piece.torn is None else [piece.torn]
        if len(piece.rows):
            report.add(piece.rows, click)
            order.add(piece)
    report.verdict = order.verdict()
    report.faults += report.verdict.faults
    return report


def unreadable(source: str, message: str) -> Report:
    """The report of a log that cannot be opened."""
    return Report(faults=[Fault(Path(source), 0, message)])
