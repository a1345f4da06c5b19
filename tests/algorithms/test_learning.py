"""SlateQ learns: thresholds lie between what needs no learning and the optimum.

CPU time on one core: about 8 s for the satisfaction world, 6 to 10 s for each of the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy
from algorithms.slateq import SlateQConfig

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]
CONFIGS = Path(__file__).parents[2] / "configs"


def learned_return(env: dict[str, Any], steps: int, users: int = 256, **settings: Any) -> float:
    name = env.pop("name")
    algo = (
        SlateQConfig()
        .environment(name, env_config=env)
        .env_runners(num_envs_per_env_runner=users)
        .training(schedule_steps=steps, **settings)
        .debugging(seed=0)
        .build_algo()
    )
    while algo.env_steps < steps:
        algo.train()
    found = evaluate_policy(Policy(algo.agent()), {"name": name, **env}, 2000, seed=5)
    algo.stop()
    return found.mean_return.mean


def test_interest_evolution_far_beyond_the_most_clickable() -> None:
    # Most clickable 168, the paper 174.6, three topics of best mean quality 264, ceiling 283.
    assert learned_return({"name": "interest_evolution"}, 800_000) > 268


def test_a_learned_choice_is_as_good_as_a_given_one() -> None:
    settings = {"choice_scores": "learned", "choice_model": "multinomial_logit"}
    assert learned_return({"name": "interest_evolution"}, 400_000, **settings) > 255


def test_no_click_worth_nothing_stops_where_the_paper_does() -> None:
    # The one change that explains the paper's 174.6; everything else as by default.
    found = learned_return({"name": "interest_evolution"}, 400_000, no_click_value="zero")
    assert 168 < found < 185


def test_modified_long_term_satisfaction_near_its_optimum() -> None:
    # Random 99, alternating sweet and bitter 172, dynamic programming 221 to 226.
    name = "slateq_modified_long_term_satisfaction.yaml"
    config = yaml.safe_load((CONFIGS / name).read_text())
    settings = {**config["slateq"], "lr": 2e-3}
    assert learned_return(config["env"], 512_000, **settings) > 215


def test_sarsa_on_fresh_fragments_learns_too() -> None:
    settings = {"target": "sarsa", "trace": "sarsa", "epsilon": 0.1}
    assert learned_return({"name": "interest_evolution"}, 400_000, **settings) > 240
