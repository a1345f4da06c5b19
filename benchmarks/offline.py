"""Learning from logs alone: returns on the simulators that the logs come from."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.core import ROOT, Benchmark, Goal, Numbers, Row, at_least
from benchmarks.values import SATISFACTION

SEEDS = (0, 1, 2)
RANDOM_USERS = 14_100
"""Random sessions of interest evolution with 1 M impressions in all."""

_SATISFACTION_USERS = 10_000
_QUICK = ("train.updates=40", "train.epochs=null", "evaluate.users=50", "evaluate.backend=torch")
_QUICK_USERS = 60
_SECONDS = 60


def satisfaction(quick: bool) -> Numbers:
    """SlateQ and DQN from 10,000 sessions of 10 uniformly random impressions."""
    users = _QUICK_USERS if quick else _SATISFACTION_USERS
    with tempfile.TemporaryDirectory() as space:
        log = record_random(Path(space), SATISFACTION, users)
        found = {
            learner: learned(learner, log, f"offline/{learner}_{SATISFACTION}", quick)
            for learner in ("slateq", "dqn")
        }
    return {**found, "impressions": users * 10}


def random_evolution(quick: bool) -> Numbers:
    """SlateQ from 1 M uniformly random impressions of interest evolution."""
    with tempfile.TemporaryDirectory() as space:
        users = _QUICK_USERS if quick else RANDOM_USERS
        log = record_random(Path(space), "interest_evolution", users)
        return learned("slateq", log, None, quick)


def mixed_evolution(quick: bool) -> Numbers:
    """Behaviour cloning and MARWIL, half random slates and half those of a better policy."""
    from benchmarks.offline_logs import ROWS, make_mixed

    with tempfile.TemporaryDirectory() as space:
        log = Path(space) / "log"
        about = make_mixed(log, ROWS // 50 if quick else ROWS, "parquet")
        about.pop("log")
        found = {learner: learned(learner, log, None, quick) for learner in ("bc", "marwil")}
    return {**found, **about, "best_worst": max(each["worst_return"] for each in found.values())}


def record_random(space: Path, world: str, users: int) -> Path:
    """A log of uniformly random slates."""
    log = space / "log"
    command = [sys.executable, "-m", "offline.record", "random", "--users", str(users)]
    command += ["--set", f"env.name={world}", "--format", "parquet", "--out", str(log)]
    _run(command)
    return log


def learned(learner: str, log: Path, config: str | None, quick: bool) -> dict[str, Any]:
    """What `python -m offline.train` comes to with several seeds, and the worst of them."""
    seeds = SEEDS[:1] if quick else SEEDS
    runs = [trained(learner, log, config, seed, _QUICK if quick else ()) for seed in seeds]
    return {
        "seeds": list(seeds),
        "returns": [round(run["return_mean"], 2) for run in runs],
        "ci95": [[round(end, 2) for end in run["return_ci95"]] for run in runs],
        "train_cpu_seconds": [round(run["train_cpu_seconds"], 1) for run in runs],
        "read_cpu_seconds": [round(run["read_cpu_seconds"], 1) for run in runs],
        "worst_return": round(min(run["return_mean"] for run in runs), 2),
        "most_cpu_seconds": round(max(run["train_cpu_seconds"] for run in runs), 1),
        "logged_return": round(runs[0]["references"]["logged"], 2),
        "rows": runs[0]["rows"],
        "updates": runs[0]["updates"],
        "eval_users": runs[0]["eval_users"],
        "backend": runs[0]["backend"],
    }


def trained(
    learner: str, log: Path, config: str | None, seed: int, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """The `result.json` of one run.

    Args:
        learner: which.
        log: folder.
        config: a file in `configs/`, or nothing for the learner's own.
        seed: of the run.
        overrides: `key=value` as for `--set`.

    Raises:
        RuntimeError: the command failed; the message is its last line.
    """
    with tempfile.TemporaryDirectory() as space:
        out = Path(space) / "run"
        command = [sys.executable, "-m", "offline.train", learner, "--data", str(log)]
        command += ["--out", str(out), "--seed", str(seed)]
        command += ["--config", f"configs/{config}.yaml"] if config else []
        _run([*command, *(part for override in overrides for part in ("--set", override))])
        found: dict[str, Any] = json.loads((out / "result.json").read_text())
        return found


def _run(command: Sequence[str]) -> None:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"{command[2]} ended with status {ended.returncode}: {lines[-1]}")


def in_words(numbers: Numbers) -> str:
    """The worst seed, the range, what it cost, and what the log's sessions came to."""
    low, high = min(numbers["returns"]), max(numbers["returns"])
    return (
        f"{numbers['worst_return']:.1f} (worst of {len(numbers['seeds'])} seeds, {low:.1f} to "
        f"{high:.1f}; the log's sessions {numbers['logged_return']:.1f}), in "
        f"{numbers['most_cpu_seconds']:.0f} CPU-seconds"
    )


def _of(learner: str, goal: Goal) -> Goal:
    return Goal(goal.text, lambda numbers: goal.met(numbers[learner]))


def _within(least: float) -> Goal:
    def met(numbers: Numbers) -> bool:
        return bool(numbers["worst_return"] >= least and numbers["most_cpu_seconds"] <= _SECONDS)

    return Goal(f"{least:g}, in {_SECONDS} CPU-seconds", met)


def _satisfaction_row(learner: str, title: str) -> Row:
    return Row(
        f"offline {title} on modified long-term satisfaction from 100,000 uniformly random "
        "impressions, 3 seeds (the tutorial's offline DQN 105)",
        lambda numbers: in_words(numbers[learner]),
        _of(learner, _within(215)),
        _of(learner, _within(221)),
    )


def _mixed_in_words(numbers: Numbers) -> str:
    parts = (f"{name.upper()} {in_words(numbers[name])}" for name in ("bc", "marwil"))
    return "; ".join(parts)


BENCHMARKS = (
    Benchmark(
        "offline_lts",
        "offline SlateQ and DQN from random impressions of modified long-term satisfaction",
        satisfaction,
        (_satisfaction_row("slateq", "SlateQ"), _satisfaction_row("dqn", "DQN")),
    ),
    Benchmark(
        "offline_random",
        "offline SlateQ from 1 M random impressions of interest evolution, 3 seeds",
        random_evolution,
        (
            Row(
                "offline SlateQ on interest evolution from 1 M uniformly random impressions, "
                "Google's simulator",
                in_words,
                at_least("245", "worst_return", 245),
                at_least("270", "worst_return", 270),
            ),
        ),
    ),
    Benchmark(
        "offline_mixed",
        "BC and MARWIL from a log half random, half of a policy worth 235 to 240, 3 seeds",
        mixed_evolution,
        (
            Row(
                "BC or MARWIL on interest evolution from 128,000 impressions, half random and "
                "half of a policy worth 235 to 240, greedy, Google's simulator",
                _mixed_in_words,
                at_least("255", "best_worst", 255),
                at_least("265", "best_worst", 265),
            ),
        ),
    ),
)
