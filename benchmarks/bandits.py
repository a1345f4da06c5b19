"""LinUCB: what it reaches on interest evolution, and its speed against Vowpal Wabbit's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from algorithms.bandits import LinUCB
from algorithms.bandits.agent import Shown
from algorithms.bandits.settings import LinUCBSettings
from benchmarks.core import Benchmark, Goal, Numbers, Row, at_least
from benchmarks.training import QUICK, summary, trained
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec, number, vector

SEEDS = (0, 1, 2, 3, 4)
FEATURES, CANDIDATES, BATCH = 20, 10, 1024


def learned(quick: bool) -> Numbers:
    """What `configs/linucb.yaml` trains, over seeds."""
    seeds, overrides = (SEEDS[:1], QUICK) if quick else (SEEDS, ())
    runs = summary([trained(None, overrides, seed, algorithm="linucb") for seed in seeds])
    return {
        **runs,
        "mean_return": round(statistics.mean(runs["returns"]), 2),
        "mean_cpu_seconds": round(statistics.mean(runs["train_cpu_seconds"]), 2),
    }


def return_in_words(numbers: Numbers) -> str:
    """The mean, the range, and what it cost."""
    low, high = min(numbers["returns"]), max(numbers["returns"])
    return (
        f"{numbers['mean_return']:.1f} ({low:.1f} to {high:.1f}, mean of "
        f"{len(numbers['seeds'])} seeds), {numbers['mean_cpu_seconds']:.1f} CPU-seconds for "
        f"{numbers['env_steps']:,} steps"
    )


def _within(least: float, seconds: float) -> Goal:
    def met(numbers: Numbers) -> bool:
        return bool(numbers["mean_return"] >= least and numbers["mean_cpu_seconds"] <= seconds)

    return Goal(f"{least:g}, {seconds:g} CPU-seconds", met)


class Logged:
    """Impressions of ten candidates, one of them shown at random, and its reward."""

    def __init__(self, count: int, seed: int = 0) -> None:
        """Draw `count` impressions; rewards are linear in the features, with noise."""
        generator = np.random.default_rng(seed)
        self.features = generator.standard_normal((count, CANDIDATES, FEATURES)).astype(np.float32)
        self.shown = generator.integers(CANDIDATES, size=count)
        item = self.features[np.arange(count), self.shown]
        theta = generator.standard_normal(FEATURES) / FEATURES**0.5
        self.reward = (item @ theta + 0.1 * generator.standard_normal(count)).astype(np.float32)

    def lines(self) -> list[list[str]]:
        """Vowpal Wabbit's text, a list of lines an impression; costs are negative rewards."""
        found = []
        for features, shown, reward in zip(self.features, self.shown, self.reward, strict=True):
            texts = [
                "|f " + " ".join(f"{i}:{value:.5f}" for i, value in enumerate(row))
                for row in features
            ]
            texts[shown] = f"0:{-reward:.5f}:{1 / CANDIDATES} {texts[shown]}"
            found.append(texts)
        return found


def linucb(log: Logged) -> Callable[[], None]:
    """Ranks every batch of impressions, then learns from it."""
    spec = FeatureSpec((number("u"),), (vector("f", FEATURES),), (number("click", 0, 1),))
    settings = LinUCBSettings(context=("item",)).model_dump()
    agent = LinUCB(spec, History(spec, ()), 1, settings)
    features, shown = torch.from_numpy(log.features), torch.from_numpy(log.shown)
    reward = torch.from_numpy(log.reward)

    def play() -> None:
        for rows in torch.arange(len(features)).split(BATCH):
            count, offered = len(rows), features[rows]
            user, none = torch.zeros(count, 1), torch.zeros(count, 0)
            mask = torch.ones(count, CANDIDATES, dtype=torch.bool)
            agent.decide(Observation(user, offered, mask, none, none, none), 1)
            item = offered[torch.arange(count), shown[rows]]
            agent.absorb(agent.summarise(Shown(user, item, none, reward[rows])))

    return play


def vowpal_wabbit(log: Logged, given: str) -> Callable[[], None]:
    """The same with `--cb_explore_adf`, which ranks an impression as it learns from it.

    Args:
        log: what to learn from.
        given: what there is when the clock starts: `arrays` as for LinUCB, its
            own `text`, or examples that it has `parsed`.
    """
    import vowpalwabbit

    workspace = vowpalwabbit.Workspace("--cb_explore_adf --epsilon 0.05 --quiet")
    examples: list[Any] = [] if given == "arrays" else log.lines()
    if given == "parsed":
        examples = [workspace.parse(lines) for lines in examples]

    def play() -> None:
        for example in examples or log.lines():
            workspace.learn(example)

    return play


def measure(quick: bool) -> Numbers:
    """Each learns from as many impressions as suit it, in turns; the medians count."""
    torch.set_num_threads(1)
    rounds, few, batches = (1, 200, 10) if quick else (5, 2_000, 100)
    log, large = Logged(few), Logged(batches * BATCH)
    found: dict[str, list[float]] = {"linucb": [], "arrays": [], "text": [], "parsed": []}
    speed(linucb(large), batches * BATCH)
    for _ in range(rounds):
        found["linucb"].append(speed(linucb(large), batches * BATCH))
        for given in ("arrays", "text", "parsed"):
            found[given].append(speed(vowpal_wabbit(log, given), few))
    medians = {name: statistics.median(values) for name, values in found.items()}
    ratios = {
        f"times_{given}": round(medians["linucb"] / medians[given], 1)
        for given in ("arrays", "text", "parsed")
    }
    return {**{name: round(value) for name, value in medians.items()}, **ratios}


def speed(play: Callable[[], Any], examples: int) -> float:
    """Examples per CPU-second of this thread."""
    began = time.thread_time()
    play()
    return examples / (time.thread_time() - began)


def speed_in_words(numbers: Numbers) -> str:
    """The ratio, what it is made of, and what it is without the cost of text."""
    return (
        f"{numbers['times_arrays']:.0f} times ({numbers['linucb']:,} against "
        f"{numbers['arrays']:,}, both given arrays; {numbers['times_text']:.0f} times its "
        f"{numbers['text']:,} given its text, {numbers['times_parsed']:.0f} times its "
        f"{numbers['parsed']:,} given examples parsed before)"
    )


BENCHMARKS = (
    Benchmark(
        "linucb",
        "return of LinUCB on Google's interest evolution, 5 seeds",
        learned,
        (
            Row(
                "return of `train linucb` on Google's interest evolution, 2,000 users, 50,000 "
                "steps (RLlib's former LinUCB: 165.0, 144 CPU-seconds)",
                return_in_words,
                _within(166, 5),
                _within(167, 1),
            ),
        ),
    ),
    Benchmark(
        "bandit_speed",
        "examples a second of LinUCB against Vowpal Wabbit",
        measure,
        (
            Row(
                "impressions of 10 candidates with 20 features ranked and learned from per "
                "CPU-second: LinUCB in batches of 1,024 against Vowpal Wabbit from Python",
                speed_in_words,
                at_least("20 times", "times_arrays", 20),
                at_least("100 times", "times_arrays", 100),
            ),
        ),
    ),
)
