import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from algorithms.curves import draw_curves
from algorithms.policy import Policy
from algorithms.progress import TrainingProgress
from algorithms.run import Run
from algorithms.train import app
from algorithms.training import Signals

SMALL = {
    "train.env_steps": 4096,
    "train.users": 16,
    "train.fragment": 16,
    "train.checkpoint_every": 1024,
    "train.evaluate_every": 2048,
    "train.evaluate_users": 20,
    "evaluate.users": 30,
    "evaluate.backend": "torch",
    "slateq.stagger_steps": 8,
}
CLOCKS = {"steps_per_second", "wall_seconds", "train_cpu_seconds", "learner/cpu_seconds"}


def command(out: Path, *more: str, **changes: object) -> list[str]:
    values = {**SMALL, **changes}
    sets = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    return ["slateq", "--out", str(out), *sets, *more]


def numbers(run: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv without what depends on the machine's speed."""
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in CLOCKS}
            for row in csv.DictReader(file)
        ]


def weights(run: Path) -> bytes:
    return (run / "policy" / "policy.safetensors").read_bytes()


def stop_at(monkeypatch: pytest.MonkeyPatch, steps: int, number: int = signal.SIGINT) -> None:
    """Send a signal once, when the progress line reaches so many steps."""
    update = TrainingProgress.update

    def stopping(self: TrainingProgress, now: int, speed: float, mean_return: float) -> None:
        update(self, now, speed, mean_return)
        if now == steps:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(TrainingProgress, "update", stopping)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    result = CliRunner().invoke(app, command(out))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith(f"{out}: return ")
    return out


