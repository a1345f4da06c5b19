"""What became of each trial: a small file beside its run folder, written by the search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from algorithms.layers import Plain
from algorithms.run import RunError, write_whole
from algorithms.tuning.space import Point

Status = Literal["running", "finished", "stopped", "failed"]
DONE = ("finished", "stopped", "failed")

TRIALS = "trials"
"""The folder of all trials within that of a search."""


def folder_name(number: int) -> str:
    """Of the run folder of a trial."""
    return f"{number:04d}"


@dataclass(frozen=True)
class Reading:
    """A trial, judged by the tuning users.

    Attributes:
        steps: user-steps that it had played.
        mean: return of a session.
        low: lower end of its 95 % interval over users.
        high: upper end.
    """

    steps: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: from 0, which is the config as it stands.
        point: where in the space; `None` for a start outside.
        settings: what it changes in the config, by key with dots.
        status: `stopped` early, or `failed` for the reason in `message`.
        readings: of its return, in order.
        message: one sentence on a failure.
        cpu_seconds: of its training.
    """

    number: int
    point: Point | None
    settings: Plain
    status: Status = "running"
    readings: tuple[Reading, ...] = ()
    message: str = ""
    cpu_seconds: float = 0.0

    @property
    def last(self) -> Reading | None:
        """The latest reading."""
        return self.readings[-1] if self.readings else None

    @property
    def value(self) -> float | None:
        """What the search takes it to be worth; `None` for nothing known."""
        if self.status == "failed" or self.last is None:
            return None
        return self.last.mean

    def read(self, reading: Reading, cpu_seconds: float) -> Trial:
        """With one more reading; one of steps that were read before is no news."""
        if self.last is not None and reading.steps <= self.last.steps:
            return self
        return replace(self, readings=(*self.readings, reading), cpu_seconds=cpu_seconds)

    def end(self, status: Status, message: str) -> Trial:
        """With how it ended."""
        return replace(self, status=status, message=message)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The finished trial with the highest return; of equals the first."""
    finished = [trial for trial in trials if trial.status == "finished"]
    return max(finished, key=lambda trial: trial.readings[-1].mean, default=None)


@dataclass
class Trials:
    """All trials of a search, in memory and on disk.

    Attributes:
        folder: of the search.
        all: by number.
    """

    folder: Path
    all: dict[int, Trial] = field(default_factory=dict)

    def path(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / TRIALS / folder_name(number)

    def put(self, trial: Trial) -> None:
        """Keep what is known of a trial now."""
        self.all[trial.number] = trial
        write_whole(self._file(trial.number), json.dumps(asdict(trial), indent=2) + "\n")

    def _file(self, number: int) -> Path:
        return self.folder / TRIALS / f"{folder_name(number)}.json"

    @property
    def numbered(self) -> list[Trial]:
        """In the order of their numbers."""
        return [self.all[number] for number in sorted(self.all)]

    @property
    def done(self) -> list[Trial]:
        """Those that have ended, however."""
        return [trial for trial in self.numbered if trial.status in DONE]

    @classmethod
    def load(cls, folder: Path) -> Trials:
        """What `put` kept.

        Raises:
            RunError: a file is damaged.
        """
        found = cls(folder)
        for path in sorted((folder / TRIALS).glob("[0-9]*.json")):
            try:
                trial = _trial(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError, KeyError):
                raise RunError(
                    f"{path} is damaged; remove it and --resume, which plays another trial instead"
                ) from None
            found.all[trial.number] = trial
        return found


def _trial(data: dict[str, Any]) -> Trial:
    readings = tuple(Reading(**each) for each in data.pop("readings"))
    return Trial(**data, readings=readings)
