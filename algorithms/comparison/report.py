"""What a comparison came to: one object an entry and environment, and the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.comparison.plan import Comparison, Job
from algorithms.comparison.statistics import Difference, paired_difference, student
from algorithms.evaluation import Estimate, EvaluationResult, Numbers


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
    """

    label: str
    environment: str
    jobs: tuple[Job, ...]
    results: tuple[dict[str, Any], ...]
    evaluations: tuple[EvaluationResult, ...]
    published: float | None

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
        common = [seed for seed in self.seeds if seed in other.seeds]
        if not common:
            return None
        return paired_difference(
            *(line.returns[[line.seeds.index(seed) for seed in common]] for line in (self, other))
        )


def gather(comparison: Comparison, folder: Path) -> list[Line]:
    """Every entry with at least one finished run, the best of each environment first."""
    lines: list[Line] = []
    for environment in comparison.environments:
        found = [
            line
            for label in dict.fromkeys(entry.shown for entry in comparison.file.entries)
            if (line := _line(comparison, folder, label, environment)) is not None
        ]
        lines += sorted(found, key=lambda line: -line.mean_return.mean)
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
    published = comparison.published(label, environment)
    return Line(label, environment, tuple(jobs), tuple(results), tuple(evaluations), published)


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
    other = _other(comparison, line, lines)
    if other is not None and (difference := line.minus(other)) is not None:
        found["difference"] = {"against": other.label, **difference.to_json()}
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


def as_text(comparison: Comparison, objects: list[dict[str, Any]]) -> str:
    """The table, and how to read it."""
    parts: list[str] = []
    for environment in comparison.environments:
        chosen = [each for each in objects if each["environment_label"] == environment]
        if chosen:
            users, backend = chosen[0]["eval_users"], chosen[0]["backend"]
            parts.append(f"{environment}: {users:,} users of the {backend} backend")
            parts += _aligned([_head(comparison, chosen), *(_cells(each) for each in chosen)])
            parts.append("")
    return "\n".join([*parts, EXPLANATION])


EXPLANATION = """\
return: of a session, undiscounted, with the 95 % interval of Student's t over seeds, or of the
  normal approximation over users (*) where there is one run. Every policy met the same users and
  luck.
difference: paired by user, with the 95 % interval and p of a t-test in which both seeds and users
  are draws from many; over users alone where there is one run. Not corrected for several lines."""


def _head(comparison: Comparison, objects: list[dict[str, Any]]) -> list[str]:
    head = ["algorithm", "return", "", "seeds", "user-steps", "CPU-seconds"]
    head += [f"difference to {comparison.against}", "", "p"]
    if any("published" in each for each in objects):
        head.append(comparison.file.published_by or "published")
    return head


def _cells(found: dict[str, Any]) -> list[str]:
    star = "*" if found["ci95_over"] == "users" else ""
    difference = found.get("difference", {"mean": None, "ci95": None, "p_value": None})
    p_value = difference["p_value"]
    shown = "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
    trained = bool(found["seeds"])
    return [
        found["label"],
        number(found["return_mean"]),
        interval(found["return_ci95"]) + star,
        str(len(found["seeds"])) if trained else "-",
        f"{found['env_steps']:,}" if trained else "-",
        f"{found['train_cpu_seconds']:.1f}" if trained else "-",
        number(difference["mean"], sign="+"),
        interval(difference["ci95"], sign="+"),
        shown,
        *([number(found["published"]["return_mean"])] if "published" in found else []),
    ]


def number(value: float | None, sign: str = "") -> str:
    """With as many decimals as its size is worth; empty for none."""
    if value is None:
        return ""
    decimals = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1
    return f"{value:{sign}.{decimals}f}"


def interval(ends: list[float] | None, sign: str = "") -> str:
    """Both ends in brackets; empty for none."""
    return "" if ends is None else f"[{number(ends[0], sign)}, {number(ends[1], sign)}]"


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    """Columns side by side, words to the left and numbers to the right."""
    width = max(map(len, rows))
    rows = [row + [""] * (width - len(row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(width)]
    for row in rows:
        cells = [
            cell.ljust(widths[0]) if column == 0 else cell.rjust(widths[column])
            for column, cell in enumerate(row)
        ]
        yield "  " + "  ".join(cells).rstrip()
