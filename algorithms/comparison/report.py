"""What a comparison came to: one object an entry and environment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.comparison.plan import Comparison, Job
from algorithms.comparison.statistics import (
    Difference,
    difference_by_seed,
    paired_difference,
    student,
)
from algorithms.evaluation import Estimate, EvaluationResult, Numbers
from algorithms.metrics import STEPS, read_rows


@dataclass(frozen=True)
class Line:
    """The finished runs of an entry in an environment.

    Attributes:
        label: of the entry.
        environment: label of the world.
        jobs: its finished runs, in the order of the seeds.
        results: of those runs, from `result.json`.
        evaluations: of those runs.
        published: the return that somebody else reports.
        learning: reward a step while learning, of each run; NaN where it is not known.
    """

    label: str
    environment: str
    jobs: tuple[Job, ...]
    results: tuple[dict[str, Any], ...]
    evaluations: tuple[EvaluationResult, ...]
    published: float | None
    learning: tuple[float, ...] = ()

    @property
    def seeds(self) -> list[int]:
        """Of the training runs; empty for a baseline."""
        return [job.seed for job in self.jobs if job.seed is not None]

    @cached_property
    def returns(self) -> Numbers:
        """Of each user by each seed, (S, U); one row for a baseline."""
        return np.stack([found.returns for found in self.evaluations])

    @cached_property
    def mean_return(self) -> Estimate:
        """Over seeds by Student's t; over users where there is one run."""
        if len(self.jobs) > 1:
            return student(self.returns.mean(axis=1))
        return self.evaluations[0].mean_return

    @property
    def mean_learning(self) -> Estimate | None:
        """Reward a step while learning, over seeds by Student's t; `None` where none learned."""
        known = np.array([reward for reward in self.learning if not np.isnan(reward)])
        return student(known) if len(known) else None

    def average(self, key: str) -> float:
        """Mean over the runs of a number of `result.json`."""
        return float(np.mean([result[key] for result in self.results]))

    def evaluated(self) -> dict[str, float]:
        """Mean over the runs of what the evaluation reports."""
        names = self.results[0]["evaluation"]
        found: dict[str, list[float]] = {
            name: [
                result["evaluation"][name]["mean"]
                for result in self.results
                if result["evaluation"][name]["mean"] is not None
            ]
            for name in names
        }
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    def minus(self, other: Line) -> Difference | None:
        """Paired by user and seed; `None` where no seed is common to both."""
        if not self.seeds or not other.seeds:
            return paired_difference(self.returns, other.returns)
        mine, others = self._common(other)
        return paired_difference(self.returns[mine], other.returns[others]) if mine else None

    def learning_minus(self, other: Line) -> Difference | None:
        """The same of the rewards while learning, paired by seed."""
        mine, others = self._common(other)
        if not mine:
            return None
        return difference_by_seed(np.array(self.learning)[mine], np.array(other.learning)[others])

    def _common(self, other: Line) -> tuple[list[int], list[int]]:
        """Places of the seeds that both have, here and there."""
        common = [seed for seed in self.seeds if seed in other.seeds]
        mine, others = ([line.seeds.index(seed) for seed in common] for line in (self, other))
        return mine, others

    def measured(self, measure: str) -> float:
        """What it is ranked by; what did not learn comes last by what was earned in learning."""
        if measure == "return":
            return self.mean_return.mean
        return -np.inf if self.mean_learning is None else self.mean_learning.mean


def gather(comparison: Comparison, folder: Path) -> list[Line]:
    """Every entry with at least one finished run, the best of each environment first."""
    lines: list[Line] = []
    for environment in comparison.environments:
        found = [
            line
            for label in dict.fromkeys(entry.shown for entry in comparison.file.entries)
            if (line := _line(comparison, folder, label, environment)) is not None
        ]
        lines += sorted(found, key=lambda line: -line.measured(comparison.file.measure))
    return lines


