"""`python -m algorithms.report RUN...`: one self-contained page about runs, and its pictures."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from algorithms.command import FAILED, INTERRUPTED, fail, mistakes, sentence

if TYPE_CHECKING:
    from algorithms.reporting.page import Report
    from algorithms.reporting.source import Source

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

PAGE = "report.html"


@app.command()
def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write into; report/ in the first run's if not given."),
    ] = None,
    users: Annotated[
        int | None,
        typer.Option(help="Fresh users to play; 1000, or 100 where they play one by one."),
    ] = None,
) -> None:
    """Write a page with learning curves, returns, sessions and baselines; the last line names it.

    Runs of one world are compared on the same users, side by side.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        folder = runs[0] / "report" if out is None else out
        check(folder, users)
        try:
            page = make(runs, users)
        except KeyboardInterrupt:
            fail("Stopped; nothing was written", INTERRUPTED)
        except OSError as error:
            fail(f"cannot read the runs: {error.strerror or sentence(error)}", FAILED)
        try:
            write(page, folder)
        except KeyboardInterrupt:
            fail(f"Stopped while writing; give the command again for a whole {folder}", INTERRUPTED)
        except OSError as error:
            fail(
                f"cannot write the report to {folder}: {error.strerror or sentence(error)}", FAILED
            )
    print(folder / PAGE)


def check(folder: Path, users: int | None) -> None:
    """Refuse what cannot be, before anything is played.

    Raises:
        ValueError: says what to do instead.
    """
    if users is not None and users < 2:
        raise ValueError(f"--users is {users}; it must be at least 2")
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise ValueError(
                    f"cannot write the report to {folder}: {place} is a file; choose another --out"
                )
            if not os.access(place, os.W_OK):
                raise ValueError(
                    f"cannot write the report to {folder}: {place} may not be written to; "
                    "choose another --out"
                )
            break


def make(runs: list[Path], users: int | None) -> Report:
    """Read the runs, play them and draw everything.

    Raises:
        ValueError: one is no run folder, or damaged.
    """
    from algorithms.reporting.group import gather
    from algorithms.reporting.page import build
    from algorithms.reporting.source import read_sources

    sources: list[Source] = read_sources(runs)

    def tell(label: str) -> None:
        print(f"Playing {label}.", file=sys.stderr, flush=True)

    return build(sources, gather(sources, users, tell))


def write(report: Report, folder: Path) -> None:
    """All pictures, then the page; each file is whole or not there.

    Raises:
        OSError: the disk is full, say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for picture in report.pictures:
        _whole(folder / f"{picture.name}.png", picture.png)
    _whole(folder / PAGE, report.html.encode())


def _whole(path: Path, content: bytes) -> None:
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp keeps its files from everyone else.
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    app()
