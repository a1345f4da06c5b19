"""Slates of a log, by hand and of policies in a simulated world."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from envs.spec import FeatureSpec, number, one_hot
from offline.log import Header, LogError
from offline.rank import app
from offline.ranking.logged import kind_feature, measure
from offline.record import app as record

SPEC = FeatureSpec(
    user=(number("age"),),
    candidate=(number("quality"), one_hot("topic", 3)),
    response=(number("click", 0.0, 1.0),),
)


class Written:
    """A log of two rows, as `Log.batches` gives them."""

    header = Header(SPEC, None)

    def batches(self, columns: tuple[str, ...]) -> Any:
        """Rows of three candidates, of topics 0, 0, 1; slates of two, and of one."""
        topics = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
        items = np.concatenate([np.full((3, 1), 9, np.float32), topics], axis=1)
        yield {
            "candidates": np.stack([items, items]),
            "mask": np.ones((2, 3), bool),
            "slate": np.array([[0, 2], [1, -1]]),
        }


def test_by_hand() -> None:
    found = measure(Written())  # type: ignore[arg-type]  # all of a log that is looked at
    # Shown: topics 0, 1 and 0. One pair, of two topics. Offered: 4 of topic 0, 2 of topic 1.
    assert (found["rows"], found["kinds"], found["diversity@2"]) == (2, 3, 1.0)
    assert found["coverage@2"] == pytest.approx(2 / 3)
    # Exposure 0, 1, 2: 2 (1 * 0 + 2 * 1 + 3 * 2) / (3 * 3) - 4 / 3.
    assert found["gini@2"] == pytest.approx(16 / 9 - 4 / 3)
    bits = (2 * math.log2(6 / 4) + math.log2(6 / 2)) / 3
    assert found["novelty@2"] == pytest.approx(bits)


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
