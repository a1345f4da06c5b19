"""Policy gradients learn what Gymnasium's classics ask for.

CPU time on one core, each seed: about 35 s for either.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from algorithms.config import load_config
from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy
from algorithms.training import build

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]
CONFIGS = Path(__file__).parents[3] / "configs"


def greedy_return(name: str, file: str, seed: int) -> float:
    """Mean of 100 greedy sessions after training by a config of ours."""
    config = load_config(name, CONFIGS / file, changes={"seed": seed})
    algo = build(config)
    while algo.env_steps < config.train.env_steps:
        algo.train()
    found = evaluate_policy(Policy(algo.agent()), config.world, 100, seed=5)
    algo.stop()
    return found.mean_return.mean


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_reinforce_balances_the_pole(seed: int) -> None:
    # Random 22, the limit 500; Gymnasium calls 475 solved.
    assert greedy_return("reinforce", "reinforce_cartpole.yaml", seed) >= 475


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a2c_swings_the_pendulum_up(seed: int) -> None:
    # Random about -1,200; no policy stays above about -150, because of where sessions begin.
    assert greedy_return("a2c", "a2c_pendulum.yaml", seed) >= -250
