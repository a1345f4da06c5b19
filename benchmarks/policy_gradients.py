"""Returns of PPO and A2C on interest evolution, by the training command."""

from __future__ import annotations

from functools import partial

from benchmarks.core import Benchmark, Numbers, Row, at_least
from benchmarks.training import QUICK, summary, trained

SEEDS = (0, 1, 2, 3, 4)
_GOALS = {"ppo": (255, 275), "a2c": (240, 265)}


def measure(algorithm: str, quick: bool) -> Numbers:
    """Runs of several seeds by the algorithm's own config, played greedily; their mean."""
    seeds, overrides = (SEEDS[:1], QUICK) if quick else (SEEDS, ())
    runs = summary([trained(None, overrides, seed, algorithm=algorithm) for seed in seeds])
    return {**runs, "mean_return": round(sum(runs["returns"]) / len(seeds), 2)}


def in_words(numbers: Numbers) -> str:
    """The mean, the range over seeds, and what it cost."""
    low, high = min(numbers["returns"]), max(numbers["returns"])
    half = max((end[1] - end[0]) / 2 for end in numbers["ci95"])
    return (
        f"{numbers['mean_return']:.1f} (mean of {len(numbers['seeds'])} seeds, {low:.1f} to "
        f"{high:.1f}, each ± {half:.1f}), in {numbers['most_cpu_seconds']:.0f} CPU-seconds or fewer"
    )


def _benchmark(algorithm: str) -> Benchmark:
    must, aim = _GOALS[algorithm]
    what = f"return of `algorithms.train {algorithm}`, 1 M steps, greedy, Google's simulator"
    return Benchmark(
        algorithm,
        f"return of {algorithm} on interest evolution after 1 M steps, 5 seeds",
        partial(measure, algorithm),
        (
            Row(
                what,
                in_words,
                at_least(f"{must}", "mean_return", must),
                at_least(f"{aim}", "mean_return", aim),
            ),
        ),
    )


BENCHMARKS = tuple(_benchmark(algorithm) for algorithm in _GOALS)
