"""The live line of a run: steps, speed, return, time left."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


class LiveLines:
    """Live lines on a terminal, plain lines elsewhere. Use it as a context.

    Rich respects NO_COLOR and TERM=dumb.
    """

    def __init__(self, time: ProgressColumn, console: Console | None = None) -> None:
        """Show nothing yet.

        Args:
            time: the last column.
            console: standard error if not given.
        """
        self._console = console or Console(stderr=True)
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}", markup=False),
            time,
            console=self._console,
            disable=not self._live,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Start the live lines."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the live lines away."""
        self._bar.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class TrainingProgress(LiveLines):
    """A live line on a terminal, ten plain lines elsewhere."""

    def __init__(
        self,
        budget: int,
        done: int = 0,
        console: Console | None = None,
        *,
        unit: str = "steps",
        label: str = "return",
        digits: int = 1,
    ) -> None:
        """Show nothing yet.

        Args:
            budget: user-steps of the whole run, or what else is counted.
            done: user-steps before this process.
            console: standard error if not given.
            unit: what is counted, in the plural.
            label: of the number that is shown beside.
            digits: of that number after its point.
        """
        self._unit, self._label, self._digits = unit, label, digits
        super().__init__(TimeRemainingColumn(), console)
        self._budget, self._shown = budget, 10 * done // budget
        self._task = self._bar.add_task("training", total=budget, completed=done, numbers="")

    def update(self, steps: int, speed: float, mean_return: float) -> None:
        """Show where the run is.

        Args:
            steps: user-steps so far.
            speed: user-steps per second.
            mean_return: of the sessions that ended lately; NaN for none.
        """
        numbers = f"{steps:,} of {self._budget:,} {self._unit}, {speed:,.0f} a second"
        if not math.isnan(mean_return):
            numbers += f", {self._label} {mean_return:.{self._digits}f}"
        if self._live:
            self._bar.update(self._task, completed=min(steps, self._budget), numbers=numbers)
            return
        tenth = 10 * steps // self._budget
        if tenth > self._shown:
            self._shown = tenth
            left = max(0, self._budget - steps) / speed if speed > 0 else math.inf
            ending = f", {left:.0f} s left" if math.isfinite(left) else ""
            self.say(f"{numbers}{ending}")
