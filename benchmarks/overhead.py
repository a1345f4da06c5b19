"""Share of steady-state CPU that goes to anything but simulating, inference and gradient steps."""

from __future__ import annotations

from typing import Any

import torch

from algorithms.accounting import cpu_seconds
from algorithms.cluster import quiet, ray_running
from algorithms.config import load_config
from benchmarks.core import Benchmark, Numbers, Row, at_most


def useful(algo: Any) -> float:
    """CPU-seconds of the three so far."""
    return float(sum(algo.cpu.values()))


def measure(quick: bool) -> Numbers:
    """Over iterations of the default run, after a warm-up, all processes counted."""
    quiet()
    torch.set_num_threads(1)
    from algorithms.training import build

    iterations = 2 if quick else 40
    with ray_running(0):
        algo = build(load_config("slateq"))
        for _ in range(2 if quick else 10):
            algo.train()
        began, before, steps = cpu_seconds(), dict(algo.cpu), algo.env_steps
        for _ in range(iterations):
            algo.train()
        total = cpu_seconds() - began
        spent = {name: seconds - before[name] for name, seconds in algo.cpu.items()}
        steps = algo.env_steps - steps
    return {
        "share": round(1 - sum(spent.values()) / total, 4),
        "cpu_seconds": round(total, 2),
        **{name: round(seconds / total, 4) for name, seconds in spent.items()},
        "env_steps": steps,
        "steps_per_cpu_second": round(steps / total),
    }


def in_words(numbers: Numbers) -> str:
    """The share and where the rest goes."""
    parts = ", ".join(
        f"{name} {100 * numbers[key]:.0f} %"
        for name, key in (
            ("simulating", "simulate"),
            ("inference", "inference"),
            ("gradient steps", "gradients"),
        )
    )
    return (
        f"{100 * numbers['share']:.1f} % ({parts}; {numbers['steps_per_cpu_second']:,} user-steps "
        "per CPU-second)"
    )


BENCHMARKS = (
    Benchmark(
        "overhead",
        "share of CPU outside simulating, inference and gradient steps",
        measure,
        (
            Row(
                "share of steady-state CPU outside simulating, inference and gradient steps",
                in_words,
                at_most("10 %", "share", 0.10),
                at_most("3 %", "share", 0.03),
            ),
        ),
    ),
)
