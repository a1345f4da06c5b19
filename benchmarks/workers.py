"""Wall time of the same steps with 2 workers and with none, one torch thread a process.

An update has the same rows either way: two workers have as many users each as
the single process, and play half as many steps of them. (With half the users
each, the cost an operation of torch would eat up most of what two cores bring.)
"""

from __future__ import annotations

import time
from typing import Any

import torch

from algorithms.accounting import cpu_seconds
from algorithms.cluster import quiet, ray_running
from algorithms.config import load_config
from algorithms.environment import on_backend
from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy
from benchmarks.core import Benchmark, Numbers, Row, at_least, in_fresh_process


def one_run(workers: int, steps: int, users: int) -> dict[str, Any]:
    """Train until so many steps, timed after a first iteration, then evaluate.

    Args:
        workers: processes that sample.
        steps: of the whole run, schedules included.
        users: fresh ones to evaluate with.
    """
    quiet()
    torch.set_num_threads(1)
    from algorithms.training import build

    overrides = [f"train.env_steps={steps}"]
    if workers:
        plan = load_config("slateq", None, [], {}).train
        overrides += [f"train.users={plan.users * workers}"]
        overrides += [f"train.fragment={plan.fragment // workers}"]
    config = load_config("slateq", None, overrides, {"workers": workers})
    with ray_running(workers):
        algo = build(config)
        algo.train()
        cpu, began, before = cpu_seconds(), time.monotonic(), algo.env_steps
        while algo.env_steps < steps:
            algo.train()
        wall, done = time.monotonic() - began, algo.env_steps - before
        cpu = cpu_seconds() - cpu
        world, _ = on_backend(config.world, "torch")
        found = evaluate_policy(Policy(algo.agent()), world, users, config.evaluate.seed)
    mean = found.mean_return
    return {
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "env_steps": done,
        "return": round(mean.mean, 2),
        "ci95": [round(mean.low, 2), round(mean.high, 2)],
    }


def measure(quick: bool) -> Numbers:
    """Without, with, without, with; the quicker run of each counts."""
    steps, users, rounds = (100_000, 50, 1) if quick else (1_000_000, 2000, 2)
    runs = {workers: list[dict[str, Any]]() for workers in (0, 2)}
    for _ in range(rounds):
        for workers, done in runs.items():
            done.append(in_fresh_process(one_run, workers, steps, users))
    alone, shared = (min(runs[each], key=lambda run: run["wall_seconds"]) for each in (0, 2))
    return {
        "without": alone,
        "with": shared,
        "ratio": round(alone["wall_seconds"] / shared["wall_seconds"], 2),
    }


def in_words(numbers: Numbers) -> str:
    """The ratio, the times, and whether the learning agrees."""
    alone, shared = numbers["without"], numbers["with"]
    return (
        f"{numbers['ratio']:.2f} times faster ({shared['wall_seconds']:.1f} s against "
        f"{alone['wall_seconds']:.1f} s for {alone['env_steps']:,} steps; returns "
        f"{shared['return']:.1f} and {alone['return']:.1f})"
    )


BENCHMARKS = (
    Benchmark(
        "workers",
        "wall time with 2 workers against 0",
        measure,
        (
            Row(
                "2 workers against 0, wall time for the same steps, one torch thread a process",
                in_words,
                at_least("no slower", "ratio", 1.0),
                at_least("1.3 times faster", "ratio", 1.3),
            ),
        ),
    ),
)
