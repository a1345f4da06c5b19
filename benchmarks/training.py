"""Returns of whole runs of the training command, on Google's own simulator."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.core import ROOT, Benchmark, Goal, Numbers, Row, at_least

SEEDS = (0, 1, 2)
QUICK = ("train.env_steps=50_000", "train.evaluate_users=20", "evaluate.users=50")


def trained(
    config: str | None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    look: Callable[[Path], Any] = lambda folder: None,
    algorithm: str = "slateq",
) -> dict[str, Any]:
    """The `result.json` of one run, and as `looked` what `look` makes of its folder.

    Args:
        config: a file in `configs/`, or nothing for what `make train` does.
        overrides: `key=value` as for `--set`.
        seed: of the run.
        look: called before the folder goes.
        algorithm: what to train.

    Raises:
        RuntimeError: the command failed; the message is its last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "algorithms.train", algorithm, "--seed", str(seed)]
        command += ["--out", str(out)]
        command += ["--config", f"configs/{config}.yaml"] if config else []
        command += [part for override in overrides for part in ("--set", override)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if ended.returncode:
            lines = ended.stderr.strip().splitlines() or ["no message"]
            raise RuntimeError(f"training ended with status {ended.returncode}: {lines[-1]}")
        found: dict[str, Any] = json.loads((out / "result.json").read_text())
        return {**found, "looked": look(out)}


def returns(config: str | None, quick: bool) -> Numbers:
    """Runs of several seeds, and the worst of them."""
    seeds, overrides = (SEEDS[:1], QUICK) if quick else (SEEDS, ())
    runs = [trained(config, overrides, seed) for seed in seeds]
    return summary(runs)


def summary(runs: Sequence[Numbers]) -> dict[str, Any]:
    """Numbers of runs that differ in the seed only."""
    return {
        "seeds": [run["seed"] for run in runs],
        "returns": [round(run["return_mean"], 2) for run in runs],
        "ci95": [[round(end, 2) for end in run["return_ci95"]] for run in runs],
        "train_cpu_seconds": [round(run["train_cpu_seconds"], 1) for run in runs],
        "env_steps": runs[0]["env_steps"],
        "eval_users": runs[0]["eval_users"],
        "backend": runs[0]["backend"],
        "worst_return": round(min(run["return_mean"] for run in runs), 2),
        "most_cpu_seconds": round(max(run["train_cpu_seconds"] for run in runs), 1),
    }


def in_words(numbers: Numbers) -> str:
    """The worst seed, the range, and what it cost."""
    low, high = min(numbers["returns"]), max(numbers["returns"])
    half = max((end[1] - end[0]) / 2 for end in numbers["ci95"])
    return (
        f"{numbers['worst_return']:.1f} (worst of {len(numbers['seeds'])} seeds, "
        f"{low:.1f} to {high:.1f}, each ± {half:.1f}), in {numbers['most_cpu_seconds']:.0f} "
        "CPU-seconds"
    )


def _in_60(least: float) -> Goal:
    def met(numbers: Numbers) -> bool:
        return bool(numbers["worst_return"] >= least and numbers["most_cpu_seconds"] <= 60)

    return Goal(f"{least:g}, in 60 CPU-seconds", met)


_WORLD = "Google's interest evolution, 2,000 users"

BENCHMARKS = (
    Benchmark(
        "slateq",
        "return of `make train` on Google's simulator, 3 seeds",
        partial(returns, None),
        (Row(f"return of `make train` on {_WORLD}", in_words, _in_60(275), _in_60(280)),),
    ),
    Benchmark(
        "slateq_5m",
        "the same after 5 M steps",
        partial(returns, "slateq_5m"),
        (
            Row(
                "the same with `configs/slateq_5m.yaml`",
                in_words,
                at_least("280", "worst_return", 280),
                at_least("282.5", "worst_return", 282.5),
            ),
        ),
    ),
    Benchmark(
        "no_quality",
        "the same without `quality` in the responses",
        partial(returns, "slateq_no_quality"),
        (
            Row(
                "the same without looking at `quality`, default budget",
                in_words,
                at_least("268", "worst_return", 268),
                at_least("275", "worst_return", 275),
            ),
        ),
    ),
)
