"""`python -m offline.train` from a log to a run folder."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from algorithms.policy import Policy
from offline.log import LogWriter
from offline.record import app as record_app
from offline.train import app
from tests.offline.log.made import HEADER, make_rows


def invoke(application: object, *arguments: object) -> str:
    result = CliRunner().invoke(application, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random slates of a world that is quickly played."""
    folder = tmp_path_factory.mktemp("log") / "log"
    world = ("--set", "env.name=modified_long_term_satisfaction")
    invoke(record_app, "random", *world, "--users", 120, "--out", folder)
    return folder


def test_a_run_folder_holds_all_that_comes_out(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small = ("--set", "evaluate.users=20", "--set", "train.epochs=2")
    said = invoke(app, "bc", "--data", log, "--out", out, *small)
    result = json.loads((out / "result.json").read_text())
    last = said.splitlines()[-1]
    assert last.startswith(f"{out}: return {result['return_mean']:.1f} [")
    for name in ("config.yaml", "metrics.csv", "curves.png", "policy/policy.json", "tensorboard"):
        assert (out / name).exists()
    assert Policy.load(out).algorithm == "bc"
    assert result["environment"] == "modified_long_term_satisfaction"
    assert result["env_steps"] == 2 * result["rows"]
    # 1,200 rows less about 5 % of the sessions.
    assert 1000 < result["rows"] < 1200
    assert result["rows"] + result["held_out_rows"] == 1200


@pytest.mark.usefixtures("no_cluster")
def test_two_learners_end_where_one_process_does(log: Path, tmp_path: Path) -> None:
    small = ("--set", "evaluate.users=20", "--set", "train.updates=6")
    found = []
    for workers in (0, 2):
        out = tmp_path / str(workers)
        invoke(app, "marwil", "--data", log, "--out", out, "--workers", workers, *small)
        found.append(json.loads((out / "result.json").read_text()))
    here, shared = found
    assert shared["workers"] == 2 and shared["updates"] == here["updates"] == 6
    for name, value in here["held_out"].items():
        assert shared["held_out"][name] == pytest.approx(value, rel=1e-3, abs=1e-5)


def test_a_log_of_no_world_of_ours_ends_with_a_loss(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log", HEADER) as writer:
        writer.write(make_rows(sessions=60))
    out, small = tmp_path / "run", ("--set", "train.epochs=1")
    said = invoke(app, "bc", "--data", tmp_path / "log", "--out", out, *small).splitlines()[-1]
    result = json.loads((out / "result.json").read_text())
    loss, rows = result["held_out"]["loss"], result["held_out_rows"]
    assert said == f"{out}: held-out loss {loss:.4f} over {rows} rows" and rows > 0
    assert result["return_mean"] is None and result["environment"] is None


def test_ctrl_c_saves_and_the_run_goes_on(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    budget = ("--set", "train.epochs=100000", "--set", "evaluate.users=20")
    command = [sys.executable, "-m", "offline.train", "bc", "--data", log, "--out", out, *budget]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "metrics.csv").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    last = said.splitlines()[-1]
    assert last.startswith("Stopped; ") and f"python -m offline.train --resume {out}" in last
    assert "Traceback" not in said
    assert list((out / "checkpoints").glob("step-*"))


def test_a_run_goes_on_from_another_folder_whatever_named_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LogWriter(tmp_path / "log", HEADER) as writer:
        writer.write(make_rows(sessions=60))
    monkeypatch.chdir(tmp_path)
    small = ("--set", "train.updates=2", "--set", "bc.hidden=[8]")
    invoke(app, "bc", "--set", "data=[log]", "--out", "first", *small)
    invoke(app, "bc", "--data", "log", "--set", "init=first", "--out", "second", *small)
    monkeypatch.chdir("/")
    for name in ("first", "second"):
        (tmp_path / name / "result.json").unlink()
        assert "held-out loss" in invoke(app, "--resume", tmp_path / name)


def test_slates_of_several_sizes_make_a_policy_of_the_size_asked_for(tmp_path: Path) -> None:
    for name, slots in (("a", 2), ("b", 3)):
        with LogWriter(tmp_path / "log", HEADER, name=name) as writer:
            writer.write(make_rows(sessions=60, slots=slots, seed=slots))
    out = tmp_path / "run"
    invoke(app, "bc", "--data", tmp_path / "log", "--out", out, "--set", "slate_size=3")
    assert Policy.load(out).slate_size == 3


def test_the_evaluation_and_the_file_are_those_asked_for(log: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train: {updates: 1}\nevaluate: {users: 10}\n")
    found = []
    for number, (seed, backend) in enumerate(((1, "torch"), (2, "torch"), (1, "google"))):
        flags = ("--set", f"evaluate.seed={seed}", "--set", f"evaluate.backend={backend}")
        out = tmp_path / str(number)
        invoke(app, "bc", "--data", log, "--config", file, "--out", out, *flags)
        result = json.loads((out / "result.json").read_text())
        assert result["updates"] == 1 and result["eval_users"] == 10
        assert result["backend"] == backend
        found.append(result["return_mean"])
    assert found[0] != found[1] and found[0] != found[2]
