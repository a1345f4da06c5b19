"""Optuna proposes, Ray Tune runs, ASHA stops; what becomes of each trial is kept at once."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import optuna
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from algorithms.training import Stop
from algorithms.tuning.plan import Plan
from algorithms.tuning.playing import failure_file
from algorithms.tuning.proposals import SCORE, STEPS, Proposals
from algorithms.tuning.trainable import TrialRun
from algorithms.tuning.trials import TRIALS, Reading, Status, Trial, Trials

_STOP = ".stop"


class Watcher(Protocol):
    """Is told of trials as they go."""

    def look(self, trials: Trials) -> None:
        """Now and then."""

    def end(self, trial: Trial, trials: Trials) -> None:
        """A trial has ended."""


class Sparing(AsyncHyperBandScheduler):
    """ASHA, but the start always goes to its end: it is what the best is compared with."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether a trial goes on after a reading."""
        action = super().on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if trial.config["number"] == 0 else str(action)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Forget it: Ray's own would count its last reading at earlier ones that it skipped."""
        self._trial_info.pop(trial.trial_id, None)


def scheduler(plan: Plan, trials: Trials) -> Any:
    """What stops trials early, told of all readings so far."""
    if plan.section.reduction is None:
        return FIFOScheduler()
    found = Sparing(
        time_attr=STEPS,
        metric=SCORE,
        mode="max",
        max_t=plan.config.train.env_steps,
        grace_period=plan.first_reading,
        reduction_factor=plan.section.reduction,
    )
    for trial in trials.numbered:
        if trial.status == "failed":
            continue
        shown = SimpleNamespace(trial_id=f"before-{trial.number}", config={"number": trial.number})
        found.on_trial_add(None, shown)
        for reading in trial.readings:
            found.on_trial_result(None, shown, {STEPS: reading.steps, SCORE: reading.mean})
    return found


class Keeper(tune.Callback):
    """Keeps what becomes of trials, and asks them to stop where the user does."""

    def __init__(
        self, budget: int, trials: Trials, file: Path, stop: Stop, watcher: Watcher
    ) -> None:
        """Of trials.

        Args:
            budget: user-steps of a whole one.
            trials: where to keep them.
            file: asks them to stop once it appears.
            stop: whether the user wants to stop.
            watcher: is told.
        """
        self._budget, self._trials, self._file = budget, trials, file
        self._user, self._watcher = stop, watcher

    def __getstate__(self) -> dict[str, Any]:
        """Nothing that Tune would have to keep in its own files."""
        return {}

    def _of(self, trial: Any) -> Trial:
        return self._trials.all[trial.config["number"]]

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Look around."""
        if self._user.asked:
            self._file.touch()
        self._watcher.look(self._trials)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep a reading."""
        reading = Reading(result[STEPS], result[SCORE], result["low"], result["high"])
        self._trials.put(self._of(trial).read(reading, result["cpu_seconds"]))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial has played its budget, or was stopped early."""
        last = self._of(trial).last
        whole = last is not None and last.steps >= self._budget
        self._end(trial, "finished" if whole else "stopped")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial has failed; one that the user stopped has not."""
        path = failure_file(self._trials.path(trial.config["number"]))
        if path.exists():
            self._end(trial, "failed", path.read_text(encoding="utf-8"))
            path.unlink()
        elif not self._user.asked:
            self._end(trial, "failed", "its process has ended")

    def _end(self, trial: Any, status: Status, message: str = "") -> None:
        ended = self._of(trial).end(status, message)
        self._trials.put(ended)
        self._watcher.end(ended, self._trials)


def quiet_tune() -> None:
    """Tune's and Optuna's own lines off, and Ctrl-C left to us."""
    os.environ.update(
        RAY_AIR_NEW_OUTPUT="0",
        TUNE_DISABLE_SIGINT_HANDLER="1",
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    )
    # They report failures with whole tracebacks, which stand in files beside the trials.
    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def search(
    plan: Plan, trials: Trials, total: int, workers: int, stop: Stop, watcher: Watcher
) -> None:
    """Play trials until there are so many, on the Ray that is running.

    Args:
        plan: of the search.
        trials: those so far; the others are added.
        total: how many there shall be.
        workers: trials side by side, each on one CPU.
        stop: once asked, nothing starts any more, and what runs is saved.
        watcher: is told of everything.
    """
    quiet_tune()
    folder = (trials.folder / TRIALS).absolute()
    file = folder / _STOP
    file.unlink(missing_ok=True)
    run = tune.with_parameters(TrialRun, plan=plan, folder=str(folder), stop=str(file))
    with tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(run, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=Proposals(plan, trials, stop),
                scheduler=scheduler(plan, trials),
                num_samples=total - len(trials.done),
                max_concurrent_trials=workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                # Of Tune's own files none is needed: trials keep themselves.
                storage_path=scratch,
                callbacks=[Keeper(plan.config.train.env_steps, trials, file, stop, watcher)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        tuner.fit()
    file.unlink(missing_ok=True)
