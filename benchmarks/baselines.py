"""What policies without training earn on Google's interest evolution, to compare with."""

from __future__ import annotations

from functools import partial
from typing import Any

from algorithms.config import load_config
from algorithms.environment import on_backend
from algorithms.evaluation import evaluate_policy
from algorithms.policy import baseline
from benchmarks.core import Benchmark, Numbers, Row
from envs.registry import make_simulator

NAMES = ("random", "click_maximiser")


def played(name: str, backend: str, users: int, **changes: Any) -> Numbers:
    """Return of a policy without training in the default world, or with other arguments."""
    config = load_config("slateq")
    world, _ = on_backend({**config.world, **changes, "history": []}, backend)
    simulator = make_simulator(num_users=1, **world)
    policy = baseline(name, simulator.spec, simulator.history, simulator.slate_size)
    summary = evaluate_policy(policy, world, users, config.evaluate.seed).summary()
    found = summary["return"]
    return {
        "return": round(found.mean, 2),
        "ci95": [round(found.low, 2), round(found.high, 2)],
        "quality": round(summary["quality"].mean, 3),
        "users": users,
    }


def measure(quick: bool) -> Numbers:
    """On the users of the final evaluation of `make train`."""
    return {name: played(name, "google", 50 if quick else 2000) for name in NAMES}


def _in_words(name: str, numbers: Numbers) -> str:
    low, high = numbers[name]["ci95"]
    return f"{numbers[name]['return']:.1f} ± {(high - low) / 2:.1f}"


BENCHMARKS = (
    Benchmark(
        "baselines",
        "return of random slates and of the most attractive ones",
        measure,
        tuple(
            Row(f"for comparison: return of `{name}`, same users", partial(_in_words, name))
            for name in NAMES
        ),
    ),
)
