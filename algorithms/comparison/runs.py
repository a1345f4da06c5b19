"""One run of a comparison: a folder that is kept, continued or begun."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from algorithms.accounting import Clock
from algorithms.command import sentence
from algorithms.comparison.plan import Job, first_difference
from algorithms.evaluation import evaluate_policy
from algorithms.layers import ConfigError
from algorithms.policy import baseline
from algorithms.run import RunError, create_run, read_run, versions, write_whole
from envs.registry import make_simulator

_BASELINE, _RESULT, _EVALUATION = "baseline.json", "result.json", "evaluation.npz"
_LEFT = {f".{_BASELINE}.partial"}
"""All that a baseline may leave that ended before it wrote what it is."""

_LOOK_EVERY = 0.2


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        status: what became of it.
        message: one sentence on a failure.
    """

    status: Literal["finished", "stopped", "failed"]
    message: str = ""


class StopFile:
    """Asks runs in other processes to stop, by a file that they look for."""

    def __init__(self, path: Path) -> None:
        """Of a path where a file may appear."""
        self._path, self._looked, self._found = path, 0.0, False

    @property
    def asked(self) -> bool:
        """Whether the file is there; looks now and then."""
        now = time.monotonic()
        if not self._found and now - self._looked > _LOOK_EVERY:
            self._found, self._looked = self._path.exists(), now
        return self._found

    def check(self) -> None:
        """Raise `Interrupted` if asked to stop."""
        from algorithms.training import Interrupted

        if self.asked:
            raise Interrupted


class Silent:
    """Shows nothing: how far a run is can be read in its folder."""

    def update(self, steps: int, speed: float, mean_return: float) -> None:
        """Nothing."""


def is_finished(job: Job, folder: Path) -> bool:
    """Whether the folder of a run holds its result.

    Raises:
        ConfigError: another run stands there, which is not overwritten; or it cannot be read.
    """
    path = folder / job.name
    try:
        if not path.exists():
            return False
        hardly_begun = job.config is None and {entry.name for entry in path.iterdir()} <= _LEFT
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; choose another --out") from None
    if hardly_begun:
        return False
    if job.config is None:
        try:
            found = json.loads((path / _BASELINE).read_text())
        except (OSError, ValueError):
            raise ConfigError(f"{path} is no run of '{job.algorithm}'; {_ELSEWHERE}") from None
    else:
        found = read_run(path).config.to_plain()
    difference = first_difference(found, job.settings())
    if difference is not None:
        raise ConfigError(f"{path} was run with {difference}; {_ELSEWHERE}")
    return (path / _RESULT).exists()


_ELSEWHERE = "choose another --out, or remove that folder to run it anew"


def perform(job: Job, folder: Path, stop: Path) -> Ended:
    """Run a job to its end in this process; never raises.

    Args:
        job: what to run.
        folder: of all runs.
        stop: a file that asks to stop once it appears.
    """
    # Before anything else of training, whose import of RLlib is slow and noisy.
    from algorithms.cluster import quiet

    quiet()
    from algorithms.training import Interrupted

    path, stops = folder / job.name, StopFile(stop)
    try:
        if job.config is None:
            _play(job, path, stops)
        else:
            _train(job, path, stops)
    except Interrupted:
        return Ended("stopped")
    except Exception as error:
        # One run that fails, for whatever reason, must not lose the others.
        trace = folder / f"{job.name}.traceback.txt"
        trace.write_text(traceback.format_exc(), encoding="utf-8")
        return Ended("failed", f"{sentence(error)} (see {trace})")
    return Ended("finished")


def _train(job: Job, path: Path, stop: StopFile) -> None:
    from algorithms.cluster import ray_running
    from algorithms.training import Training

    assert job.config is not None
    checkpoint = None
    if path.exists():
        run = read_run(path)
        try:
            checkpoint = run.latest()
        except RunError:
            # Stopped before its first checkpoint, or every one is damaged.
            shutil.rmtree(path)
    if checkpoint is None:
        run = create_run(job.config, path)
    clock = Clock({} if checkpoint is None else checkpoint.state["cpu_seconds"])
    with ray_running(0):
        training = Training(run, checkpoint, clock)
        training.loop(Silent(), stop)
        training.finish(stop, processes=0)


def _play(job: Job, path: Path, stop: StopFile) -> None:
    """Evaluate a baseline, and keep what a run folder keeps of that."""
    clock = Clock()
    clock.charge("startup", exact=True)
    simulator = make_simulator(num_users=1, **{**job.world, "history": []})
    policy = baseline(job.algorithm, simulator.spec, simulator.history, simulator.slate_size)
    plan = job.evaluate
    found = evaluate_policy(policy, job.world, plan.users, plan.seed, tick=stop.check)
    clock.charge("eval", exact=True)
    path.mkdir(parents=True, exist_ok=True)
    # First of all, so that whatever ends this run leaves a folder that can be continued.
    write_whole(path / _BASELINE, json.dumps(job.settings(), indent=2) + "\n")
    policy.info["world"] = job.world
    policy.save(path / "policy")
    found.save(path / _EVALUATION)
    result: dict[str, Any] = {
        "algorithm": job.algorithm,
        "environment": str(job.world["name"]),
        "backend": found.backend,
        "env_steps": 0,
        "train_cpu_seconds": 0.0,
        "eval_cpu_seconds": clock.spent["eval"],
        "eval_users": len(found.returns),
        "evaluation": {name: value.to_json() for name, value in found.summary().items()},
        "versions": versions(),
    }
    write_whole(path / _RESULT, json.dumps(result, indent=2, allow_nan=False) + "\n")
