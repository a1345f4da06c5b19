"""`python -m offline.export DIR --to rllib --out DIR`: a log for other programs."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from algorithms.command import fail, mistakes

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    source: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of a log, a file, or a pattern.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; a new one.")],
    to: Annotated[str, typer.Option(help="rllib: episodes for its stock BC and MARWIL.")] = "rllib",
    returns: Annotated[
        float | None,
        typer.Option(
            metavar="DISCOUNT", help="Write steps with their discounted returns to go as rewards."
        ),
    ] = None,
) -> None:
    """Write whole episodes as Parquet files; see docs/export.md."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if to != "rllib":
        fail(f"--to is '{to}'; allowed is: rllib")
    from offline.exporting.folder import stopping

    with mistakes(), stopping(out):
        from offline.exporting.rllib import export
        from offline.log import open_log

        found = export(open_log(source), out, returns)
    for warning in found.warnings():
        print(f"WARNING: {warning}.", file=sys.stderr)
    print(
        f"{out}: {found.episodes} episodes, {found.steps} steps, observations of "
        f"{found.observation_size} numbers, actions {found.action_space}"
    )


if __name__ == "__main__":
    sys.exit(app())
