"""Feature specs as plain data, and what they refuse."""

import json
import math

import numpy as np
import pytest

from envs.spec import Feature, FeatureSpec, box, category, number, one_hot, vector

SPEC = FeatureSpec(
    user=(vector("taste", 3, -1, 1), number("age", 0)),
    candidate=(vector("features", 3), category("kind", 2), one_hot("topic", 4)),
    response=(number("click", 0, 1), number("minutes", 0, 100)),
    appeal=("taste", "features"),
)


def test_round_trip_through_json() -> None:
    text = json.dumps(SPEC.to_json(), allow_nan=False)
    again = FeatureSpec.from_json(json.loads(text))
    assert again == SPEC
    assert again.user[1].high == math.inf


def test_columns() -> None:
    assert (SPEC.user_size, SPEC.candidate_size, SPEC.response_size) == (4, 8, 2)
    # features take 3 columns, kind is a 0/1 number and takes 1, then topic.
    assert SPEC.candidate_slice("topic") == slice(4, 8)
    assert SPEC.response_slice("minutes") == slice(1, 2)
    with pytest.raises(ValueError, match="there are: click, minutes"):
        SPEC.response_slice("likes")


def test_box_has_a_range_for_each_column() -> None:
    space = box(SPEC.user, 2)
    assert space.shape == (2, 4) and space.dtype == np.float32
    assert space.low[1].tolist() == [-1, -1, -1, 0]
    assert space.high[0].tolist() == [1, 1, 1, math.inf]


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ((number("like"),), "need one called 'click'"),
        ((number("click"), number("click")), "distinct"),
        ((), "present"),
    ],
)
def test_impossible_specs_are_refused(response: tuple[Feature, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureSpec(SPEC.user, SPEC.candidate, response)


def test_impossible_features_are_refused() -> None:
    with pytest.raises(ValueError, match="its size is 1, not 2"):
        Feature("x", "number", 2)
    with pytest.raises(ValueError, match="range not empty"):
        number("x", 1, 0)
    with pytest.raises(ValueError, match="one size"):
        FeatureSpec(SPEC.user, SPEC.candidate, SPEC.response, appeal=("taste", "topic"))
