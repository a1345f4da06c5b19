"""What was read of a log: rows, sessions, arms, and where propensities come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from offline.data.encoding import has_sampled_candidates
from offline.log import LogError, Rows
from offline.log.rows import Array


@dataclass
class Counts:
    """What was read.

    Attributes:
        rows: of whole sessions.
        arms: rows, sessions and versions by (arm, policy).
        sources: rows by where their propensities come from.
        open_rows: rows left out, of sessions that never ended.
        open_sessions: how many those are.
        truncated: sessions that were cut.
        skipped: rows of other arms.
        names: of the arms that were seen.
    """

    rows: int = 0
    arms: dict[tuple[str, str], tuple[int, int, set[str]]] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    open_rows: int = 0
    open_sessions: int = 0
    truncated: int = 0
    skipped: int = 0
    names: set[str] = field(default_factory=set)

    def add(self, rows: Rows, first: Array) -> None:
        """Count rows of whole sessions, which begin at `first`."""
        self.rows += len(rows)
        self.truncated += int(rows["truncated"].sum())
        for source, number in _counted(rows["propensity_source"]):
            self.sources[source] = self.sources.get(source, 0) + number
        begins = np.zeros(len(rows), np.bool_)
        begins[first] = True
        for (arm, policy, version), flags in _groups(rows, ("arm", "policy", "policy_version")):
            entry = self.arms.get((arm, policy), (0, 0, set()))
            self.arms[arm, policy] = (
                entry[0] + int(flags.sum()),
                entry[1] + int((flags & begins).sum()),
                entry[2] | {version},
            )


def check(counts: Counts, arm: str | None, folders: Sequence[Path]) -> None:
    """Refuse what no propensity can be had of.

    Args:
        counts: of what was read.
        arm: that was asked for; all if not given.
        folders: of the log.

    Raises:
        LogError: no whole session, or rows without propensities.
    """
    if not counts.rows:
        if arm is not None and arm not in counts.names:
            named = ", ".join(f"'{name}'" for name in sorted(counts.names)) or "none"
            raise LogError(f"the log has no arm '{arm}'; its arms are: {named}")
        raise LogError("the log has no session that ended; judge a log of whole sessions")
    without = counts.sources.get("none", 0)
    if without:
        if any(has_sampled_candidates(folder) for folder in folders):
            raise LogError(
                f"{without:,} of {counts.rows:,} rows have no propensities, and none can be "
                "estimated: their candidates were sampled when the log was made out of tables, so "
                "no policy chose among them; judge by a log of what was really offered"
            )
        raise LogError(
            f"{without:,} of {counts.rows:,} rows were logged without propensities; estimate them "
            "with `python -m offline.propensity`, or choose an arm that has them with --arm"
        )


def _groups(rows: Rows, names: tuple[str, ...]) -> list[tuple[tuple[str, ...], Array]]:
    """Rows that agree in some columns of strings, and which they are, (rows,) bool."""
    first = tuple(str(rows[name][0]) for name in names)
    if all((rows[name] == rows[name][0]).all() for name in names):
        return [(first, np.ones(len(rows), np.bool_))]
    codes = [np.unique(rows[name], return_inverse=True) for name in names]
    numbers, place = np.unique(
        np.stack([code for _, code in codes], axis=1), axis=0, return_inverse=True
    )
    return [
        (
            tuple(str(values[c]) for (values, _), c in zip(codes, number, strict=True)),
            place.ravel() == i,
        )
        for i, number in enumerate(numbers)
    ]


def _counted(names: Array) -> list[tuple[str, int]]:
    values, counts = np.unique(names.astype(str), return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))
