"""SlateQ on boredom small enough to be solved; about 40 s of CPU time."""

from __future__ import annotations

import pytest

from algorithms.config import load_config
from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy
from algorithms.slateq import SlateQConfig
from benchmarks.core import ROOT
from envs.boredom import Boredom
from envs.boredom.optimal import myopic, optimal, return_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]


def test_slateq_comes_near_the_optimum_by_dynamic_programming() -> None:
    config = load_config("slateq", ROOT / "configs" / "slateq_boredom_small.yaml")
    algo = (
        SlateQConfig()
        .environment(config.env.name, env_config=config.env.arguments)
        .env_runners(num_envs_per_env_runner=config.train.users)
        .training(**config.settings)
        .debugging(seed=0)
        .build_algo()
    )
    while algo.env_steps < config.train.env_steps:
        algo.train()
    found = evaluate_policy(Policy(algo.agent()), config.world, 8000, seed=5)
    algo.stop()
    world = Boredom(**config.env.arguments)
    best = optimal(world).mean_return
    # Always the likeliest click reaches 65 %, the three genres in turn 70 %.
    assert return_of(world, myopic(world)) < 0.7 * best
    assert 0.95 * best < found.mean_return.mean < 1.01 * best