def _line(comparison: Comparison, folder: Path, label: str, environment: str) -> Line | None:
    jobs = [
        job
        for job in comparison.jobs
        if (job.label, job.environment) == (label, environment)
        and (folder / job.name / "result.json").exists()
    ]
    if not jobs:
        return None
    results = [_result(folder / job.name / "result.json") for job in jobs]
    evaluations = [
        EvaluationResult.load(folder / job.name / "evaluation.npz", result["backend"])
        for job, result in zip(jobs, results, strict=True)
    ]
    learning = tuple(
        reward_while_learning(read_rows(folder / job.name / METRICS))
        for job in jobs
        if job.config is not None
    )
    published = comparison.published(label, environment)
    found = (tuple(jobs), tuple(results), tuple(evaluations), published, learning)
    return Line(label, environment, *found)


def cumulative_reward(rows: Sequence[Mapping[str, float]]) -> Numbers:
    """Reward of all users together since the run began, after each row of `metrics.csv`."""
    steps = np.array([row[STEPS] for row in rows])
    reward = np.array([row.get("reward_per_step", np.nan) for row in rows])
    return np.cumsum(reward * np.diff(steps, prepend=0.0))


def reward_while_learning(rows: Sequence[Mapping[str, float]]) -> float:
    """Mean reward of a user-step over a whole training; NaN without rows."""
    return float(cumulative_reward(rows)[-1] / rows[-1][STEPS]) if rows else float("nan")


METRICS = "metrics.csv"
_KEYS = {"environment", "backend", "env_steps", "train_cpu_seconds", "evaluation"}
"""What is taken from `result.json`."""


def _result(path: Path) -> dict[str, Any]:
    """What a run came to.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(found, dict) and found.keys() >= _KEYS
    except (OSError, ValueError):
        whole = False
    if not whole:
        raise ValueError(
            f"{path} is no whole result of a run; remove that run's folder to run it anew"
        )
    result: dict[str, Any] = found
    return result


def to_json(comparison: Comparison, lines: list[Line]) -> list[dict[str, Any]]:
    """A plain object a line."""
    return [_object(comparison, line, lines) for line in lines]


def _object(comparison: Comparison, line: Line, lines: list[Line]) -> dict[str, Any]:
    returned = line.mean_return.to_json()
    found: dict[str, Any] = {
        "algorithm": line.jobs[0].algorithm,
        "label": line.label,
        "environment": line.results[0]["environment"],
        "environment_label": line.environment,
        "return_mean": returned["mean"],
        "return_ci95": returned["ci95"],
        "ci95_over": "seeds" if len(line.jobs) > 1 else "users",
        "env_steps": round(line.average("env_steps")),
        "train_cpu_seconds": line.average("train_cpu_seconds"),
        "seeds": line.seeds,
        "return_by_seed": line.returns.mean(axis=1).tolist(),
        "eval_users": line.returns.shape[1],
        "backend": line.results[0]["backend"],
        "evaluation": line.evaluated(),
        "runs": [job.name for job in line.jobs],
    }
    if line.mean_learning is not None:
        earned = line.mean_learning.to_json()
        found["learning_reward"] = {"per_step": earned["mean"], "ci95": earned["ci95"]}
    other = _other(comparison, line, lines)
    measure = comparison.file.measure
    if other is not None:
        difference = line.minus(other) if measure == "return" else line.learning_minus(other)
        if difference is not None:
            what = {"against": other.label, "of": measure}
            found["difference"] = {**what, **difference.to_json()}
    if line.published is not None:
        by = comparison.file.published_by
        found["published"] = {"return_mean": line.published, "by": by}
    return found


def _other(comparison: Comparison, line: Line, lines: list[Line]) -> Line | None:
    """The line that differences are taken to, in the same environment."""
    for other in lines:
        if (other.label, other.environment) == (comparison.against, line.environment):
            return None if other is line else other
    return None
