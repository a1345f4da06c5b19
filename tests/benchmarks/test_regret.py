"""The regret benchmark counts what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms.config import load_config
from algorithms.core.agent import Agent, Decision, Exploration
from algorithms.core.fragment import Fragment
from benchmarks.core import ROOT
from benchmarks.regret import CONTENDERS, Contender, in_words, percent, played, regrets, section
from envs import make_simulator
from envs.simulator import Observation, TorchSimulator


class Always(Agent):
    """Shows one arm and keeps the rewards that it is told."""

    name = "always"
    absorbs = True

    def __init__(self, simulator: TorchSimulator, arm: int) -> None:
        super().__init__(simulator.spec, simulator.history, 1, {})
        self.arm, self.rewards = arm, list[float]()

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        return Decision(torch.eye(5)[None, self.arm], None, {})

    def learn_columns(self, fragment: Fragment) -> dict[str, Tensor]:
        return {"reward": fragment.happened("reward").flatten()}

    def absorb(self, columns: dict[str, Tensor]) -> dict[str, float]:
        self.rewards += columns["reward"].tolist()
        return {}


def wheel(**arguments: Any) -> TorchSimulator:
    made = make_simulator("wheel_bandit", 1, session_steps=50, noise_stddev=0.0, **arguments)
    assert isinstance(made, TorchSimulator)
    return made


def test_regret_round_by_round() -> None:
    # Inside the wheel arm 0 gives 1.2 and the four others 1.0, so a uniformly
    # random arm regrets 4/5 * 0.2 = 0.16 a round.
    for arm, each in ((0, 0.0), (3, 0.2)):
        agent = Always(wheel(delta=1.0), arm)
        regret, uniform = played(wheel(delta=1.0), agent, Exploration(), seed=0, rounds=50)
        assert regret == pytest.approx(50 * each, abs=1e-4)
        assert uniform == pytest.approx(50 * 0.16, abs=1e-4)
        assert agent.rewards == pytest.approx([1.2 - each] * 50)


def test_percent() -> None:
    # 1 and 3 %: mean 2, standard deviation sqrt(2), standard error 1.
    found = percent([(1.0, 100.0), (6.0, 200.0)])
    assert found == {"percent": 2.0, "standard_error": 1.0, "each": [1.0, 3.0], "uniform": 150.0}


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda each: each.key)
def test_contenders_have_configs_for_their_problem(contender: Contender) -> None:
    file = ROOT / "configs" / f"{contender.config}.yaml"
    config = load_config(contender.algorithm, file, contender.overrides)
    problem, *delta = contender.problem.split()
    assert config.env.name == f"{problem}_bandit"
    assert [str(config.env.arguments["delta"])] == delta if delta else True
    assert (config.train.users, config.train.fragment) == (1, 1)
    changed = {"greedy": 0.0, "epsilon-greedy, 0.1": 0.1}
    assert config.settings["epsilon"] == changed.get(contender.label, config.settings["epsilon"])
    assert config.settings.get("alpha") == 0 if contender.label in changed else True


def test_seeds_are_problems_of_their_own() -> None:
    one, again, other = (regrets(CONTENDERS[0], seed, 20) for seed in (0, 0, 1))
    assert one == again
    assert one[1] != other[1]


def test_the_table_holds_every_contender() -> None:
    found = percent([(1.0, 100.0), (6.0, 200.0)])
    numbers = {
        "rounds": 10_000,
        "seeds": [0, 1],
        "regret": {contender.key: found for contender in CONTENDERS},
    }
    assert in_words(CONTENDERS[0].key, numbers) == "2.00 % ± 1.00"
    text = section(numbers)
    assert "10,000 rounds, mean of 2 seeds" in text
    assert text.count("2.00 % ± 1.00") == len(CONTENDERS)
