"""How much faster than Google's own the batched simulator of interest evolution is.

Both step slates drawn beforehand, observations included, in one thread of one
process, in turns, so that what else the machine does hits both alike. Prints
one JSON line; speeds are user-steps per CPU-second (user + system). Google's
simulator remembers nothing of a session for the agent, so the ratio is taken
without a history; the speed with the world's own history is reported beside it.

    python -m benchmarks.simulator
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.core import Benchmark, Numbers, Row, at_least
from envs import make_simulator
from envs.recsim.importing import load

CANDIDATES, SLATE, POOL = 10, 3, 64


def google(seed: int = 0) -> Callable[[int], int]:
    """Google's simulator; the result plays steps and says how many user-steps that were."""
    environment = load("recsim.environments.interest_evolution").create_environment(
        {
            "num_candidates": CANDIDATES,
            "slate_size": SLATE,
            "resample_documents": True,
            "seed": seed,
        }
    )
    generator = np.random.default_rng(seed)
    slates = [generator.permutation(CANDIDATES)[:SLATE] for _ in range(POOL)]
    environment.reset()

    def play(steps: int) -> int:
        for step in range(steps):
            if environment.step(slates[step % POOL])[2]:
                environment.reset()
        return steps

    return play


def batched(num_users: int, remember: bool, seed: int = 0) -> Callable[[int], int]:
    """The batched simulator, with its history or without; each user's steps count."""
    simulator = make_simulator(
        "interest_evolution",
        num_users,
        seed=seed,
        noise="stream",
        num_candidates=CANDIDATES,
        slate_size=SLATE,
        history=None if remember else [],
    )
    generator = torch.Generator().manual_seed(seed)
    shape = (num_users, CANDIDATES)
    slates = [torch.rand(shape, generator=generator).topk(SLATE).indices for _ in range(8)]
    simulator.reset()

    def play(steps: int) -> int:
        for step in range(steps):
            simulator.step(slates[step % len(slates)])
        return steps * num_users

    return play


def speed(play: Callable[[int], int], seconds: float) -> float:
    """User-steps per CPU-second over about `seconds`."""
    steps, count, start = 1, 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        count += play(steps)
        steps = min(2 * steps, 32)
    return count / spent


def main(seconds: float = 0.5, rounds: int = 7) -> dict[str, Any]:
    """Measure, and print one JSON line.

    Args:
        seconds: CPU time of each of the measurements.
        rounds: how often each simulator is measured; the medians count.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    players = {
        "google": google(),
        "batched_256": batched(256, remember=False),
        "batched_4096": batched(4096, remember=False),
        "with_history_4096": batched(4096, remember=True),
    }
    # Sessions start together; by now they end at different times.
    for play in players.values():
        play(80)
    measured: dict[str, list[float]] = {name: [] for name in players}
    for _ in range(rounds):
        for name, play in players.items():
            measured[name].append(speed(play, seconds))
    torch.set_num_threads(threads)
    steps = {name: statistics.median(values) for name, values in measured.items()}
    result = {
        "benchmark": "simulator",
        "world": "interest_evolution",
        "unit": "user-steps per CPU-second",
        **{name: round(value) for name, value in steps.items()},
        "ratio_256": round(steps["batched_256"] / steps["google"], 1),
        "ratio_4096": round(steps["batched_4096"] / steps["google"], 1),
    }
    print(json.dumps(result))
    return result


def measure(quick: bool) -> Numbers:
    """The same for `benchmarks.run`."""
    return main(0.1, 1) if quick else main()


def in_words(numbers: Numbers) -> str:
    """The ratio, and what it is made of."""
    return (
        f"{numbers['ratio_4096']:.0f} times ({numbers['batched_4096']:,} against "
        f"{numbers['google']:,} user-steps per CPU-second; with 256 users "
        f"{numbers['ratio_256']:.0f} times; with the agent's history "
        f"{numbers['with_history_4096']:,} steps)"
    )


BENCHMARKS = (
    Benchmark(
        "simulator",
        "batched simulator against Google's",
        measure,
        (
            Row(
                "batched simulator against Google's, same world, one run, 4,096 users, "
                "one thread each",
                in_words,
                at_least("200 times", "ratio_4096", 200),
                at_least("400 times", "ratio_4096", 400),
            ),
        ),
    ),
)


if __name__ == "__main__":
    main()
