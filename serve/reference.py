"""`python -m serve.reference LOG`: the training log's distributions, to measure drift against."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from algorithms.command import mistakes

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    source: Annotated[
        str,
        typer.Argument(metavar="LOG", help="Folder of the log that the live policy learned from."),
    ],
    state: Annotated[Path, typer.Option(help="Folder of the endpoint.")] = Path("serving"),
) -> None:
    """Let an endpoint measure drift against a log; running replicas take it at once."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        from serve.watching.reference import refer

        found = refer(source, state)
    groups = ", ".join(found.groups)
    print(f"{found.rows:,} rows of {source} are the reference of {state} for {groups}", flush=True)


if __name__ == "__main__":
    app()
