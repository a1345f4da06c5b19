"""A judgement as text and as a picture."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from offline.judge.estimates import Outcome
from offline.judge.judging import Judgement, Request
from offline.judge.target import Target
from offline.ope.diagnostics import Overlap

WIDE = 120
"""Columns of a terminal from which on the table says what each estimator is."""


def show(request: Request, source: str, found: Judgement, console: Console | None = None) -> None:
    """Print a judgement; the last line is its conclusion. Rich respects NO_COLOR."""
    out = console or _console()
    for line in _head(request, source, found):
        out.print(line, markup=False)
    out.print(_table(request, found, out.width >= WIDE))
    for line in _refusals(found):
        out.print(line, markup=False)
    for line in _diagnostics(found):
        out.print(line, markup=False)
    for warning in found.warnings:
        out.print(f"warning: {warning}", markup=False, style="yellow")
    out.print(conclusion(request, found), markup=False, style="bold")


def _head(request: Request, source: str, found: Judgement) -> list[str]:
    counts, sessions = found.bound.counts, len(found.bound.offsets) - 1
    lines = [
        f"{request.target.name} ({request.target.acting}) by {source}: "
        f"{counts.rows:,} rows, {sessions:,} sessions"
    ]
    for (arm, policy), (rows, begun, versions) in sorted(counts.arms.items()):
        named = f"arm '{arm}', {policy}" if arm else policy
        several = f", {len(versions)} versions" if len(versions) > 1 else ""
        lines.append(f"  logged by {named}{several}: {rows:,} rows, {begun:,} sessions")
    return lines


def _console() -> Console:
    """A terminal as wide as it is, and anything else wide enough for all columns."""
    width = None if sys.stdout.isatty() else WIDE + 50
    return Console(highlight=False, soft_wrap=True, width=width)


def _table(request: Request, found: Judgement, with_notes: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    level = f"{request.method.level:.4g}"
    table.add_column("estimator")
    table.add_column("a session", justify="right")
    table.add_column(f"interval ({request.method.kind}, {level})", justify="right")
    if request.against is not None:
        table.add_column(f"minus {_other(request)}", justify="right")
        table.add_column("interval", justify="right")
    for column in table.columns:
        column.no_wrap = True
    if with_notes:
        table.add_column("what it is")
    rows = {"logged": found.logged, **found.estimates}
    for name, each in rows.items():
        cells = [name, _number(each), _ends(each)]
        if request.against is not None:
            difference = found.differences.get(name, Outcome(None, None))
            cells += [_number(difference, "+"), _ends(difference)]
        if with_notes:
            cells.append(found.notes.get(name, "what the policies that logged earned"))
        table.add_row(*cells, style="bold" if name == found.recommendation.name else None)
    return table


def _other(request: Request) -> str:
    return request.against.name if isinstance(request.against, Target) else str(request.against)


def _number(each: Outcome, sign: str = "") -> str:
    return "-" if each.value is None else f"{each.value:{sign}.4g}"


def _ends(each: Outcome) -> str:
    if each.interval is None:
        return "-"
    return f"[{each.interval.low:.4g}, {each.interval.high:.4g}]"


def _diagnostics(found: Judgement) -> list[str]:
    weights, stated = found.diagnosis.weights, found.diagnosis.calibration
    lines = []
    if weights is not None:
        lines.append(_weights(weights))
    if stated is not None:
        lines.append(
            f"propensities of the log: stated and observed shares differ by {stated.error:.4f} in "
            f"the mean, by {stated.worst:.1f} standard errors at most"
        )
    return lines


def _refusals(found: Judgement) -> list[str]:
    """Why numbers or intervals are missing, once for all estimators that say the same."""
    reasons: dict[str, list[str]] = {}
    for name, each in found.estimates.items():
        if each.refusal is not None:
            reasons.setdefault(each.refusal.removeprefix(f"'{name}' "), []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _weights(weights: Overlap) -> str:
    if not weights.largest:
        return (
            f"weights of sessions: all {weights.sessions:,} are 0, since the policy would have "
            "shown none of the logged sessions to its end"
        )
    error = "" if math.isnan(weights.mean_error) else f" ± {weights.mean_error:.2g}"
    return (
        f"weights of sessions: effective sample size {weights.effective:,.1f} of "
        f"{weights.sessions:,} ({weights.effective / weights.sessions:.2%}), largest "
        f"{weights.largest[0]:.2%} of the sum, top 1 % {weights.top_share:.1%}, mean "
        f"{weights.mean:.3f}{error} (1 is expected)"
    )


def conclusion(request: Request, found: Judgement) -> str:
    """The last line."""
    name = found.recommendation.name
    if name is None:
        believed = f"no estimate is recommended: {found.recommendation.reason}"
    else:
        each = found.estimates[name]
        believed = (
            f"recommended: {name}, {_number(each)} {_ends(each)}, {found.recommendation.reason}"
        )
    return believed if found.verdict is None else f"{believed}\n{found.verdict}"


def as_json(request: Request, source: str, found: Judgement) -> dict[str, Any]:
    """One object with everything."""
    method = request.method
    return {
        "policy": request.target.name,
        "acting": request.target.acting,
        "against": None if request.against is None else _other(request),
        "data": source,
        "discount": request.discount,
        "interval": method.kind,
        "confidence": method.level,
        "bounds": None if method.bounds is None else list(method.bounds),
        "arm": request.arm,
        **found.to_json(),
    }


def can_draw(path: Path) -> None:
    """Refuse a place for a picture before there is one.

    Raises:
        ValueError: there is no such folder, or a folder has that name.
    """
    reason = "it is a folder" if path.is_dir() else "there is no such folder"
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ValueError(f"cannot write the picture to {path}: {reason}; choose another --plot")


def draw(request: Request, found: Judgement, path: Path) -> None:
    """Estimates with their intervals as a PNG, whole or not at all.

    Raises:
        ValueError: it cannot be written.
    """
    from matplotlib.figure import Figure

    names = [name for name, each in found.estimates.items() if each.value is not None]
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(names):
        each = found.estimates[name]
        assert each.value is not None, "only estimates with a value are drawn"
        colour = "tab:blue" if name == found.recommendation.name else "0.4"
        if each.interval is not None:
            axes.plot([each.interval.low, each.interval.high], [place, place], color=colour, lw=2)
        axes.plot(each.value, place, "o", color=colour)
    if found.logged.value is not None:
        axes.axvline(found.logged.value, color="tab:orange", ls="--", lw=1, label="as logged")
        axes.legend(frameon=False)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"reward of a session, {request.target.name} ({request.target.acting})")
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format="png", dpi=150)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ValueError(
            f"cannot write the picture to {path}: {error.strerror or error}; choose another --plot"
        ) from None


class Rows:
    """Says on standard error how many rows were read: a live line, or a line a million."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._live = sys.stderr.isatty()
        self._said = 0

    def __call__(self, rows: int) -> None:
        """So many were read by now."""
        if self._live:
            print(f"\r{rows:,} rows", end="", file=sys.stderr, flush=True)
        elif rows // 1_000_000 > self._said:
            self._said = rows // 1_000_000
            print(f"{rows:,} rows", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the live line away."""
        if self._live:
            print("\r" + " " * 24 + "\r", end="", file=sys.stderr, flush=True)
