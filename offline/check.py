"""`python -m offline.check DIR`: what is in a log, and what is wrong with it."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import FAILED, mistakes

if TYPE_CHECKING:
    from offline.checking import Report
    from offline.log import Log, Rows
    from offline.log.rows import Array

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_SHOWN = 50


@app.command()
def main(
    source: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of a log, a file, or a pattern.")
    ],
    fix: Annotated[
        Path | None, typer.Option(help="Write a clean copy into this new folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Report rows, sessions, policies, propensities, rewards, slates and every fault.

    Ends with status 1 where there are faults.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    from offline.checking import check, unreadable
    from offline.log import LogError, open_log

    log: Log | None = None
    try:
        log = open_log(source)
        report = check(log)
    except LogError as error:
        report = unreadable(source, str(error))
    found = report.to_json()
    if not as_json:
        print(as_text(source, found), flush=True)
    try:
        if fix is not None and log is not None:
            with mistakes():
                rows = clean(log, report, fix)
            found["fixed"] = {"folder": str(fix), "rows": rows}
            if not as_json:
                print(f"{fix}: {rows:,} rows without faults")
    finally:  # also of a copy that could not be written
        if as_json:
            print(json.dumps(found, allow_nan=False))
    if report.faults:
        raise typer.Exit(FAILED)


def clean(log: Log, report: Report, target: Path) -> int:
    """Write a copy without faults: of a session with a gap the steps before it.

    Returns:
        How many rows were written.
    """
    from offline.copying import copy

    verdict = report.verdict
    if verdict is None:
        raise ValueError(f"{target} was not written, because the log cannot be read")

    def choose(rows: Rows, first: int) -> tuple[Array, Array]:
        part = slice(first, first + len(rows))
        return verdict.kept[part], verdict.cut[part]

    return copy(log, target, choose)


def as_text(source: str, found: dict[str, Any]) -> str:
    """A line for every number, then a line for every fault."""
    lines = [f"{source}: {found['rows']:,} rows, {found['sessions']:,} sessions"]
    if found["open_sessions"]:
        lines.append(f"  {found['open_sessions']:,} sessions have no end")
    if found["time"] is not None:
        lines.append(f"  time {found['time'][0]:.14g} to {found['time'][1]:.14g} s")
    for entry in found["policies"]:
        arm = f", arm {entry['arm']}" if entry["arm"] else ""
        lines.append(f"  {entry['policy']} {entry['version']}{arm}: {entry['rows']:,} rows")
    stated = found["propensities"]
    shares = ", ".join(f"{name} {share:.1%}" for name, share in stated["source"].items())
    if shares:
        lines.append(
            f"  propensities {shares}; 1 in {stated['certain']:.1%}; whole distribution in "
            f"{stated['with_distribution']:.1%}"
        )
    numbers = {
        "log-propensity": stated["log"],
        "reward": found["reward"],
        "return": found["return"],
        "session length": found["session_length"],
        "candidates": found["slates"]["candidates"],
        "share eligible": found["slates"]["eligible"],
        "share clicked": found["slates"]["clicked"],
    }
    lines += [f"  {name:<16}{_moments(value)}" for name, value in numbers.items() if value]
    if found["slates"]["slots"]:
        slots = ", ".join(f"{size} ({n:,})" for size, n in found["slates"]["slots"].items())
        lines.append(f"  slate sizes     {slots}")
    lines += [_place(entry) for entry in found["torn"]]
    lines += [_place(entry) for entry in found["faults"][:_SHOWN]]
    if len(found["faults"]) > _SHOWN:
        lines.append(f"... --json lists all {len(found['faults']):,}")
    lines.append(f"{len(found['faults']):,} faults")
    return "\n".join(lines)


def _moments(value: dict[str, float]) -> str:
    return (
        f"{value['mean']:.6g} (standard deviation {value['std']:.4g}, "
        f"from {value['min']:.6g} to {value['max']:.6g})"
    )


def _place(entry: dict[str, Any]) -> str:
    line = f":{entry['line']}" if entry["line"] else ""
    return f"{entry['file']}{line}: {entry['message']}"


if __name__ == "__main__":
    sys.exit(app())
