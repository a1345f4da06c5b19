"""Slates of a log, by hand and of policies in a simulated world."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from envs.registry import make_simulator
from envs.spec import FeatureSpec, number, one_hot
from offline.log import Header, LogError
from offline.log.rows import Rows
from offline.rank import app
from offline.ranking.logged import _before, _kinds, kind_feature, measure
from offline.record import app as record

SPEC = FeatureSpec(
    user=(number("age"),),
    candidate=(number("quality"), one_hot("topic", 3)),
    response=(number("click", 0.0, 1.0),),
)


class Written:
    """A log of three rows, as `Log.sessions` gives them."""

    header = Header(SPEC, None)

    def sessions(self, columns: tuple[str, ...]) -> Any:
        """Three candidates, of topics 0, 0, 1; slates of two and of one, and another session."""
        topics = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
        items = np.concatenate([np.full((3, 1), 9, np.float32), topics], axis=1)
        yield Rows(
            {
                "step": np.array([0, 1, 0]),
                "candidates": np.stack([items] * 3),
                "mask": np.array([[1, 1, 1]] * 2 + [[0, 0, 1]], bool),
                "slate": np.array([[0, 2], [1, -1], [2, -1]]),
                "response": np.array([[[0], [1]], [[1], [0]], [[0], [0]]], np.float32),
            }
        )


def test_by_hand() -> None:
    found = measure(Written())  # type: ignore[arg-type]  # all of a log that is looked at
    # Shown: topics 0 and 1; 0; 1. One pair, of two topics. Offered: 4 of topic 0, 3 of topic 1.
    assert (found["rows"], found["kinds"], found["diversity@2"]) == (3, 3, 1.0)
    assert found["coverage@2"] == pytest.approx(2 / 3)
    # Exposure 0, 2, 2: 2 (1 * 0 + 2 * 2 + 3 * 2) / (3 * 4) - 4 / 3.
    assert found["gini@2"] == pytest.approx(20 / 12 - 4 / 3)
    bits = (2 * math.log2(7 / 4) + 2 * math.log2(7 / 3)) / 4
    assert found["novelty@2"] == pytest.approx(bits)
    # Only the second slate follows a click of its session, on topic 1, and shows topic 0:
    # p = (0, 1), q' = (.99, .01), so log(1 / .01).
    assert found["calibration_kl@2"] == pytest.approx(math.log(100))


@pytest.mark.parametrize(
    ("world", "kinds"),
    [
        ("interest_evolution", 20),
        ("interest_exploration", 2),
        ("long_term_satisfaction", 2),
        ("modified_long_term_satisfaction", 2),
        ("boredom", 4),
    ],
)
def test_every_world_has_kinds(world: str, kinds: int) -> None:
    spec = make_simulator(world, 1).spec
    assert max(2, kind_feature(spec, None).size) == kinds


def test_a_number_from_0_to_1_makes_two_kinds() -> None:
    values = np.array([[[0.25], [1.0]]], np.float32)
    assert _kinds(values).tolist() == [[[0.75, 0.25], [0.0, 1.0]]]


def test_a_feature_that_names_no_kinds_is_refused() -> None:
    assert kind_feature(SPEC, None).name == kind_feature(SPEC, "topic").name == "topic"
    with pytest.raises(LogError, match="did you mean 'topic'"):
        kind_feature(SPEC, "topics")


def test_a_policy_that_maximises_clicks_shows_less_variety(tmp_path: Path) -> None:
    found = {}
    for name in ("random", "click_maximiser"):
        words = [name, "--out", str(tmp_path / name), "--users", "20"]
        made = CliRunner().invoke(record, words)
        assert made.exit_code == 0, made.output
        said = CliRunner().invoke(app, ["--log", str(tmp_path / name), "--json"])
        assert said.exit_code == 0, said.output
        found[name] = json.loads(said.stdout)
    assert found["click_maximiser"]["diversity@3"] < found["random"]["diversity@3"]
    assert found["click_maximiser"]["gini@3"] > found["random"]["gini@3"]
    refused = CliRunner().invoke(app, ["random", "--log", str(tmp_path / "random")])
    assert refused.exit_code == 2 and "--log ranks nothing" in refused.stderr
    idle = CliRunner().invoke(app, ["--log", str(tmp_path / "random"), "--metrics", "gini"])
    assert idle.exit_code == 2 and "--metrics changes nothing with --log" in idle.stderr


def test_sums_before_a_row_do_not_wear_off_in_long_logs() -> None:
    values = np.full((200_000, 1), 0.1, np.float32)
    found = _before(values, np.arange(0, 200_000, 4))
    expected = np.tile(np.float32(0.1) * np.arange(4.0), 50_000)
    np.testing.assert_allclose(found[:, 0], expected, rtol=0, atol=1e-9)