def test_a_run_folder_holds_what_others_need(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert names == {
        "checkpoints",
        "config.yaml",
        "curves.png",
        "evaluation.npz",
        "metrics.csv",
        "policy",
        "result.json",
        "run.json",
        "tensorboard",
    }
    assert {path.name for path in (whole / "checkpoints").iterdir()} == {
        "best",
        "step-000000003072",
        "step-000000004096",
    }


def test_the_result_says_what_it_cost_and_where_it_comes_from(whole: Path) -> None:
    result = json.loads((whole / "result.json").read_text())
    assert result["algorithm"] == "slateq"
    assert result["environment"] == "interest_evolution"
    assert (result["backend"], result["eval_users"], result["env_steps"]) == ("torch", 30, 4096)
    low, high = result["return_ci95"]
    assert low < result["return_mean"] < high
    for name in ("startup_cpu_seconds", "train_cpu_seconds", "eval_cpu_seconds", "wall_seconds"):
        assert result[name] > 0
    assert result["seed"] == 0
    assert {"ray", "torch", "rllib-recsim"} <= set(result["versions"])
    assert 0 < result["overhead_share"] < 1
    assert set(result["references"]) >= {"random", "click_maximiser"}


def test_rows_have_all_columns_from_the_first_on(whole: Path) -> None:
    rows = numbers(whole)
    assert [int(row["env_steps"]) for row in rows] == [1024, 2048, 3072, 4096]
    assert [bool(row["eval_return"]) for row in rows] == [False, True, False, False]


def test_a_replay_buffer_fills_before_anything_is_learned(tmp_path: Path) -> None:
    out = tmp_path / "run"
    replay = {"slateq.learning": "replay", "slateq.learning_starts": 3000}
    result = CliRunner().invoke(app, command(out, **replay))
    assert result.exit_code == 0, result.stderr
    assert [bool(row["learner/td_loss"]) for row in numbers(out)] == [False, False, True, True]


def test_the_policy_knows_its_world(whole: Path) -> None:
    policy = Policy.load(whole)
    assert policy.info["world"]["name"] == "interest_evolution"
    assert policy.info["env_steps"] == 4096


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_continues_with_the_same_numbers(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        stop_at(patched, 2048, number)
        stopped = CliRunner().invoke(app, command(out, **{"train.checkpoint_every": 10**6}))
    assert stopped.exit_code == 130
    assert stopped.stderr.splitlines()[-1] == (
        f"Stopped; 2,048 steps are saved, continue with: python -m algorithms.train --resume {out}"
    )
    assert not (out / "result.json").exists()
    spent = json.loads((out / "checkpoints" / "step-000000002048" / "state.json").read_text())
    resumed = CliRunner().invoke(app, ["--resume", str(out)])
    assert resumed.exit_code == 0, resumed.stderr
    assert weights(out) == weights(whole)
    assert numbers(out) == numbers(whole)
    result = json.loads((out / "result.json").read_text())
    assert result["return_mean"] == json.loads((whole / "result.json").read_text())["return_mean"]
    for purpose, seconds in spent["cpu_seconds"].items():
        assert result[f"{purpose}_cpu_seconds"] > seconds
    assert result["wall_seconds"] > spent["wall_seconds"]


def test_a_stop_asked_for_at_the_last_moment_is_saved_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, check = tmp_path / "run", Signals.check

    def asked_just_before(self: Signals) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        check(self)

    monkeypatch.setattr(Signals, "check", asked_just_before)
    stopped = CliRunner().invoke(app, command(out, **{"train.checkpoint_every": 10**6}))
    assert stopped.exit_code == 130
    assert "4,096 steps are saved" in stopped.stderr.splitlines()[-1]


def test_resuming_a_finished_run_repeats_its_result(whole: Path) -> None:
    before = (whole / "metrics.csv").stat().st_mtime_ns
    result = CliRunner().invoke(app, ["--resume", str(whole)])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{whole}: return ")
    assert (whole / "metrics.csv").stat().st_mtime_ns == before


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Policy.save

    def failing(self: Policy, folder: Path) -> None:
        if self.info["env_steps"] > 1024:
            raise OSError(28, "No space left on device")
        save(self, folder)

    monkeypatch.setattr(Policy, "save", failing)
    out = tmp_path / "run"
    result = CliRunner().invoke(app, command(out))
    assert result.exit_code == 1
    assert "No space left on device; 1,024 steps are saved" in result.stderr.splitlines()[-1]
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000000001024"]


@pytest.mark.parametrize("steps", [0, 1024])
def test_a_refusal_leaves_a_folder_only_where_there_is_something_to_continue(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(run: Run, checkpoint: object, clock: object) -> None:
        if steps:
            run.save_step(steps, lambda folder: None, {"env_steps": steps})
        raise ValueError("cannot be learned")

    monkeypatch.setattr("algorithms.train._train", refusing)
    out = tmp_path / "run"
    result = CliRunner().invoke(app, command(out))
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "cannot be learned\n")
    assert out.exists() == bool(steps)


def test_curves_are_drawn_before_there_is_a_result(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes((whole / "metrics.csv").read_bytes())
    draw_curves(tmp_path, "title")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_list_names_everything() -> None:
    text = CliRunner().invoke(app, ["--list"]).stdout
    for name in ("slateq", "random", "interest_evolution", "modified_long_term_satisfaction"):
        assert f"  {name}" in text


def test_without_workers_ray_is_not_started(tmp_path: Path) -> None:
    code = (
        "import sys, ray\n"
        "from algorithms.train import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "sys.exit(ray.is_initialized())"
    )
    arguments = command(tmp_path / "run", **{"train.env_steps": 1024})
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"warning" not in done.stderr.lower()


@pytest.mark.slow
@pytest.mark.usefixtures("no_cluster")
def test_two_workers_continue_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert CliRunner().invoke(app, command(whole, "--workers", "2")).exit_code == 0
    with monkeypatch.context() as patched:
        stop_at(patched, 2048)
        assert CliRunner().invoke(app, command(out, "--workers", "2")).exit_code == 130
    assert CliRunner().invoke(app, ["--resume", str(out)]).exit_code == 0
    assert weights(out) == weights(whole)
    assert numbers(out) == numbers(whole)
