from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from algorithms.evaluation import EvaluationResult
from algorithms.tuning.plan import Plan
from algorithms.tuning.plots import draw
from algorithms.tuning.report import importances, result, table
from algorithms.tuning.trials import Reading, Trial, Trials

KEYS = ("linucb.alpha", "linucb.ridge", "linucb.epsilon")


def trial(number: int, settings: dict[str, object], mean: float, status: str = "finished") -> Trial:
    point = {
        key: json.dumps(value) if key == "linucb.feedback" else value
        for key, value in settings.items()
    }
    readings = () if status == "failed" else (Reading(900, mean, mean - 1, mean + 1),)
    message = "it broke" if status == "failed" else ""
    return Trial(number, point, settings, status, readings, message, 1.5)  # type: ignore[arg-type]


@pytest.fixture
def many() -> list[Trial]:
    """Whose return is decided by epsilon alone."""
    draws = np.random.default_rng(0)
    found = []
    for number in range(60):
        alpha, ridge = 10 ** draws.uniform(-2, 1), 10 ** draws.uniform(-2, 2)
        epsilon = draws.uniform(0, 0.2)
        settings = dict(zip(KEYS, map(float, (alpha, ridge, epsilon)), strict=True))
        settings["linucb.feedback"] = "click" if number % 2 else "reward"
        status = "stopped" if epsilon > 0.1 else "finished"
        found.append(trial(number, settings, 100 - 100 * float(epsilon), status))
    found[7] = trial(7, found[7].settings, 0.0, "failed")
    return found


def test_what_decides_is_what_matters(plan: Callable[..., Plan], many: list[Trial]) -> None:
    found = importances(plan(), many)
    assert next(iter(found)) == "linucb.epsilon"
    assert found["linucb.epsilon"] > 0.8
    assert sum(found.values()) == pytest.approx(1.0)


def test_nothing_is_said_of_few_trials_or_equal_ones(
    plan: Callable[..., Plan], many: list[Trial]
) -> None:
    assert importances(plan(), many[:6]) == {}
    assert importances(plan(), [trial(n, many[n].settings, 5.0) for n in range(20)]) == {}


def test_the_table_has_a_line_for_each_trial(plan: Callable[..., Plan], many: list[Trial]) -> None:
    start = Trial(0, None, {}, "finished", many[0].readings, "", 1.5)
    rows = list(csv.DictReader(table(plan(), [start, *many[6:8]]).splitlines()))
    assert [row["trial"] for row in rows] == ["0", "6", "7"]
    # The start changes nothing, so its values are the config's.
    assert (rows[0]["linucb.alpha"], rows[0]["linucb.feedback"]) == ("1.0", '"reward"')
    assert (rows[2]["status"], rows[2]["return"], rows[2]["message"]) == ("failed", "", "it broke")
    assert float(rows[1]["linucb.epsilon"]) == many[6].settings["linucb.epsilon"]


def test_the_gain_is_taken_user_by_user(plan: Callable[..., Plan], tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    trials.all = {0: Trial(0, None, {}, "finished"), 1: trial(1, {"linucb.alpha": 2.0}, 5.0)}
    ones = np.ones(4)
    better = EvaluationResult(np.array([3.0, 5.0, 7.0, 9.0]), ones, {}, "torch")
    start = EvaluationResult(np.array([1.0, 4.0, 5.0, 8.0]), ones, {}, "torch")
    found = result(plan(), trials, trials.all[1], better, start)
    assert (found["return_mean"], found["start"]["return"]["mean"]) == (6.0, 4.5)
    # Differences 2, 1, 2, 1: mean 1.5, standard deviation 0.57735, standard error 0.288675;
    # 1.96 of those are 0.565793.
    assert found["start"]["gain"]["mean"] == 1.5
    assert found["start"]["gain"]["ci95"] == pytest.approx([0.934207, 2.065793], abs=1e-5)
    assert found["trials"] == {"finished": 2, "stopped": 0, "failed": 0}
    assert found["best"] == {
        "trial": 1,
        "settings": {"linucb.alpha": 2.0},
        "tuning_return": 5.0,
    }
    assert result(plan(), trials, trials.all[1], better, None)["start"] is None


def test_the_picture_is_drawn(plan: Callable[..., Plan], many: list[Trial], tmp_path: Path) -> None:
    start = Trial(0, None, {}, "finished", many[0].readings, "", 1.5)
    path = tmp_path / "tune.png"
    draw(plan(), [start, *many[1:]], many[1], importances(plan(), many), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [entry.name for entry in tmp_path.iterdir()] == ["tune.png"]
