"""`python -m offline.join DIR`: a log of what an endpoint answered and what came back."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from algorithms.command import INTERRUPTED, fail, mistakes

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    source: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="State folder of `serve.run`, or the log in it."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the log; a new one. Else one in logs/, with the time."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(help="Only sessions that began so long before the end; else all."),
    ] = None,
    session_gap: Annotated[
        str, typer.Option(help="Silence after which a session has ended, such as 30m.")
    ] = "30m",
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="The end: now, seconds since 1970 or 2026-11-21T14:00Z; else the last line's "
            "time. At a later time all is over.",
        ),
    ] = None,
    unanswered: Annotated[
        str,
        typer.Option(
            help="A row without a response: zeros takes it for no click, leave_out cuts before it."
        ),
    ] = "zeros",
    reward: Annotated[
        str | None, typer.Option(help="Function of responses; else the endpoint's.")
    ] = None,
    format: Annotated[str, typer.Option(help="json (lines) or parquet.")] = "json",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Join impressions with the responses that came with tokens or later as feedback."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        from offline.joining.joining import Choices, join
        from offline.joining.report import as_text
        from offline.tables import duration

        choices = Choices(
            None if window is None else duration(window),
            duration(session_gap),
            None if until is None else moment(until),
            unanswered,
            reward,
            format,
        )
        out = out or Path("logs") / f"{source.resolve().name}-{time.strftime('%Y%m%d-%H%M%S')}"
        try:
            report = join(source, out, choices, _progress)
        except KeyboardInterrupt:
            fail("Stopped; nothing was written", INTERRUPTED)
        finally:
            _end_progress()
    found = {"log": str(out), **report.to_json()}
    print(json.dumps(found, allow_nan=False) if as_json else f"{as_text(found)}\n{out}")


def moment(text: str) -> float:
    """Seconds since 1970 of a text; without a zone it is UTC.

    Raises:
        ValueError: it is no time.
    """
    if text == "now":
        return time.time()
    try:
        if re.fullmatch(r"\d+(\.\d*)?", text):
            return float(text)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"--until is '{text}'; write now, seconds since 1970, or a time such as "
            "2026-11-21T14:00Z"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _progress(rows: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{rows:,} rows", end="", file=sys.stderr)


def _end_progress() -> None:
    if sys.stderr.isatty():
        print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(app())
