from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from algorithms import strict_yaml
from algorithms.config import load_config
from algorithms.evaluate import DEFAULT_SEED
from algorithms.layers import ConfigError
from algorithms.registry import algorithm_names
from algorithms.tuning.plan import Plan, as_plain, load_plan, make_plan, tuning_seed
from algorithms.tuning.rungs import first_rung, rungs
from envs.noise import AddressedNoise

PACKAGED = ("dqn", "linucb", "ppo", "slateq")


def test_readings_are_a_reduction_apart() -> None:
    assert first_rung(900, 3) == 100
    assert first_rung(1000, 3) == 112  # 111.1 rounded up, so that 9 of them reach the budget
    assert rungs(900, 100, 3) == [100, 300, 900]
    assert rungs(1000, 112, 3) == [112, 336, 1000]
    assert rungs(1000, 1000, 3) == [1000]
    assert rungs(1000, 10, None) == [1000]


@pytest.mark.parametrize("name", PACKAGED)
def test_a_search_can_start_at_once_from_the_algorithms_own_config(name: str) -> None:
    plan = load_plan(name)
    assert plan.config == load_config(name)
    assert plan.start() is not None  # inside the space, so that the search learns from it
    assert plan.settings(plan.start() or {}).keys() == {each.key for each in plan.space}


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[3] / "configs" / "tune").glob("*.yaml"))
)
def test_every_packaged_file_is_a_space_or_a_config_with_one(file: Path) -> None:
    """Named after the algorithm, a world behind it where it is for `--config`."""
    if file.stem in algorithm_names():
        assert file.stem in PACKAGED
        return
    name = max((n for n in algorithm_names() if file.stem.startswith(f"{n}_")), key=len)
    assert file.stem.removeprefix(f"{name}_") == load_plan(name, file).config.env.name


def draws(seed: int, users: int, steps: int) -> set[int]:
    """All luck of users 0, 1, ... at steps 0, 1, ..., as whole numbers of 53 bits."""
    user = torch.arange(users).repeat_interleave(steps)
    step = torch.arange(steps).repeat(users)
    uniform = AddressedNoise(seed, torch.float64).at(user, step).uniform(0, 2)
    return set((uniform * 2.0**53).long().flatten().tolist())


def test_no_luck_of_the_tuning_users_is_met_by_the_reported_ones() -> None:
    """All draws differ, so no (seed, user, step) of one side has the address of one of the other.

    With 53 bits, 80,000 draws on either side would share one by chance with probability
    80,000^2 / 2^53 = 7e-7.
    """
    found = tuning_seed(DEFAULT_SEED)
    # The evaluation that ends a run, the one of its curve, and ours.
    reported, curve, tuning = (
        draws(seed, 2000, 20) for seed in (DEFAULT_SEED, DEFAULT_SEED + 1, found)
    )
    assert len(tuning) == 80_000
    assert not tuning & reported
    assert not tuning & curve


def test_tuning_users_follow_the_reported_ones(plan: Callable[..., Plan]) -> None:
    """Whoever reports with another seed is judged by other tuning users, too."""
    assert plan().tuning_seed == tuning_seed(DEFAULT_SEED)
    assert plan(evaluate__seed=7).tuning_seed == tuning_seed(7) != tuning_seed(DEFAULT_SEED)
    assert len({tuning_seed(seed) for seed in range(1000)} | set(range(1000))) == 2000


def test_a_trial_is_a_run_with_its_settings(plan: Callable[..., Plan]) -> None:
    found = plan(train__evaluate_every=100, workers=2).trial_config({"linucb.alpha": 0.3})
    assert found.settings["alpha"] == 0.3
    assert (found.workers, found.train.evaluate_every, found.train.env_steps) == (0, None, 900)


def test_settings_that_do_not_go_together_are_refused_with_the_trial(
    plan: Callable[..., Plan],
) -> None:
    with pytest.raises(ConfigError, match="forget by one of them"):
        plan().trial_config({"linucb.window": 5, "linucb.discount": 0.9})


def test_the_best_config_is_what_train_reads(tmp_path: Path) -> None:
    plan = load_plan("slateq", None, ["workers=2", "train.env_steps=1000"])
    file = tmp_path / "best.yaml"
    file.write_text(strict_yaml.dump(plan.best_config({"slateq.lr": 0.005})))
    found = load_config("slateq", file)
    assert (found.settings["lr"], found.workers) == (0.005, 2)
    assert found.train.evaluate_every == 500_000  # the user's own, not the trial's
    # The schedule follows the budget, also one that is chosen later.
    assert found.settings["schedule_steps"] == 1000
    longer = load_config("slateq", file, ["train.env_steps=2000"])
    assert longer.settings["schedule_steps"] == 2000


def test_a_schedule_that_the_user_set_stays(tmp_path: Path) -> None:
    plan = load_plan("slateq", None, ["slateq.schedule_steps=77"])
    assert plan.best_config({})["slateq"]["schedule_steps"] == 77


def test_a_key_is_replaced_or_taken_out_by_a_later_layer() -> None:
    plan = load_plan(
        "slateq", None, ["tune.space.slateq.lr={choices: [0.1, 0.2]}", "tune.space.slateq.hidden="]
    )
    space = {each.key: each.searched for each in plan.space}
    assert space["slateq.lr"].choices == (0.1, 0.2)
    assert "slateq.hidden" not in space and "slateq.lambda_" in space


def test_a_plan_is_read_back_as_it_was(plan: Callable[..., Plan]) -> None:
    before = plan(tune__first_reading=50)
    again = make_plan([("tune.yaml", strict_yaml.load(strict_yaml.dump(as_plain(before))))])
    assert again.config == before.config
    assert (again.section, again.space) == (before.section, before.space)
    assert again.readings == before.readings == [50, 150, 450, 900]


def test_the_search_draws_anew_when_it_continues(plan: Callable[..., Plan]) -> None:
    assert plan().search_seed(0) == plan().search_seed(0) != plan().search_seed(3)
    assert plan(seed=1).search_seed(0) != plan().search_seed(0)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tune__usres", 10, "did you mean 'tune.users'?|did you mean 'users'?"),
        ("tune__reduction", 1, "tune.reduction is 1"),
        ("tune__first_reading", 901, "beyond the budget of 900 steps"),
        ("tune__users", 1, "tune.users is 1"),
    ],
)
def test_a_fault_of_the_section_is_one_sentence(
    plan: Callable[..., Plan], key: str, value: int, said: str
) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        plan(**{key: value})


def test_a_first_reading_without_stopping_does_nothing(plan: Callable[..., Plan]) -> None:
    with pytest.raises(ConfigError, match="does nothing"):
        plan(tune__first_reading=50, tune__reduction=None)
    assert plan(tune__reduction=None).readings == [900]


def test_users_that_workers_may_not_share_are_refused_before_the_search(
    plan: Callable[..., Plan],
) -> None:
    """Else trials would play, without workers, and the best config could not be written."""
    within = {"low": 10, "high": 40}
    assert plan(tune__space__train__users=within).space
    with pytest.raises(ConfigError, match="2 workers cannot always share equally"):
        plan(tune__space__train__users=within, workers=2)
    found = plan(tune__space__train__users={"choices": [10, 20]}, workers=2)
    assert found.best_config({"train.users": 20})["train"]["users"] == 20
