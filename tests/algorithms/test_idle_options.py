"""Options that would silently do nothing are refused in one sentence, before anything starts."""

from __future__ import annotations

import pytest

from algorithms.config import load_config
from algorithms.core.settings import ActingSettings
from algorithms.layers import ConfigError

THOMPSON = ["neural_linear.explore_by=thompson", "neural_linear.temperature=1"]
THOMPSON += ["neural_linear.epsilon=0.01"]
REPLAY = ["dqn.learning=replay"]
ITEMS = ["dqn.actions=items", "env.slate_size=1"]
BOX, ONE = ["env.name=Pendulum-v1"], ["env.slate_size=1"]
# Algorithm, what is set before, the option, and why it does nothing.
IDLE = [
    ("ucb1", [], "epsilon_steps=50", "there is no epsilon_final to move to"),
    ("linucb", [], "arm_feature=features", "one model is shared by all items"),
    ("lints", [], "arm_feature=features", "one model is shared by all items"),
    ("squarecb", [], "arm_feature=features", "one model is shared by all items"),
    ("neural_linear", [], "arm_feature=features", "one model is shared by all items"),
    ("neural_linear", THOMPSON, "alpha=0.5", "explore_by 'thompson' goes by draws"),
    ("neural_linear", [], "spread=0.5", "explore_by 'ucb' goes by bounds"),
    ("neural_linear", [], "draws=9", "explore_by 'ucb' goes by bounds"),
    ("neural_linear", [], "embedding_size=4", "users and items have no feature that is an id"),
    ("dqn", REPLAY, "lambda_=0.5", "learning 'replay' has no lambda-returns"),
    ("dqn", REPLAY, "trace=peng", "learning 'replay' has no traces"),
    ("dqn", [], "double=false", "learning 'fresh' has no target network"),
    ("dqn", [], "replay_capacity=500", "learning 'fresh' has no replay buffer"),
    ("dqn", [], "replay_ratio=1.0", "learning 'fresh' has no replay buffer"),
    ("dqn", [], "learning_starts=0", "learning 'fresh' has no replay buffer"),
    ("dqn", [], "target_update_steps=500", "no target network"),
    ("dqn", REPLAY, "priority_alpha=0.5", "the replay is not prioritised"),
    ("dqn", REPLAY, "priority_beta=0.5", "the replay is not prioritised"),
    ("dqn", ITEMS, "ordered=true", "about slates, but actions is 'items'"),
    ("dqn", ITEMS, "max_slates=50", "about slates, but actions is 'items'"),
    ("dqn", ITEMS, "slate_hidden=[8]", "about slates, but actions is 'items'"),
    ("dqn", ONE, "ordered=true", "slates of one item have one order"),
    ("dqn", ["dqn.hidden=[]"], "layer_norm=false", "no layers to normalise"),
    ("slateq", ["slateq.learning=replay"], "lambda_=0.5", "has no lambda-returns"),
    ("slateq", [], "learning_starts=0", "learning 'fresh' has no replay buffer"),
    ("ppo", [], "initial_std=1.0", "candidates are picked here"),
    ("ppo", ONE, "entropy=exact", "the entropy of one slot is exact anyway"),
    ("a2c", BOX, "entropy=exact", "numbers are made here"),
    ("a2c", BOX, "item_hidden=[8]", "numbers are made here"),
    ("reinforce", BOX, "use_appeal=false", "numbers are made here"),
    ("ppo", ["ppo.hidden=[]"], "shared_body=true", "no layers over user and history"),
    ("ppo", ["ppo.hidden=[]"], "layer_norm=false", "no layers over user and history"),
]


@pytest.mark.parametrize(("name", "before", "option", "because"), IDLE)
def test_an_idle_option_is_refused(name: str, before: list[str], option: str, because: str) -> None:
    load_config(name, None, before)  # it is the option that is wrong
    with pytest.raises(ConfigError) as caught:
        load_config(name, None, [*before, f"{name}.{option}"])
    said = str(caught.value)
    key, value = option.split("=")
    assert f"{key} is {value}, which does nothing: " in said
    assert because in said
    assert len(said.splitlines()) == 1
    # What the sentence advises is taken.
    default = said.partition("; leave it at ")[2].rpartition(", or ")[0]
    assert default
    load_config(name, None, [*before, f"{name}.{key}={default}"])


@pytest.mark.parametrize(
    ("name", "before", "option"),
    [
        ("ucb1", ["ucb1.epsilon=0.5", "ucb1.epsilon_final=0.1"], "epsilon_steps=50"),
        ("linucb", ["linucb.models=per_arm"], "arm_feature=features"),
        ("neural_linear", THOMPSON, "spread=0.5"),
        ("dqn", REPLAY, "double=false"),
        ("dqn", REPLAY, "target_update_steps=500"),
        ("dqn", [*REPLAY, "dqn.prioritised=true"], "priority_beta=0.5"),
        ("dqn", [], "slate_hidden=[8]"),
        ("ppo", [], "entropy=exact"),
        ("a2c", BOX, "initial_std=1.0"),
    ],
)
def test_it_is_taken_where_it_counts(name: str, before: list[str], option: str) -> None:
    config = load_config(name, None, [*before, f"{name}.{option}"])
    assert str(config.settings[option.split("=")[0]]).lower() == option.split("=")[1]


def test_a_final_epsilon_without_steps_would_make_the_first_one_idle() -> None:
    with pytest.raises(ValueError, match=r"epsilon \(0\.5\) would do nothing; set epsilon_steps"):
        ActingSettings(epsilon=0.5, epsilon_final=0.1)
    with pytest.raises(ConfigError, match=r"^--set ucb1\.epsilon_final=0\.1: epsilon_final is 0"):
        load_config("ucb1", None, ["ucb1.epsilon_final=0.1"])
    settings = ActingSettings(epsilon=0.5, epsilon_final=0.1, epsilon_steps=4)
    assert [settings.epsilon_at(steps) for steps in (0, 2, 9)] == pytest.approx([0.5, 0.3, 0.1])


@pytest.mark.parametrize("epsilon_steps", [0, 50])
def test_policy_gradients_have_no_schedule_at_all(epsilon_steps: int) -> None:
    overrides = ["ppo.epsilon_final=0.0", f"ppo.epsilon_steps={epsilon_steps}"]
    with pytest.raises(ConfigError, match="explores by its own policy"):
        load_config("ppo", None, overrides)


@pytest.mark.parametrize("option", ["gamma=0.0", "lambda_=0.0", "epsilon=1.0"])
def test_the_end_of_a_range_is_no_mode(option: str) -> None:
    # With a discount of 0 nothing is bootstrapped, but it is one of many to compare.
    load_config("dqn", None, ["dqn.trace=peng", "dqn.lambda_=0.8", f"dqn.{option}"])
