"""A trial: training in a run folder, judged at every reading by the tuning users."""

from __future__ import annotations

import contextlib
import math
import shutil
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from algorithms.accounting import Clock
from algorithms.cluster import objects_by_value, quiet
from algorithms.command import sentence
from algorithms.comparison.runs import Silent, StopFile
from algorithms.config import RunConfig
from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy
from algorithms.run import RunError, create_run, read_run
from algorithms.training import Interrupted, Training, save_policy
from algorithms.tuning.plan import Plan
from algorithms.tuning.trials import Reading


class Diverged(RuntimeError):
    """Numbers of a trial are none any more."""


class UntilSteps:
    """Asks a training to stop once it has played so many steps, or where the user asks."""

    def __init__(self, training: Training, steps: int, stop: StopFile) -> None:
        """Of a training, user-steps, and a file that asks to stop everything."""
        self._training, self._steps, self._stop = training, steps, stop

    @property
    def asked(self) -> bool:
        """Whether it is time."""
        return bool(self._training.algo.env_steps >= self._steps) or self._stop.asked

    def check(self) -> None:
        """Raise `Interrupted` if it is."""
        if self.asked:
            raise Interrupted


def open_training(config: RunConfig, path: Path) -> Training:
    """A training in its run folder: continued from its last checkpoint, or begun."""
    quiet()
    checkpoint = None
    if path.exists():
        with contextlib.suppress(RunError):
            run = read_run(path)
            checkpoint = run.latest() if run.config.to_plain() == config.to_plain() else None
        if checkpoint is None:
            # It ended before its first checkpoint, every one is damaged, or it is the run of
            # another trial, whose file the user has removed.
            shutil.rmtree(path)
    if checkpoint is None:
        run = create_run(config, path)
    clock = Clock({} if checkpoint is None else checkpoint.state["cpu_seconds"])
    with objects_by_value():
        return Training(run, checkpoint, clock)


def judge(policy: Policy, plan: Plan, steps: int) -> Reading:
    """A policy's return with the tuning users, after so many steps.

    Raises:
        Diverged: it has weights that are not finite, or earns what is not.
    """
    weights = policy.agent.state_dict().values()
    if not all(bool(torch.isfinite(each).all()) for each in weights):
        raise Diverged(f"its weights are not finite after {steps:,} steps; it has diverged")
    found = evaluate_policy(policy, plan.world, plan.section.users, plan.tuning_seed).mean_return
    if not math.isfinite(found.mean):
        raise Diverged(f"its return is {found.mean} after {steps:,} steps; it has diverged")
    return Reading(steps, found.mean, found.low, found.high)


class Playing:
    """One trial in this process, from reading to reading."""

    def __init__(self, plan: Plan, path: Path, settings: Mapping[str, Any], stop: Path) -> None:
        """Build nothing yet; what can fail comes with the first reading.

        Args:
            plan: of the search.
            path: the trial's run folder, which may hold a part of it.
            settings: of the trial, by key with dots.
            stop: a file that asks to stop once it appears.
        """
        self._plan, self._path, self._settings = plan, path, settings
        self._stop = StopFile(stop)
        self._training: Training | None = None

    @property
    def cpu_seconds(self) -> float:
        """Of the training so far."""
        return 0.0 if self._training is None else self._training.clock.spent["train"]

    def advance(self) -> Reading:
        """Train to the next reading; at the budget, leave a policy to evaluate and serve.

        Raises:
            Interrupted: the user asked to stop; the state is saved.
            Exception: the trial has failed; the reason stands beside its folder, because the
                search gets no more than that something was raised.
        """
        try:
            return self._advance()
        except Interrupted:
            raise
        except Exception as error:
            trace = self._path.with_suffix(".traceback.txt")
            trace.write_text(traceback.format_exc(), encoding="utf-8")
            failure_file(self._path).write_text(sentence(error), encoding="utf-8")
            raise

    def _advance(self) -> Reading:
        if self._stop.asked:
            raise Interrupted
        if self._training is None:
            config = self._plan.trial_config(self._settings)
            self._training = open_training(config, self._path)
        training, readings = self._training, self._plan.readings
        steps = int(training.algo.env_steps)
        if steps < readings[-1]:
            aim = next(at for at in readings if at > steps)
            try:
                training.loop(Silent(), UntilSteps(training, aim, self._stop))
            except Interrupted:
                if self._stop.asked:
                    raise
        policy = training.policy()
        found = judge(policy, self._plan, int(training.algo.env_steps))
        if found.steps >= readings[-1]:
            save_policy(policy, training.run.policy)
        return found

    def close(self) -> None:
        """Let go of what was built."""
        if self._training is not None:
            self._training.algo.stop()
        self._training = None


def failure_file(path: Path) -> Path:
    """Where the reason stands for which the trial in a run folder has failed."""
    return path.with_suffix(".failed.txt")
