"""`python -m algorithms.compare FILE.yaml`: algorithms, seeds and environments side by side."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from algorithms.command import FAILED, INTERRUPTED, fail, mistakes, sentence

if TYPE_CHECKING:
    from algorithms.comparison.plan import Comparison, Job
    from algorithms.comparison.report import Line
    from algorithms.comparison.runs import Ended

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="What to compare.")],
    out: Annotated[
        Path | None, typer.Option(help="Where runs are kept; runs/compare/FILE if not given.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Runs side by side; the machine's cores if not given.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the file."),
    ] = None,
) -> None:
    """Run what is not finished yet, then print the table and write compare.png and .json."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with mistakes():
        if workers is not None and workers < 1:
            raise ValueError(f"--workers is {workers}; it must be at least 1")
        from algorithms.comparison.plan import load_comparison
        from algorithms.comparison.runs import is_finished

        comparison = load_comparison(file, overrides or [])
        folder = out or Path("runs") / "compare" / file.stem
        kept = {job.name for job in comparison.jobs if is_finished(job, folder / "runs")}
    for warning in comparison.warnings:
        logging.getLogger(__name__).warning("%s.", warning)
    left = [job for job in comparison.jobs if job.name not in kept]
    with mistakes():
        ended = run(comparison, left, folder, workers or os.cpu_count() or 1) if left else {}
    with mistakes():
        conclude(comparison, folder, ended)


def run(comparison: Comparison, jobs: list[Job], folder: Path, workers: int) -> dict[str, Ended]:
    """Run jobs on a Ray of our own; ends the command where the user stops it."""
    from algorithms.cluster import quiet, ray_running

    quiet()
    from algorithms.comparison.execute import ComparisonProgress, run_all
    from algorithms.training import Signals

    runs, total = folder / "runs", len(comparison.jobs)
    workers = min(workers, len(jobs))
    try:
        with alone(folder), ray_running(workers), Signals() as signals:
            with ComparisonProgress(runs, total, total - len(jobs)) as progress:
                ended = run_all(jobs, runs.absolute(), workers, signals, progress)
    except KeyboardInterrupt:
        asked, ended = True, {}
    else:
        asked = signals.asked
    if asked:
        fail(f"Stopped; the same command with --out {folder} continues.", INTERRUPTED)
    return ended


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuse a second comparison in the same folder while the block runs."""
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder}: {_reason(error)}; choose another --out"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another comparison runs in {folder}; wait for it or choose another --out"
            ) from None
        yield


def conclude(comparison: Comparison, folder: Path, ended: dict[str, Ended]) -> None:
    """The table, the picture and the numbers of all finished runs; status 1 if one failed.

    Raises:
        ValueError: a finished run is damaged, or the folder cannot be written.
    """
    from algorithms.comparison.report import gather

    lines = gather(comparison, folder / "runs")
    failed = {name: each for name, each in ended.items() if each.status == "failed"}
    if lines:
        try:
            print(write(comparison, lines, folder))
        except OSError as error:
            raise ValueError(
                f"cannot write compare.json and compare.png to {folder}: {_reason(error)}; "
                "the runs are kept, so mend that and give the same command again"
            ) from None
    for name, each in failed.items():
        print(f"{name} failed: {each.message}", flush=True)
    if failed:
        fail(f"{len(failed)} of {len(comparison.jobs)} runs failed; see above", FAILED)
    print(f"{folder}: compare.json, compare.png and {len(comparison.jobs)} runs")


def write(comparison: Comparison, lines: list[Line], folder: Path) -> str:
    """Write the numbers and the picture.

    Returns:
        The table.
    """
    from algorithms.comparison.plots import draw
    from algorithms.comparison.report import to_json
    from algorithms.comparison.table import as_text
    from algorithms.run import write_whole

    objects = to_json(comparison, lines)
    write_whole(folder / "compare.json", json.dumps(objects, indent=2, allow_nan=False) + "\n")
    draw(comparison, lines, folder)
    return as_text(comparison, objects)


def _reason(error: OSError) -> str:
    return error.strerror or sentence(error)


if __name__ == "__main__":
    app()
