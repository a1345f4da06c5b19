from __future__ import annotations

from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from algorithms.layers import ConfigError
from algorithms.tuning.plan import load_plan
from algorithms.tuning.schema import Searched
from algorithms.tuning.space import Dimension, entries, nested

LR = Dimension("slateq.lr", Searched(low=0.001, high=0.01, log=True))
EPOCHS = Dimension("slateq.num_epochs", Searched(low=1, high=4), whole=True)
HIDDEN = Dimension("slateq.hidden", Searched(choices=((64, 64), (128,))))


def test_dimensions_are_optunas() -> None:
    assert LR.distribution == FloatDistribution(0.001, 0.01, log=True)
    assert EPOCHS.distribution == IntDistribution(1, 4)
    assert HIDDEN.distribution == CategoricalDistribution(["[64, 64]", "[128]"])


def test_numbers_are_rounded_to_four_digits_within_the_range() -> None:
    assert LR.value(0.00123456) == 0.001235
    narrow = Dimension("slateq.lr", Searched(low=1.23456, high=2.34567))
    assert narrow.value(1.9999999) == 2.0
    assert narrow.value(2.34567) == 2.34567  # 2.346 would be beyond
    assert EPOCHS.value(3) == 3
    assert HIDDEN.value("[128]") == [128]


def test_a_value_has_a_place_inside_and_none_outside() -> None:
    assert LR.place(0.002) == 0.002
    assert LR.place(0.02) is None
    assert LR.place(None) is None
    assert EPOCHS.place(2) == 2
    assert HIDDEN.place([64, 64]) == "[64, 64]"
    assert HIDDEN.place([32]) is None
    # A choice is named as it is written, whatever number the config makes of it.
    alpha = Dimension("linucb.alpha", Searched(choices=(1, 2)))
    assert (alpha.place(1.0), alpha.place(1.5)) == ("1", None)


def test_a_space_may_be_nested_or_dotted() -> None:
    flat = {"slateq.lr": {"low": 1, "high": 2}, "slateq.hidden": None}
    deep = {"slateq": {"lr": {"low": 1, "high": 2}, "hidden": None}}
    assert entries("a file", flat) == entries("a file", deep) == flat
    assert nested("a.b.c", 1) == {"a": {"b": {"c": 1}}}


def wrong(space: str, name: str = "slateq") -> str:
    with pytest.raises(ConfigError) as caught:
        load_plan(name, None, [f"tune.space={space}"])
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("{lr: {low: 0.1, high: 1}}", "cannot hold 'lr'; did you mean 'slateq.lr'?"),
        ("{slateq.lrr: {low: 0.1, high: 1}}", "'slateq.lrr'; did you mean 'slateq.lr'?"),
        ("{slateq.clip: {low: 0.1, high: 1}}", "cannot hold 'slateq.clip'"),
        ("{ppo.lr: {low: 0.1, high: 1}}", "'ppo.lr'; did you mean 'slateq.lr'?"),
        ("{train.env_steps: {low: 1, high: 2}}", "cannot hold 'train.env_steps'"),
        ("{seed: {low: 1, high: 2}}", "cannot hold 'seed'"),
        ("{evaluate.seed: {low: 1, high: 2}}", "cannot hold 'evaluate.seed'"),
        ("{slateq.schedule_steps: {low: 1, high: 2}}", "cannot hold 'slateq.schedule_steps'"),
        ("{slateq.lr: {low: 0.1}}", "give low and high"),
        ("{slateq.lr: {low: 0.1, hihg: 1}}", "did you mean 'high'?"),
        ("{slateq.lr: {low: 1, high: 0.1}}", "low is 1, which must be less than high, 0.1"),
        ("{slateq.lr: {low: 0, high: 1, log: true}}", "must be above 0 to search its logarithm"),
        ("{slateq.lr: {low: -1, high: 1}}", "slateq.lr is -1; it must be greater than 0"),
        ("{slateq.lambda_: {low: 0.5, high: 1.5}}", "slateq.lambda_ is 1.5"),
        ("{slateq.num_epochs: {low: 1, high: 2.5}}", "slateq.num_epochs is 2.5"),
        ("{slateq.hidden: {choices: [[64]]}}", "two or more different values"),
        ("{slateq.hidden: {choices: [[64], [64]]}}", "two or more different values"),
        ("{slateq.hidden: {choices: [[64], [0]]}}", "slateq.hidden.0 is 0"),
        ("{slateq.hidden: {choices: [[64], [8]], low: 1}}", "either choices, or low and high"),
        ("{slateq.layer_norm: {low: 0, high: 1}}", "slateq.layer_norm is 0"),
        ("{slateq.lr: 0.1}", "give low and high"),
        ("[slateq.lr]", "tune.space must hold keys"),
        # Ends are tried on the config, and with `fresh` there is no replay buffer.
        ("{slateq.replay_ratio: {low: 1, high: 8}}", "replay"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(space: str, said: str) -> None:
    assert said in wrong(space)


def test_a_search_for_nothing_says_what_to_write() -> None:
    said = wrong("{}", "reinforce")
    assert "there is nothing to search for 'reinforce'" in said
    assert "tune: {space: {reinforce." in said


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ("{linucb.alpha: {low: .nan, high: 1}}", "linucb.alpha.low is .nan; it must be a finite"),
        ("{linucb.alpha: {low: 0, high: .inf}}", "linucb.alpha.high is .inf; it must be a finite"),
        ("{linucb.alpha: {low: false, high: 1}}", "linucb.alpha.low is false; it must be a finite"),
        ("{linucb.alpha: {choices: [[0.1], [0.2]]}}", "linucb.alpha is [0.1]; it must be a valid"),
        ("3", "--set tune.space=3: tune.space must hold keys"),
    ],
)
def test_the_fault_names_what_was_given(space: str, sentence: str) -> None:
    assert sentence in wrong(space, "linucb")


def test_the_fault_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("tune:\n  space:\n    slateq:\n      lr: {low: 1.0, high: 0.5}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: "):
        load_plan("slateq", file)
