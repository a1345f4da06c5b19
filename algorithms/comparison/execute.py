"""Plays the runs of a comparison side by side on Ray, a process each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import TaskID, TimeElapsedColumn

from algorithms.comparison.plan import Job
from algorithms.comparison.runs import Ended, perform
from algorithms.metrics import STEPS, last_row
from algorithms.progress import LiveLines
from algorithms.training import Stop

_POLL_SECONDS = 0.5


class ComparisonProgress(LiveLines):
    """A live line for all runs and one for each that plays; plain lines without a terminal."""

    def __init__(self, folder: Path, total: int, kept: int, console: Console | None = None) -> None:
        """Show nothing yet.

        Args:
            folder: of all runs.
            total: how many there are.
            kept: how many were finished before.
            console: standard error if not given.
        """
        self._folder, self._total, self._ended = folder, total, kept
        super().__init__(TimeElapsedColumn(), console)
        self._all = self._bar.add_task("all runs", total=total, completed=kept, numbers="")
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Start the live lines."""
        if self._ended:
            self.say(f"{self._ended} of {self._total} runs are kept")
        return super().__enter__()

    def start(self, job: Job) -> None:
        """A run has been handed to a process."""
        self._tasks[job.name] = self._bar.add_task(
            job.name, total=max(1, job.budget), numbers="starts"
        )

    def look(self, jobs: Sequence[Job]) -> None:
        """Read how far the runs are."""
        if not self._live:
            return
        self._bar.update(self._all, numbers=f"{self._ended} of {self._total}")
        for job in jobs:
            row = last_row(self._folder / job.name / "metrics.csv")
            if row is None:
                continue
            numbers = f"{row[STEPS]:,.0f} of {job.budget:,} steps"
            if row["return_mean"] == row["return_mean"]:
                numbers += f", return {row['return_mean']:.1f}"
            self._bar.update(self._tasks[job.name], completed=row[STEPS], numbers=numbers)

    def end(self, job: Job, ended: Ended) -> None:
        """A run has ended."""
        self._bar.remove_task(self._tasks.pop(job.name))
        if ended.status == "finished":
            self._ended += 1
            self._bar.advance(self._all)
            self.say(f"{job.name} is finished, {self._ended} of {self._total}")
        elif ended.status == "failed":
            self.say(f"{job.name} failed: {ended.message}")


def run_all(
    jobs: Sequence[Job], folder: Path, workers: int, stop: Stop, progress: ComparisonProgress
) -> dict[str, Ended]:
    """Run all jobs, `workers` at a time, on the Ray that is running.

    Each gets one CPU and a process that ends with it, so that its CPU-seconds
    are its own.

    Args:
        jobs: what to run.
        folder: of all runs.
        workers: how many run side by side.
        stop: once asked, nothing starts any more, and what runs is saved.
        progress: is told of everything.

    Returns:
        How each job ended that was started, by its name.
    """
    import ray

    asked = folder / ".stop"
    asked.unlink(missing_ok=True)
    remote = ray.remote(num_cpus=1, max_calls=1, max_retries=0)(perform)
    waiting, running = list(jobs), dict[Any, Job]()
    found: dict[str, Ended] = {}
    while running or (waiting and not stop.asked):
        if stop.asked:
            asked.touch()
        while waiting and len(running) < workers and not stop.asked:
            job = waiting.pop(0)
            progress.start(job)
            running[remote.remote(job, folder, asked)] = job
        done, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
        for reference in done:
            job = running.pop(reference)
            found[job.name] = _ended(reference)
            progress.end(job, found[job.name])
        progress.look(list(running.values()))
    asked.unlink(missing_ok=True)
    return found


def _ended(reference: Any) -> Ended:
    """What a task came to, also where its process died."""
    import ray

    try:
        ended: Ended = ray.get(reference)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Ended("failed", f"its process has ended: {lines[0].partition('. ')[0]}")
    return ended
