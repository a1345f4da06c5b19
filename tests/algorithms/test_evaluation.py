import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from algorithms import evaluation
from algorithms.evaluate import app
from algorithms.evaluation import Estimate, EvaluationResult, evaluate_policy
from algorithms.policy import Policy, baseline
from envs.registry import make_simulator

WORLD = {"name": "interest_evolution", "backend": "torch"}


def policy(name: str, **world: object) -> Policy:
    simulator = make_simulator(num_users=1, history=[], **{**WORLD, **world})  # type: ignore[arg-type]
    return baseline(name, simulator.spec, simulator.history, simulator.slate_size)


def test_a_mean_with_its_interval() -> None:
    found = Estimate.of(np.array([1.0, 2.0, 3.0]))
    # Standard deviation 1, three users: 1.96 / sqrt(3) = 1.1316
    assert (found.mean, found.high - found.mean) == (2.0, pytest.approx(1.1316, abs=1e-4))
    assert found.mean - found.low == pytest.approx(1.1316, abs=1e-4)


def test_one_user_has_no_interval() -> None:
    assert Estimate.of(np.array([4.0])).to_json() == {"mean": 4.0, "ci95": None}


def test_a_ratio_with_its_interval() -> None:
    found = Estimate.ratio(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    # 4 / 4; residuals (1 - 2) / 2 and (3 - 2) / 2 have deviation 0.7071: 1.96 * 0.7071 / sqrt(2)
    assert (found.mean, found.high) == (1.0, pytest.approx(1.98, abs=1e-3))
    assert math.isnan(Estimate.ratio(np.zeros(2), np.zeros(2)).mean)


def test_numbers_are_summed_or_averaged_by_what_they_are() -> None:
    totals = {
        name: np.array(values)
        for name, values in {
            "click": [1.0, 3.0],
            "quality": [-1.0, 3.0],
            "watch_time": [4.0, 12.0],
        }.items()
    }
    found = EvaluationResult(np.array([4.0, 12.0]), np.array([2.0, 6.0]), totals, "torch").summary()
    means = {name: estimate.mean for name, estimate in found.items()}
    assert means == {
        "return": 8.0,
        "session_length": 4.0,
        "click_rate": 0.5,  # 4 clicks in 8 steps
        "quality": 0.5,  # 2 over 4 clicked documents
        "watch_time": 8.0,  # a session
    }


@pytest.mark.parametrize("name", ["random", "click_maximiser"])
def test_numbers_depend_on_no_batch_and_no_worker(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", 20)
    found = evaluate_policy(policy(name), WORLD, 50, seed=3)
    fewer = evaluate_policy(policy(name), WORLD, 30, seed=3)
    assert len(found.returns) == 50
    assert np.array_equal(found.returns[:30], fewer.returns)
    assert np.array_equal(found.lengths[:30], fewer.lengths)
    if name == "click_maximiser":  # no draws of its own: chunks don't matter either
        monkeypatch.setattr(evaluation, "CHUNK", 7)
        assert np.array_equal(
            evaluate_policy(policy(name), WORLD, 50, seed=3).returns, found.returns
        )


def test_processes_find_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    users = evaluation.CHUNK + 10
    alone = evaluate_policy(policy("random"), WORLD, users, seed=3)
    shared = evaluate_policy(policy("random"), WORLD, users, seed=3, workers=2)
    assert np.array_equal(alone.returns, shared.returns)


def test_another_seed_brings_other_users() -> None:
    first, second = (evaluate_policy(policy("random"), WORLD, 20, seed=s) for s in (1, 2))
    assert not np.array_equal(first.returns, second.returns)


def test_google_plays_the_same_number_of_sessions() -> None:
    world = {**WORLD, "backend": "google"}
    found = evaluate_policy(policy("random"), world, 3, seed=1)
    assert len(found.returns) == 3
    assert found.backend == "google"


def test_an_evaluation_is_kept_in_a_file(tmp_path: Path) -> None:
    found = evaluate_policy(policy("random"), WORLD, 5, seed=1)
    found.save(tmp_path / "evaluation.npz")
    again = EvaluationResult.load(tmp_path / "evaluation.npz", "torch")
    assert np.array_equal(again.returns, found.returns)
    assert np.array_equal(again.lengths, found.lengths)
    assert again.summary() == found.summary()
    (tmp_path / "evaluation.npz").write_bytes(b"torn")
    with pytest.raises(ValueError, match="no whole evaluation"):
        EvaluationResult.load(tmp_path / "evaluation.npz", "torch")


def test_a_policy_of_another_world_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="expects the user features"):
        evaluate_policy(policy("random"), {"name": "long_term_satisfaction"}, 5, seed=1)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_command_reports_json() -> None:
    found = json.loads(run("random", "--users", "25", "--set", "env.slate_size=2", "--json"))
    assert (found["policy"], found["users"], found["backend"]) == ("random", 25, "torch")
    for name in ("return", "click_rate", "session_length", "watch_time", "quality"):
        assert found[name]["ci95"][0] < found[name]["mean"] < found[name]["ci95"][1]


def test_the_paired_difference_is_tighter_than_two_intervals() -> None:
    arguments = ("click_maximiser", "--users", "200", "--against", "random", "--json")
    found = json.loads(run(*arguments))
    mean = found["return"]["mean"] - found["other"]["return"]["mean"]
    assert found["difference"]["return"]["mean"] == pytest.approx(mean)
    same = json.loads(run("random", "--users", "20", "--against", "random", "--json"))
    assert same["difference"]["return"] == {"mean": 0.0, "ci95": [0.0, 0.0]}


def test_text_for_people() -> None:
    text = run("random", "--users", "20", "--against", "click_maximiser")
    assert text.splitlines()[0] == (
        "random on interest_evolution (torch), 20 users, seed 1000003, "
        "sampled at epsilon 1, temperature 0"
    )
    assert "random minus click_maximiser" in text


class Stopped(Exception):
    """What the caller's tick raises."""


@pytest.mark.parametrize("workers", [0, 2])
def test_an_evaluation_can_be_stopped(workers: int) -> None:
    def tick() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        evaluate_policy(
            policy("random"), WORLD, 2 * evaluation.CHUNK, 1, workers=workers, tick=tick
        )
