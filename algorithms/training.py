"""Trains an algorithm in a run folder: the loop between RLlib and the disk."""

from __future__ import annotations

import importlib
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

import psutil
import torch
from safetensors import SafetensorError

from algorithms.accounting import Clock, memory_bytes
from algorithms.cluster import WorkersLost, objects_by_value, quiet
from algorithms.config import EvaluateSection, RunConfig
from algorithms.core.agent import Exploration
from algorithms.core.collect import Recorder
from algorithms.curves import draw_curves
from algorithms.environment import World, on_backend
from algorithms.evaluation import Estimate, EvaluationResult, evaluate_policy
from algorithms.layers import ConfigError
from algorithms.metrics import STEPS, MetricsLog
from algorithms.policy import Policy, baseline
from algorithms.registry import algorithm, baseline_names
from algorithms.run import Checkpoint, Run, versions
from envs.registry import make_simulator

_REFERENCE_USERS = 500
_EVALUATION_PROCESSES = min(4, os.cpu_count() or 1)
# RLlib's own, which stay as they are.
_LEARNER_CONSTANTS = ("default_optimizer_learning_rate", "num_trainable_parameters")


class Interrupted(Exception):
    """The user asked to stop; a checkpoint is there."""


class Stop(Protocol):
    """Says whether to stop at the next good moment."""

    @property
    def asked(self) -> bool:
        """Whether the user has asked."""

    def check(self) -> None:
        """Raise `Interrupted` if asked to stop."""


class Progress(Protocol):
    """Is told where a run is."""

    def update(self, steps: int, speed: float, mean_return: float) -> None:
        """As `TrainingProgress.update`."""


class Signals:
    """Ctrl-C and SIGTERM ask to stop at the next good moment; the second one insists.

    Use it as a context, within Ray's, which takes SIGTERM too.
    """

    def __init__(self) -> None:
        """Nobody has asked."""
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        # Unlike print, safe inside a handler.
        os.write(2, b"\nStopping when this iteration is saved; once more to stop at once.\n")

    def check(self) -> None:
        """Raise `Interrupted` if asked to stop."""
        if self.asked:
            raise Interrupted


def build(config: RunConfig) -> Any:
    """The RLlib algorithm of a config."""
    world = config.world
    rllib = algorithm(config.algorithm).load_config()
    quiet()
    rllib.environment(world.pop("name"), env_config=world)
    rllib.env_runners(
        num_env_runners=config.workers,
        num_envs_per_env_runner=config.users_per_runner,
        rollout_fragment_length=config.train.fragment,
    )
    rllib.training(**config.settings)
    rllib.debugging(seed=config.seed, log_level="ERROR")
    rounds = math.ceil(config.train.env_steps / (config.train.users * config.train.fragment))
    if config.train.record is not None:
        rllib.recording(_recorder(config))
    rllib.fragments_per_iteration = min(rllib.fragments_per_iteration, rounds)
    with objects_by_value():
        return rllib.build_algo()


def _recorder(config: RunConfig) -> Callable[[int], Recorder]:
    """What makes a recorder of each runner's index; by name, as logs are none of our business."""
    module, _, name = config.train.recorder.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"train.recorder is '{config.train.recorder}': {error}") from None
    found: Callable[[int], Recorder] = make(config.train.record, config.world, config.algorithm)
    return found


