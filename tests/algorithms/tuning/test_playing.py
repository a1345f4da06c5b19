"""One trial, from reading to reading, without Ray."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from algorithms import strict_yaml, train
from algorithms.evaluation import evaluate_policy
from algorithms.layers import ConfigError
from algorithms.policy import Policy
from algorithms.run import read_run
from algorithms.training import Interrupted
from algorithms.tuning import playing
from algorithms.tuning.plan import Plan
from algorithms.tuning.playing import Diverged, Playing, failure_file, judge
from algorithms.tuning.trials import Reading
from tests.algorithms.tuning.conftest import tiny

SETTINGS = {"linucb.alpha": 0.5}
# An iteration is four rounds of 10 users and 10 steps.
BUDGET, READINGS = 3600, [400, 1200, 3600]


def trial(path: Path, settings: dict[str, object] = SETTINGS, **values: object) -> Playing:  # type: ignore[assignment]
    plan = tiny(train__env_steps=BUDGET, **values)
    return Playing(plan, path, settings, path.with_name(".stop"))


@dataclass
class Whole:
    """A trial that was never stopped.

    Attributes:
        path: its run folder.
        plan: of its search.
        readings: of it.
        met: seeds of the users that it was evaluated with.
    """

    path: Path
    plan: Plan
    readings: list[Reading]
    met: set[int]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    path = tmp_path_factory.mktemp("trials") / "0001"
    met: set[int] = set()
    play = playing.evaluate_policy

    def watched(policy, world, users, seed, **more):  # type: ignore[no-untyped-def]
        met.add(seed)
        return play(policy, world, users, seed, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(playing, "evaluate_policy", watched)
        patched.setattr("algorithms.training.evaluate_policy", watched)
        # An evaluation for the curve would meet the users of the curve.
        played = trial(path, train__evaluate_every=10)
        readings = [played.advance() for _ in range(3)]
        played.close()
    return Whole(path, tiny(train__env_steps=BUDGET), readings, met)


def test_readings_come_in_order_and_the_last_leaves_a_policy(whole: Whole) -> None:
    assert [reading.steps for reading in whole.readings] == READINGS
    policy = Policy.load(whole.path / "policy")
    found = evaluate_policy(policy, whole.plan.world, 20, whole.plan.tuning_seed).mean_return
    last = whole.readings[-1]
    assert (last.mean, last.low, last.high) == (found.mean, found.low, found.high)


def test_the_reported_users_are_never_played(whole: Whole) -> None:
    assert whole.met == {whole.plan.tuning_seed}


def test_a_trial_is_the_run_that_train_makes_of_its_settings(whole: Whole, tmp_path: Path) -> None:
    """The same weights to the last bit, though the trial was looked at and saved on the way."""
    file, out = tmp_path / "best.yaml", tmp_path / "run"
    file.write_text(strict_yaml.dump(whole.plan.best_config(SETTINGS)))
    trained = CliRunner().invoke(train.app, ["linucb", "--config", str(file), "--out", str(out)])
    assert trained.exit_code == 0, trained.output
    name = "policy/policy.safetensors"
    assert (out / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_stop_is_heard_and_the_trial_continues_as_if_it_had_not_been(
    whole: Whole, tmp_path: Path
) -> None:
    cut = trial(tmp_path / "0001")
    first = cut.advance()
    cut.close()
    (tmp_path / ".stop").touch()
    with pytest.raises(Interrupted):
        trial(tmp_path / "0001").advance()
    (tmp_path / ".stop").unlink()
    again = trial(tmp_path / "0001")
    assert [first, again.advance(), again.advance()] == whole.readings


def test_settings_that_cannot_be_leave_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        trial(tmp_path / "0001", {"linucb.window": 5, "linucb.discount": 0.9}).advance()
    said = failure_file(tmp_path / "0001").read_text()
    assert said.endswith("window is 5 and discount 0.9; forget by one of them")
    assert "Traceback" in (tmp_path / "0001.traceback.txt").read_text()


def test_a_trial_that_diverged_has_failed(whole: Whole) -> None:
    policy = Policy.load(whole.path / "policy")
    assert judge(policy, whole.plan, BUDGET) == whole.readings[-1]
    state = policy.agent.state_dict()
    name = next(name for name, value in state.items() if value.is_floating_point())
    state[name].fill_(torch.nan)
    policy.agent.load_state_dict(state)
    with pytest.raises(Diverged, match=r"not finite after 3,600 steps; it has diverged"):
        judge(policy, whole.plan, BUDGET)


def test_a_damaged_run_folder_is_played_anew(whole: Whole, tmp_path: Path) -> None:
    path = tmp_path / "0001"
    (path / "checkpoints" / "step-000000000400").mkdir(parents=True)
    (path / "run.json").write_text("{")
    assert trial(path).advance() == whole.readings[0]


def test_the_run_of_another_trial_is_not_taken_over(whole: Whole, tmp_path: Path) -> None:
    """As is left where the user removed the file of a damaged trial."""
    path = tmp_path / "0001"
    shutil.copytree(whole.path, path)
    kept = trial(path)
    assert kept.advance() == whole.readings[-1]
    kept.close()
    other = {"linucb.alpha": 5.0}
    begun = trial(path, other)
    assert begun.advance().steps == READINGS[0]
    begun.close()
    assert read_run(path).config.settings["alpha"] == 5.0
