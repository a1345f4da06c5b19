"""Regret of bandits on the standard problems, in % of what uniformly random arms regret.

One user, an update after every round, and another problem and other luck for
each seed. The expected regret of a uniformly random arm is taken in the same
contexts. Settings are those of the files in `configs/`, chosen on seeds from
100 on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from algorithms.config import load_config
from algorithms.core.agent import Agent, Exploration
from algorithms.core.fragment import Fragment, Step
from algorithms.registry import agent_class
from benchmarks.core import ROOT, Benchmark, Goal, Numbers, Row
from envs.bandits import Bandit
from envs.registry import make_simulator
from envs.simulator import TorchSimulator

ROUNDS, SEEDS = 10_000, tuple(range(10))
QUICK_ROUNDS, QUICK_SEEDS = 50, (0, 1)


@dataclass(frozen=True)
class Contender:
    """A bandit on a problem.

    Attributes:
        problem: what the results call the world.
        label: what the table calls the bandit.
        algorithm: its name.
        config: a file in `configs/`, which names the world too.
        overrides: `key=value` over that file.
        must: most regret in %, where there is a goal.
        aim: the same, to hope for.
    """

    problem: str
    label: str
    algorithm: str
    config: str
    overrides: tuple[str, ...] = field(default=())
    must: float | None = None
    aim: float | None = None

    @property
    def key(self) -> str:
        """In the results."""
        return f"{self.problem}/{self.label}"


def _others(problem: str, config: str, *world: str) -> tuple[Contender, ...]:
    greedy = ("linucb.alpha=0", *world)
    return (
        Contender(problem, "greedy", "linucb", config, greedy),
        Contender(
            problem, "epsilon-greedy, 0.1", "linucb", config, ("linucb.epsilon=0.1", *greedy)
        ),
    )


_RIM = "env.delta=0.95"

CONTENDERS = (
    Contender("linear", "LinUCB", "linucb", "linucb_linear_bandit", must=1.5, aim=1.0),
    Contender("linear", "LinTS", "lints", "lints_linear_bandit", must=3.0, aim=1.5),
    *_others("linear", "linucb_linear_bandit"),
    Contender(
        "digits", "NeuralLinear", "neural_linear", "neural_linear_digits_bandit", (), 6.0, 4.5
    ),
    Contender("digits", "LinUCB", "linucb", "linucb_digits_bandit"),
    *_others("digits", "linucb_digits_bandit"),
    Contender(
        "wheel 0.5", "NeuralLinear", "neural_linear", "neural_linear_wheel_bandit", (), 3.0, 2.0
    ),
    Contender("wheel 0.5", "LinUCB", "linucb", "linucb_wheel_bandit"),
    *_others("wheel 0.5", "linucb_wheel_bandit"),
    Contender("wheel 0.95", "NeuralLinear", "neural_linear", "neural_linear_wheel_bandit", (_RIM,)),
    Contender("wheel 0.95", "LinUCB", "linucb", "linucb_wheel_bandit", (_RIM,)),
    *_others("wheel 0.95", "linucb_wheel_bandit", _RIM),
)


def regrets(contender: Contender, seed: int, rounds: int) -> tuple[float, float]:
    """Regret over all rounds of a bandit, and the expected one of uniformly random arms."""
    config = load_config(
        contender.algorithm, ROOT / "configs" / f"{contender.config}.yaml", contender.overrides
    )
    world: dict[str, Any] = {**config.world, "session_steps": rounds}
    if config.env.name == "linear_bandit":
        world["problem_seed"] = seed
    simulator = make_simulator(num_users=1, seed=seed, noise="stream", **world)
    assert isinstance(simulator, TorchSimulator)
    torch.manual_seed(seed)
    agent = agent_class(contender.algorithm)(
        simulator.spec, simulator.history, simulator.slate_size, config.settings
    )
    epsilon, temperature = config.settings["epsilon"], config.settings["temperature"]
    return played(simulator, agent, Exploration(epsilon, temperature), seed, rounds)


@torch.no_grad()
def played(
    simulator: TorchSimulator, agent: Agent, exploration: Exploration, seed: int, rounds: int
) -> tuple[float, float]:
    """The same, of an agent that learns after every round."""
    world, generator = simulator.world, torch.Generator().manual_seed(seed)
    assert isinstance(world, Bandit)
    observation = simulator.reset()
    regret = uniform = 0.0
    for _ in range(rounds):
        expected = world.expected_rewards(simulator.state)
        decision = agent.decide(observation, 1)
        distribution = agent.distribution_of(decision, observation, exploration, 1)
        slates, log_probs = distribution.sample(generator)
        regret += float(expected.max() - expected[0, slates[0, 0]])
        uniform += float(expected.max() - expected.mean())
        transition = simulator.step(slates)
        step = Step(observation, slates, log_probs, decision.extras, transition)
        observation = transition.observation
        agent.absorb(agent.learn_columns(Fragment([step], observation, {}, [])))
    return regret, uniform


def percent(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Regret in % of uniform's, a pair a seed: each, their mean, and its standard error."""
    each = [100 * regret / uniform for regret, uniform in pairs]
    return {
        "percent": round(float(np.mean(each)), 3),
        "standard_error": round(float(np.std(each, ddof=1) / len(each) ** 0.5), 3),
        "each": [round(value, 2) for value in each],
        "uniform": round(float(np.mean([uniform for _, uniform in pairs])), 1),
    }


def measure(quick: bool) -> Numbers:
    """Every contender on every seed, in as many processes as there are cores."""
    rounds, seeds = (QUICK_ROUNDS, QUICK_SEEDS) if quick else (ROUNDS, SEEDS)
    tasks = [(contender, seed, rounds) for contender in CONTENDERS for seed in seeds]
    with ProcessPoolExecutor(
        os.cpu_count(), get_context("spawn"), torch.set_num_threads, (1,)
    ) as pool:
        pairs = list(pool.map(regrets, *zip(*tasks, strict=True)))
    found = {
        contender.key: percent(pairs[place * len(seeds) : (place + 1) * len(seeds)])
        for place, contender in enumerate(CONTENDERS)
    }
    return {"rounds": rounds, "seeds": list(seeds), "regret": found}


def in_words(key: str, numbers: Numbers) -> str:
    """Mean and standard error."""
    found: Mapping[str, Any] = numbers["regret"][key]
    return f"{found['percent']:.2f} % ± {found['standard_error']:.2f}"


def _at_most(key: str, most: float) -> Goal:
    def met(numbers: Numbers) -> bool:
        return bool(numbers["regret"][key]["percent"] <= most)

    return Goal(f"{most:g} %", met)


def section(numbers: Numbers) -> str:
    """All contenders, problem by problem."""
    lines = [
        f"Regret in % of uniformly random arms' after {numbers['rounds']:,} rounds, mean of "
        f"{len(numbers['seeds'])} seeds and its standard error; "
        "the greedy ones use LinUCB's model without its bonus:",
        "",
        "| problem | bandit | regret |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {each.problem} | {each.label} | {in_words(each.key, numbers)} |" for each in CONTENDERS
    ]
    return "\n".join(lines)


BENCHMARKS = (
    Benchmark(
        "regret",
        "regret of bandits on the linear, digits and wheel problems, 10 seeds",
        measure,
        tuple(
            Row(
                f"regret of {each.label}, {each.problem}, in % of uniform's after 10,000 rounds",
                partial(in_words, each.key),
                _at_most(each.key, each.must),
                _at_most(each.key, each.aim),
            )
            for each in CONTENDERS
            if each.must is not None and each.aim is not None
        ),
        section,
    ),
)