class Training:
    """One process's part of a run.

    Attributes:
        run: the folder.
        algo: the RLlib algorithm.
        clock: CPU-seconds by purpose.
    """

    def __init__(self, run: Run, checkpoint: Checkpoint | None, clock: Clock) -> None:
        """Build the algorithm, or continue from a checkpoint."""
        torch.set_num_threads(run.config.train.torch_threads)
        self.run, self.clock = run, clock
        self.algo = build(run.config)
        state: Mapping[str, Any] = {} if checkpoint is None else checkpoint.state
        if checkpoint is not None:
            self.algo.restore_from_path(str((checkpoint.path / "rllib").resolve()))
        self._wall_before = state.get("wall_seconds", 0.0)
        self._useful_before = state.get("useful_cpu_seconds", 0.0)
        self._steady = dict(state.get("steady", {"train": 0.0, "useful": 0.0}))
        self._best = state.get("best_return")
        self._peak = state.get("peak_memory_bytes", 0)
        self._log = MetricsLog(run.path, None if checkpoint is None else self.algo.env_steps)
        self.clock.charge("startup", exact=True)

    @property
    def _wall(self) -> float:
        return float(self._wall_before) + time.time() - psutil.Process().create_time()

    def loop(self, progress: Progress, signals: Stop) -> None:
        """Train until the budget is spent.

        Raises:
            Interrupted: the user asked to stop; the state is saved.
            WorkersLost: none has answered for long; the state is saved.
        """
        plan = self.run.config.train
        while self.algo.env_steps < plan.env_steps:
            before, useful, began = self.algo.env_steps, self._useful, time.monotonic()
            result = self._train()
            steps = self.algo.env_steps
            if steps == before:
                signals.check()
                continue
            spent = self.clock.charge("train")
            if before:
                self._steady["train"] += spent
                self._steady["useful"] += self._useful - useful
            speed = (steps - before) / (time.monotonic() - began)
            done = steps >= plan.env_steps
            row = self._row(result, speed)
            row |= self._evaluate_now(_crossed(before, steps, plan.evaluate_every) and not done)
            self._log.write(row)
            progress.update(steps, speed, row["return_mean"])
            # Looked at once: who asks after the save below is heard after the next.
            asked = signals.asked
            if asked or done or _crossed(before, steps, plan.checkpoint_every):
                self._save()
            if asked and not done:
                signals.check()

    def _train(self) -> dict[str, Any]:
        try:
            result: dict[str, Any] = self.algo.train()
        except WorkersLost:
            if self.algo.env_steps:
                self._save()
            raise
        return result

    @property
    def _useful(self) -> float:
        return float(sum(self.algo.cpu.values()))

    def _row(self, result: Mapping[str, Any], speed: float) -> dict[str, float]:
        sampled = result["env_runners"]
        # With a replay buffer nothing is learned until that holds enough.
        learned = result.get("learners", {}).get("default_policy", {})
        row = {
            STEPS: float(self.algo.env_steps),
            "return_mean": float(sampled["episode_return_mean"]),
            "session_length": float(sampled["episode_len_mean"]),
            "sessions": float(sampled["num_episodes"]),
            "epsilon": float(sampled["epsilon"]),
            "steps_per_second": speed,
            "wall_seconds": self._wall,
            "train_cpu_seconds": self.clock.spent["train"],
        }
        row |= {k: float(v) for k, v in sorted(sampled.items()) if k.endswith("_per_step")}
        for name, value in sorted(learned.items()):
            if name not in _LEARNER_CONSTANTS:
                row[f"learner/{name}"] = float(value)
        return row

    def policy(self) -> Policy:
        """The present policy, apart from training."""
        config, settings = self.run.config, self.algo.config.settings()
        return Policy(
            self.algo.agent(),
            exploration=Exploration(settings.epsilon_at(self.algo.env_steps), settings.temperature),
            reward=make_simulator(num_users=1, **config.world).reward_name,
            version=self.algo.updates,
            info={
                "world": config.world,
                "seed": config.seed,
                "env_steps": self.algo.env_steps,
                "versions": versions(),
            },
        )

    def _evaluate_now(self, due: bool) -> dict[str, float]:
        """A short evaluation for the curve; empty cells where it is not due."""
        if not due:
            return dict.fromkeys(("eval_return", "eval_low", "eval_high"), math.nan)
        config = self.run.config
        world, _ = on_backend(config.world, "torch")
        self.clock.charge("train", exact=True)
        # Other users than in the final evaluation: the best checkpoint is chosen on these.
        seed, users = config.evaluate.seed + 1, config.train.evaluate_users
        found = evaluate_policy(self.policy(), world, users, seed).mean_return
        self.clock.charge("eval", exact=True)
        if self._best is None or found.mean > self._best:
            self._best = found.mean
            self.run.save("best", self._write, self._state())
        return {"eval_return": found.mean, "eval_low": found.low, "eval_high": found.high}

    def _save(self) -> None:
        self._peak = max(self._peak, memory_bytes())
        self.run.save_step(self.algo.env_steps, self._write, self._state())
        self.clock.charge("train")

    def _write(self, folder: Path) -> None:
        self.algo.save_to_path(str((folder / "rllib").resolve()))
        save_policy(self.policy(), folder / "policy")

    def _state(self) -> dict[str, Any]:
        return {
            "env_steps": self.algo.env_steps,
            "updates": self.algo.updates,
            "cpu_seconds": self.clock.spent,
            "useful_cpu_seconds": self._useful_before + self._useful,
            "steady": self._steady,
            "wall_seconds": self._wall,
            "best_return": self._best,
            "peak_memory_bytes": self._peak,
        }

    def finish(self, signals: Stop, processes: int = _EVALUATION_PROCESSES) -> dict[str, Any]:
        """Export the policy, evaluate it with fresh users, and write the result.

        Args:
            signals: whether to stop.
            processes: that play where Google's code evaluates, one user at a time.
        """
        self.clock.charge("train", exact=True)
        config, policy = self.run.config, self.policy()
        save_policy(policy, self.run.policy)
        signals.check()
        world, _ = on_backend(config.world, config.evaluate.backend)
        found = evaluate_policy(
            policy,
            world,
            config.evaluate.users,
            config.evaluate.seed,
            workers=processes if world["backend"] == "google" else 0,
            tick=signals.check,
        )
        found.save(self.run.evaluation)
        references = reference_returns(config.world, config.evaluate)
        self._peak = max(self._peak, memory_bytes())
        self.clock.charge("eval", exact=True)
        result = {**self._figures(found), "references": references}
        title = f"{config.algorithm} on {config.env.name}, seed {config.seed}"
        draw_curves(self.run.path, title, result)
        self.run.write_result(result)
        self._log.close()
        return result

    def _figures(self, found: EvaluationResult) -> dict[str, Any]:
        config, spent = self.run.config, self.clock.spent
        summary = {name: estimate.to_json() for name, estimate in found.summary().items()}
        steady = self._steady
        overhead = 1 - steady["useful"] / steady["train"] if steady["train"] else None
        return {
            "algorithm": config.algorithm,
            "environment": config.env.name,
            "backend": found.backend,
            "return_mean": summary["return"]["mean"],
            "return_ci95": summary["return"]["ci95"],
            "eval_users": len(found.returns),
            "env_steps": self.algo.env_steps,
            "startup_cpu_seconds": spent["startup"],
            "train_cpu_seconds": spent["train"],
            "eval_cpu_seconds": spent["eval"],
            "wall_seconds": self._wall,
            "seed": config.seed,
            "workers": config.workers,
            "evaluation": summary,
            "overhead_share": overhead,
            "peak_memory_mb": self._peak / 2**20,
            "updates": self.algo.updates,
            "versions": versions(),
        }


def save_policy(policy: Policy, folder: Path) -> None:
    """As `policy.save`, with a full disk as an OSError like everywhere else."""
    try:
        policy.save(folder)
    except SafetensorError as error:
        raise OSError(f"{folder}: {error}") from error


def _crossed(before: int, after: int, every: int | None) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return every is not None and after // every > before // every


def reference_returns(world: World, evaluate: EvaluateSection) -> dict[str, float]:
    """What policies without training earn there, on the torch backend where it has the world."""
    world = {**on_backend(world, "torch")[0], "history": []}
    users = min(_REFERENCE_USERS, evaluate.users)
    found: dict[str, float] = {}
    for name in baseline_names():
        simulator = make_simulator(num_users=1, **world)
        try:
            policy = baseline(name, simulator.spec, simulator.history, simulator.slate_size)
        except ValueError:
            continue
        played = evaluate_policy(policy, world, users, evaluate.seed)
        found[name] = Estimate.of(played.returns).mean
    return found
