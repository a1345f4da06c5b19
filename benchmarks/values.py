"""Value learning where the optimum is known: satisfaction and boredom, mean of 5 seeds."""

from __future__ import annotations

import statistics
from functools import partial

from benchmarks.core import Benchmark, Goal, Numbers, Row, at_least
from benchmarks.training import QUICK, summary, trained
from envs.boredom import Boredom
from envs.boredom.optimal import optimal

SEEDS = (0, 1, 2, 3, 4)
SATISFACTION = "modified_long_term_satisfaction"
BOREDOM = {"catalogue": "genres", "num_genres": 3, "slate_size": 1, "taste_stddev": 0.0}
"""The arguments in `configs/dqn_boredom.yaml`."""
_BOREDOM_USERS = 20_000


def satisfaction(algorithm: str, quick: bool) -> Numbers:
    """Returns of the algorithm's config for the satisfaction world."""
    return _means(algorithm, f"{algorithm}_{SATISFACTION}", (), quick)


def boredom(quick: bool) -> Numbers:
    """Returns of `configs/dqn_boredom.yaml` in percent of the optimum by dynamic programming."""
    overrides = (f"evaluate.users={_BOREDOM_USERS}", "evaluate.backend=torch")
    found = _means("dqn", "dqn_boredom", overrides, quick)
    optimum = optimal(Boredom(**BOREDOM)).mean_return
    percent = round(100 * found["mean_return"] / optimum, 2)
    return {**found, "optimum": round(optimum, 3), "percent": percent}


def _means(algorithm: str, config: str, overrides: tuple[str, ...], quick: bool) -> Numbers:
    seeds, given = (SEEDS[:1], (*overrides, *QUICK)) if quick else (SEEDS, overrides)
    found = summary([trained(config, given, seed, algorithm=algorithm) for seed in seeds])
    return {
        **found,
        "mean_return": round(statistics.fmean(found["returns"]), 2),
        "mean_cpu_seconds": round(statistics.fmean(found["train_cpu_seconds"]), 1),
    }


def _within(least: float, seconds: float) -> Goal:
    def met(numbers: Numbers) -> bool:
        return bool(numbers["mean_return"] >= least and numbers["mean_cpu_seconds"] <= seconds)

    return Goal(f"{least:g}, in {seconds:g} CPU-seconds", met)


def in_words(numbers: Numbers) -> str:
    """The mean, the range, and what it cost."""
    low, high = min(numbers["returns"]), max(numbers["returns"])
    return (
        f"{numbers['mean_return']:.1f} (mean of {len(numbers['seeds'])} seeds, {low:.1f} to "
        f"{high:.1f}), in {numbers['mean_cpu_seconds']:.0f} CPU-seconds"
    )


def percent_in_words(numbers: Numbers) -> str:
    """The percentage, and what it is made of."""
    return (
        f"{numbers['percent']:.1f} % ({numbers['mean_return']:.2f} of {numbers['optimum']:.2f} "
        f"clicks; mean of {len(numbers['seeds'])} seeds), in {numbers['mean_cpu_seconds']:.0f} "
        "CPU-seconds"
    )


def _satisfaction(algorithm: str, title: str) -> Benchmark:
    return Benchmark(
        f"lts_{algorithm}",
        f"return of {title} on modified long-term satisfaction, 5 seeds",
        partial(satisfaction, algorithm),
        (
            Row(
                f"return of {title} on modified long-term satisfaction (optimum with the hidden "
                "state known 221 to 226)",
                in_words,
                _within(214, 60),
                _within(221, 20),
            ),
        ),
    )


BENCHMARKS = (
    _satisfaction("dqn", "DQN"),
    _satisfaction("slateq", "SlateQ"),
    Benchmark(
        "boredom",
        "DQN on small boredom against the optimum by dynamic programming, 5 seeds",
        boredom,
        (
            Row(
                "DQN on boredom, small instance, against the optimum by dynamic programming",
                percent_in_words,
                at_least("95 %", "percent", 95),
                at_least("99 %", "percent", 99),
            ),
        ),
    ),
)
