"""Optuna's proposals, through Ray Tune's searcher, as numbered trials that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from algorithms.training import Stop
from algorithms.tuning.plan import Plan
from algorithms.tuning.trials import DONE, Trial, Trials

SCORE, STEPS = "score", "env_steps"
"""What a trial reports: its return, and when."""


class Proposals(OptunaSearch):
    """The config as it stands first, then what an end cut short, then what Optuna proposes."""

    def __init__(self, plan: Plan, trials: Trials, stop: Stop) -> None:
        """Of a search, some of whose trials may have been played before."""
        self._plan, self._trials, self._user = plan, trials, stop
        self._unfinished = [trial for trial in trials.numbered if trial.status not in DONE]
        self._start_id: str | None = None
        again = [trial.point for trial in self._unfinished if trial.number and trial.point]
        super().__init__(
            {each.key: each.distribution for each in plan.space},
            metric=SCORE,
            mode="max",
            points_to_evaluate=again,
            sampler=optuna.samplers.TPESampler(seed=plan.search_seed(len(trials.done))),
        )
        for trial in trials.done:
            self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        """What is known of a trial that Optuna did not propose in this process."""
        if trial.point is None:
            return
        if trial.value is None:
            self.add_evaluated_point(dict(trial.point), 0.0, error=True)
        else:
            self.add_evaluated_point(dict(trial.point), trial.value)

    def suggest(self, trial_id: str) -> Any:
        """Number and settings of the next trial; none once the user wants to stop."""
        if self._user.asked:
            return Searcher.FINISHED
        trial = self._next(trial_id)
        self._trials.put(trial)
        return {"number": trial.number, "settings": trial.settings}

    def _next(self, trial_id: str) -> Trial:
        start = self._trials.all.get(0)
        if start is None or start in self._unfinished:
            self._start_id = trial_id
            if start is None:
                return Trial(0, self._plan.start(), {})
            self._unfinished.remove(start)
            return start
        point = super().suggest(trial_id)
        for trial in self._unfinished:
            if trial.point == point:
                self._unfinished.remove(trial)
                return trial
        return Trial(max(self._trials.all) + 1, point, self._plan.settings(point))

    def save(self, checkpoint_path: str) -> None:
        """Nothing for Tune to keep: a search continues from its trials' own files."""
        Path(checkpoint_path).touch()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell Optuna, but of the start, which it did not propose."""
        if trial_id != self._start_id:
            super().on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The same at the end."""
        if trial_id != self._start_id:
            # Without the last reading of one that failed, which says nothing good of it.
            super().on_trial_complete(trial_id, None if error else result, error)
        elif not error:
            self._tell(self._trials.all[0])
