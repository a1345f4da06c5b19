from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces

from envs.recsim.layout import Layout
from envs.spec import number, one_hot, vector


def test_a_dict_is_laid_out_in_alphabetical_order() -> None:
    space = spaces.Dict(
        {
            "watch": spaces.Box(0, 10, ()),
            "click": spaces.Discrete(2),
            "topic": spaces.Discrete(3, start=5),
            "inner": spaces.Dict({"b": spaces.Box(-1, 1, (2,)), "a": spaces.MultiBinary(2)}),
        }
    )
    layout = Layout.of(space, "unused")
    assert layout.features == (
        number("click", 0, 1),
        vector("inner.a", 2, 0, 1),
        vector("inner.b", 2, -1, 1),
        one_hot("topic", 3),
        number("watch", 0, 10),
    )
    observation = {
        "watch": np.array(2.5),
        "click": 1,
        "topic": 6,
        "inner": {"a": np.array([0, 1]), "b": np.array([0.5, -0.5])},
    }
    rows = layout.encode([observation, observation])
    assert rows.tolist() == [[1, 0, 1, 0.5, -0.5, 0, 1, 0, 2.5]] * 2


def test_other_spaces_get_the_given_name() -> None:
    assert Layout.of(spaces.Box(0, 1, (1,)), "score").features == (number("score", 0, 1),)
    assert Layout.of(spaces.Box(0, 1, (2, 2)), "image").features == (vector("image", 4, 0, 1),)
    assert Layout.of(spaces.Discrete(3), "topic").encode([2]).tolist() == [[0, 0, 1]]


def test_an_empty_space_becomes_a_constant() -> None:
    layout = Layout.of(spaces.Box(0, 1, (0,)), "user")
    assert layout.features == (number("anonymous", 0, 1),)
    assert layout.encode([np.array([])]).tolist() == [[1.0]]


def test_unknown_spaces_are_named() -> None:
    with pytest.raises(ValueError, match="'user' has a space of type Text; allowed are Box, Disc"):
        Layout.of(spaces.Text(3), "user")
    with pytest.raises(ValueError, match="type SimpleNamespace"):
        Layout.of(SimpleNamespace(), "user")


@pytest.mark.parametrize("value", [1.1, -0.1, np.nan, np.inf])
def test_values_outside_their_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"feature 'x' has the value .* \[0, 1\]"):
        Layout.of(spaces.Box(0, 1, ()), "x").encode([np.array(value), np.array(0.5)])


def test_infinite_ranges_still_want_numbers_that_float32_holds() -> None:
    layout = Layout.of(spaces.Box(-np.inf, np.inf, ()), "x")
    assert layout.encode([np.array(1e38)]).tolist() == [[1e38]]
    with pytest.raises(ValueError, match="'x' has the value 1e\\+39"):
        layout.encode([np.array(1e39)])


def test_observations_that_do_not_match_are_explained() -> None:
    layout = Layout.of(spaces.Dict({"click": spaces.Discrete(2)}), "response")
    with pytest.raises(ValueError, match="does not match its space: KeyError 'click'"):
        layout.encode([{"clicked": 1}])
    with pytest.raises(ValueError, match="'x' has 3 numbers, but its space declares 2"):
        Layout.of(spaces.Box(0, 1, (2,)), "x").encode([np.zeros(3)])
