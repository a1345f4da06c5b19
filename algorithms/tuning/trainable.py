"""A trial as Ray Tune runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from algorithms.tuning.plan import Plan
from algorithms.tuning.playing import Playing
from algorithms.tuning.proposals import SCORE, STEPS
from algorithms.tuning.trials import folder_name


class TrialRun(tune.Trainable):
    """One trial after the other in one process; each step ends with a reading."""

    def setup(self, config: Mapping[str, Any], plan: Plan, folder: str, stop: str) -> None:
        """Get ready.

        Args:
            config: number and settings of the trial.
            plan: of the search.
            folder: of all trials.
            stop: a file that asks to stop once it appears.
        """
        self._plan, self._folder, self._stop = plan, Path(folder), Path(stop)
        self._begin(config)

    def _begin(self, config: Mapping[str, Any]) -> None:
        path = self._folder / folder_name(config["number"])
        self._playing = Playing(self._plan, path, config["settings"], self._stop)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Another trial in the same process, which has imported everything."""
        self._playing.close()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Let go of the trial."""
        self._playing.close()

    def step(self) -> dict[str, Any]:
        """Train to the next reading, and judge."""
        found = self._playing.advance()
        return {
            STEPS: found.steps,
            SCORE: found.mean,
            "low": found.low,
            "high": found.high,
            "cpu_seconds": self._playing.cpu_seconds,
            "done": found.steps >= self._plan.readings[-1],
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the run folder has its own checkpoints."""
