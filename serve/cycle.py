"""`python -m serve.cycle STATE`: learn from what an endpoint served, deploy what is better."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from algorithms.command import INTERRUPTED, fail, mistakes, sentence

if TYPE_CHECKING:
    from serve.cycling.settings import CycleSettings

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

STOPPED = "Stopped; the next pass goes on after the last stage that was done"


@app.command()
def main(
    state: Annotated[
        Path, typer.Argument(metavar="[STATE]", help="Folder of the endpoint; 'serving'.")
    ] = Path("serving"),
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting, as in canary.share=0.1."
        ),
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Repeat, beginning a pass each 6h, for instance.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As of offline.join; now, if not given."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="All but deploy; later passes ignore it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a pass.")] = False,
) -> None:
    """Join the log, train a candidate, judge it, deploy it if it is better, and report why."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        from algorithms.cluster import quiet
        from offline.join import moment
        from offline.tables import duration
        from serve.cycling.keeping import alone
        from serve.cycling.settings import load_settings
        from serve.cycling.training import check_settings
        from serve.state import read_serving_header

        quiet()
        settings = load_settings(config, overrides or [])
        check_settings(settings)
        period = None if every is None else duration(every)
        end = None if until is None or until == "now" else moment(until)
        check_flags(period, end, dry_run)
        read_serving_header(state)
        with alone(state):
            if period is None:
                one(state, settings, end, dry_run, as_json)
            else:
                repeat(state, settings, period, as_json)


def check_flags(every: float | None, end: float | None, dry_run: bool) -> None:
    """Refuse flags that mean nothing, alone or together.

    Raises:
        ValueError: says which.
    """
    if every == 0:
        raise ValueError("--every leaves no time between passes; give more than 0, such as 6h")
    if every is not None and end is not None:
        raise ValueError("--every joins up to the moment of each pass; leave --until out")
    if every is not None and dry_run:
        raise ValueError("--dry-run does one pass that changes nothing; leave --every out")


def one(
    state: Path, settings: CycleSettings, until: float | None, dry_run: bool, as_json: bool
) -> None:
    """Do one pass; its last line names the report and what was done."""
    from algorithms.training import Interrupted
    from serve.cycling.passing import Pass
    from serve.cycling.reporting import headline

    try:
        found = Pass(state, settings, until, dry_run, say)
        report = found.run()
    except (Interrupted, KeyboardInterrupt):
        fail(STOPPED, INTERRUPTED)
    else:
        words = found.folder / "report.md"
        line: dict[str, Any] = {"report": str(words), **report}
        print(json.dumps(line) if as_json else f"{words}: {headline(report)}", flush=True)


def repeat(state: Path, settings: CycleSettings, period: float, as_json: bool) -> None:
    """Begin a pass every so many seconds; one that cannot be done is said, and tried again."""
    while True:
        began = time.monotonic()
        try:
            one(state, settings, None, False, as_json)
        except ValueError as error:
            print(sentence(error), file=sys.stderr, flush=True)
        try:
            time.sleep(max(0.0, period - (time.monotonic() - began)))
        except KeyboardInterrupt:
            print("Stopped.", flush=True)
            return


def say(text: str) -> None:
    """What happens, on standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
