"""`python -m offline.train` from a log to a run folder."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from algorithms.policy import Policy
from offline.record import app as record_app
from offline.train import app


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
