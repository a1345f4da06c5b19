"""The live lines of a search: all trials, those that play, and the best so far."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import TaskID, TimeElapsedColumn

from algorithms.metrics import STEPS, last_row
from algorithms.progress import LiveLines
from algorithms.tuning.trials import Trial, Trials, best_of

_LOOK_EVERY = 0.5


class TuningProgress(LiveLines):
    """A live line for all trials and one for each that plays; plain lines without a terminal."""

    def __init__(self, total: int, done: int, budget: int, console: Console | None = None) -> None:
        """Show nothing yet.

        Args:
            total: trials that there shall be.
            done: how many there are.
            budget: user-steps of a whole one.
            console: standard error if not given.
        """
        self._total, self._kept, self._budget = total, done, budget
        super().__init__(TimeElapsedColumn(), console)
        self._all = self._bar.add_task("all trials", total=total, completed=done, numbers="")
        self._tasks: dict[int, TaskID] = {}
        self._looked = 0.0

    def __enter__(self) -> Self:
        """Start the live lines."""
        if self._kept:
            self.say(f"{self._kept} of {self._total} trials are kept")
        return super().__enter__()

    def look(self, trials: Trials) -> None:
        """Read how far the trials are that play."""
        now = time.monotonic()
        if not self._live or now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        for trial in trials.numbered:
            if trial.status == "running":
                row = last_row(trials.path(trial.number) / "metrics.csv")
                self._show(trial, 0.0 if row is None else row[STEPS])
            elif trial.number in self._tasks:
                self._bar.remove_task(self._tasks.pop(trial.number))
        best = best_of(trials.numbered)
        numbers = f"{len(trials.done)} of {self._total}"
        numbers += f", best {best.readings[-1].mean:.1f} (trial {best.number})" if best else ""
        self._bar.update(self._all, completed=len(trials.done), numbers=numbers)

    def _show(self, trial: Trial, steps: float) -> None:
        if trial.number not in self._tasks:
            name = f"trial {trial.number}"
            self._tasks[trial.number] = self._bar.add_task(name, total=self._budget, numbers="")
        numbers = f"{steps:,.0f} of {self._budget:,} steps"
        numbers += f", return {trial.last.mean:.1f}" if trial.last else ""
        self._bar.update(self._tasks[trial.number], completed=steps, numbers=numbers)

    def end(self, trial: Trial, trials: Trials) -> None:
        """A trial has ended."""
        best = best_of(trials.numbered)
        line = f"trial {trial.number} {ending(trial)}"
        line += f"; best so far: trial {best.number}, {best.readings[-1].mean:.1f}" if best else ""
        self.say(f"{line} ({len(trials.done)} of {self._total})")


def ending(trial: Trial) -> str:
    """How a trial ended, and what it was worth."""
    if trial.status == "failed" or trial.last is None:
        return f"failed: {trial.message}"
    return f"{trial.status} after {trial.last.steps:,} steps, return {trial.last.mean:.1f}"
