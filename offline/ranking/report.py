"""Results of rankings, as text and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from offline.log import LogError
from offline.ranking.evaluating import NAMES, Measured
from offline.ranking.splits import Fold

_WIDE = 10_000
"""Characters of a line where nobody's terminal limits it."""

_SHORT = {"precision": "prec.", "hit_rate": "hit rate", "calibration_kl": "calibr."}


def wanted(names: str | None, k: int) -> list[str]:
    """The metrics of a list with commas, each with `@` and K or without; all if not given.

    Raises:
        LogError: one that there is not, or at another K.
    """
    from algorithms.registry import nearest

    if names is None:
        return list(NAMES)
    found = []
    for each in names.split(","):
        name, at, places = each.strip().partition("@")
        if name not in NAMES:
            raise LogError(f"unknown metric '{name}'; {nearest(name, NAMES)}")
        if at and places != str(k):
            raise LogError(f"--metrics names '{each.strip()}', but --k is {k}; make them agree")
        found.append(name)
    return list(dict.fromkeys(found))


def plain(
    name: str, measured: Measured, k: int, metrics: Sequence[str], about: Mapping[str, Any]
) -> dict[str, Any]:
    """One scorer's result, ready for JSON: `ndcg@10` and so on, and `standard_errors`."""
    return {
        "scorer": name,
        **about,
        "users": measured.users,
        **{f"{metric}@{k}": measured.values[metric] for metric in metrics},
        "standard_errors": {
            f"{metric}@{k}": measured.errors[metric]
            for metric in metrics
            if metric in measured.errors
        },
    }


def about(fold: Fold, how: str, on: str) -> dict[str, Any]:
    """What was ranked, in numbers."""
    catalogue = fold.fitted.catalogue
    return {
        "split": how,
        "on": on,
        "items": catalogue.num_items,
        "learned_from": len(fold.fitted.taken),
        "held_out": int(fold.relevant.nnz),
        "users_without_history": fold.unseen,
        "repeats_left_out": fold.repeats,
    }


def head(fold: Fold, how: str, on: str) -> str:
    """The same in words."""
    catalogue = fold.fitted.catalogue
    text = (
        f"{on} of {how}: {len(fold.users):,} users, {catalogue.num_items:,} items ranked, "
        f"{len(fold.fitted.taken):,} interactions learned from, {fold.relevant.nnz:,} to find"
    )
    if fold.unseen:
        text += f"; {fold.unseen:,} users without earlier interactions are left out"
    if fold.repeats:
        text += f"; {fold.repeats:,} repeated interactions cannot be found and do not count"
    return text


def show(results: Sequence[tuple[str, Measured]], k: int, metrics: Sequence[str]) -> None:
    """The table, and as the last line each scorer's first metrics.

    A line is a scorer, or a metric where a terminal has no room for that.
    """
    wide = Console(highlight=False, soft_wrap=True, width=_WIDE)
    out = Console(highlight=False, soft_wrap=True) if sys.stdout.isatty() else wide
    rows = [[f"K = {k}", *(_SHORT.get(metric, metric) for metric in metrics)]]
    for name, measured in results:
        cells = [_number(measured, metric) for metric in metrics]
        # An interval for the first one tells how far all of them may be trusted.
        rows.append([name, cells[0] + _interval(measured, metrics[0]), *cells[1:]])
    table = _table(rows)
    if table.__rich_measure__(wide, wide.options).maximum > out.width:
        table = _table(list(zip(*rows, strict=True)))
    out.print(table)
    out.print(_last(results, k, metrics), markup=False)


def _table(rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(rows[0]):
        table.add_column(Text(name), justify="right" if place else "left", overflow="fold")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table


def _number(measured: Measured, metric: str) -> str:
    value = measured.values[metric]
    return "-" if value is None else f"{value:.4f}"


def _interval(measured: Measured, metric: str) -> str:
    """Half of a 95 % interval over users."""
    error = measured.errors.get(metric)
    return "" if error is None else f" ± {1.96 * error:.4f}"


def _last(results: Sequence[tuple[str, Measured]], k: int, metrics: Sequence[str]) -> str:
    found = [
        f"{name}: "
        + ", ".join(f"{metric}@{k} {_number(measured, metric)}" for metric in metrics[:2])
        for name, measured in results
    ]
    return "; ".join(found)


class Users:
    """How many users were ranked for, on a terminal's standard error."""

    def __init__(self, name: str, total: int) -> None:
        """Begin a line."""
        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(name, total=total)

    def __enter__(self) -> Users:
        """Show it, on a terminal."""
        if sys.stderr.isatty():
            self._progress.start()
        return self

    def __exit__(self, *ended: object) -> None:
        """Remove it."""
        if sys.stderr.isatty():  # else it would write an empty line
            self._progress.stop()

    def __call__(self, done: int) -> None:
        """So many are done."""
        self._progress.update(self._task, completed=done)
