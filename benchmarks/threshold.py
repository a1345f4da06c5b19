"""CPU-seconds of training until the greedy policy is better than Google's agent."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from algorithms.accounting import Clock
from algorithms.cluster import quiet, ray_running
from algorithms.config import RunConfig, load_config
from algorithms.environment import World, on_backend
from algorithms.evaluation import Estimate, evaluate_policy
from algorithms.policy import Policy
from benchmarks.core import Benchmark, Numbers, Row, at_most, in_fresh_process

THRESHOLD, USERS = 174.0, 1000
SEEDS = (0, 1, 2)
LIMIT_STEPS = 400_000


def one_seed(seed: int, threshold: float, users: int) -> dict[str, Any]:
    """Train as `make train` does, evaluating after every fragment, until it is passed.

    Evaluations are not charged. The batched world is asked first, because it
    is quick; what counts is that Google's own code agrees.

    Raises:
        RuntimeError: not passed after `LIMIT_STEPS`.
    """
    quiet()
    torch.set_num_threads(1)
    from algorithms.training import build

    clock = Clock()
    config = config_by_fragments(seed)
    with ray_running(0):
        algo = build(config)
        clock.charge("startup", exact=True)
        while algo.env_steps < LIMIT_STEPS:
            algo.train()
            clock.charge("train", exact=True)
            policy = Policy(algo.agent())
            found = _evaluated(policy, config.world, "torch", users)
            if found.low > threshold:
                google = _evaluated(policy, config.world, "google", users)
                if google.low > threshold:
                    return {
                        "cpu_seconds": round(clock.spent["train"], 2),
                        "startup_cpu_seconds": round(clock.spent["startup"], 2),
                        "env_steps": algo.env_steps,
                        "return": round(google.mean, 2),
                        "low": round(google.low, 2),
                    }
            clock.charge("eval", exact=True)
    raise RuntimeError(f"{threshold} not passed after {LIMIT_STEPS:,} steps with seed {seed}")


def config_by_fragments(seed: int) -> RunConfig:
    """What `make train` runs, but so that every iteration is one fragment long."""
    config = load_config("slateq", changes={"seed": seed})
    steps = config.train.users * config.train.fragment
    # With this budget RLlib gets one fragment an iteration; the schedules keep theirs.
    schedule = f"slateq.schedule_steps={config.train.env_steps}"
    return load_config("slateq", None, [schedule, f"train.env_steps={steps}"], {"seed": seed})


def _evaluated(policy: Policy, world: World, backend: str, users: int) -> Estimate:
    played, _ = on_backend(world, backend)
    return evaluate_policy(policy, played, users, 2_000_003).mean_return


def measure(quick: bool) -> Numbers:
    """Every seed in a process of its own."""
    arguments = (155.0, 50) if quick else (THRESHOLD, USERS)
    runs = [in_fresh_process(one_seed, seed, *arguments) for seed in SEEDS[: 1 if quick else 3]]
    seconds = [run["cpu_seconds"] for run in runs]
    return {"seeds": runs, "worst": max(seconds), "median": statistics.median(seconds)}


def in_words(numbers: Numbers) -> str:
    """The worst seed, the range, and the steps."""
    seconds = [run["cpu_seconds"] for run in numbers["seeds"]]
    steps = max(run["env_steps"] for run in numbers["seeds"])
    return (
        f"{numbers['worst']:.1f} (worst of {len(seconds)} seeds, from {min(seconds):.1f}; "
        f"at most {steps:,} steps)"
    )


BENCHMARKS = (
    Benchmark(
        "time_to_174",
        "CPU-seconds of training until 1,000 users return more than 174, 3 seeds",
        measure,
        (
            Row(
                "CPU-seconds of `make train` until a greedy evaluation of 1,000 users "
                "exceeds 174 with the lower end of its interval",
                in_words,
                at_most("12", "worst", 12),
                at_most("3", "worst", 3),
            ),
        ),
    ),
)
