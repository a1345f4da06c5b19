"""`python -m offline.forget DIR --user ID --out DEST`: a copy of a log without a user."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from algorithms.command import mistakes

if TYPE_CHECKING:
    from offline.log import Log, Rows
    from offline.log.rows import Array

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    source: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of a log, a file, or a pattern.")
    ],
    user: Annotated[str, typer.Option(help="The user's id, as it was before any hashing.")],
    out: Annotated[Path, typer.Option(help="Folder of the copy; a new one.")],
    key_file: Annotated[
        Path | None, typer.Option(help="The key of a log with hashed ids; or RECSIM_LOG_KEY.")
    ] = None,
) -> None:
    """Write a copy without the user's rows; delete the original yourself."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        from offline.log import open_log

        log = open_log(source)
        gone, left = forget(log, named(log, user, key_file), out)
    print(f"{out}: {gone} rows of user '{user}' left out, {left} rows written")


def named(log: Log, user: str, key_file: Path | None) -> str:
    """The user's id as the log has it.

    Raises:
        LogError: ids of the log are hashed, and the key is missing or another one.
    """
    from offline.log import LogError, Pseudonyms

    mark = log.header.pseudonyms
    if mark is None:
        return user
    key = Pseudonyms.find(key_file)
    if key is None:
        raise LogError(
            "ids of this log are hashed; give their key with --key-file or RECSIM_LOG_KEY"
        )
    if key.mark != mark:
        raise LogError("this is not the key that ids of this log were hashed with; give that one")
    return key.of(user)


def forget(log: Log, user: str, target: Path) -> tuple[int, int]:
    """Copy a log without a user.

    Returns:
        How many rows were left out, and how many were written.

    Raises:
        LogError: a fault in the log, which has to be fixed first, or the user is not in it.
    """
    import numpy as np

    from offline.copying import copy
    from offline.log import COLUMNS, LogError

    gone = rows = 0
    # All columns, or the copy would leave rows out that only it finds faulty.
    for batch in log.batches(columns=tuple(COLUMNS)):
        gone += int((batch["user_id"] == user).sum())
        rows += len(batch)
    if not gone:
        raise LogError(f"the log has no rows of that user among its {rows:,}; nothing was written")

    def choose(rows: Rows, first: int) -> tuple[Array, Array]:
        return rows["user_id"] != user, np.zeros(len(rows), np.bool_)

    return gone, copy(log, target, choose)


if __name__ == "__main__":
    sys.exit(app())
