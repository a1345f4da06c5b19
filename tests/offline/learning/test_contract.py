"""Every offline learner that is found trains, resumes and leaves an ordinary policy."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from algorithms.policy import Policy
from offline.learning.registry import agents, learner, learner_names
from offline.log import open_log
from offline.observed import observation
from offline.record import app as record_app
from offline.train import app

NAMES = learner_names()


def invoke(application: object, *arguments: object) -> str:
    result = CliRunner().invoke(application, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log") / "log"
    world = ("--set", "env.name=modified_long_term_satisfaction")
    invoke(record_app, "random", *world, "--users", 60, "--out", folder)
    return folder


@pytest.fixture(scope="module", params=NAMES)
def run(
    request: pytest.FixtureRequest, log: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp(request.param) / "run"
    settings = ("train.updates=4", "evaluate.users=10", "train.torch_threads=1")
    flags = [word for setting in settings for word in ("--set", setting)]
    invoke(app, request.param, "--data", log, "--out", out, *flags)
    return out


def test_names_configs_and_summaries() -> None:
    assert {"bc", "marwil"} <= set(NAMES)
    listed = invoke(app, "--list")
    for name in NAMES:
        assert f"{name} " in listed and learner(name).summary in listed
        assert (resources.files("configs") / "offline" / f"{name}.yaml").is_file()
    assert len(agents()) == len(NAMES)


def test_the_result_says_what_was_done(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["algorithm"] == run.parent.name.rstrip("0123456789")
    assert result["updates"] == 4 and result["env_steps"] > 0
    low, high = result["return_ci95"]
    assert low < result["return_mean"] < high
    assert result["environment"] == "modified_long_term_satisfaction"
    assert 0 < result["references"]["logged"] < 200
    assert result["coverage"]["rows"] > 0


def test_the_policy_is_an_ordinary_one(run: Path, log: Path) -> None:
    policy = Policy.load(run)
    rows = next(open_log(log).sessions())
    if policy.history.to_json() == open_log(log).header.history.to_json():
        seen = observation(rows)
        assert policy.recommend(seen, explore=False).slates.shape == (len(rows), 1)
    again = Policy.load(run)
    for name, value in policy.agent.state_dict().items():
        assert torch.equal(value, again.agent.state_dict()[name])
    assert policy.info["world"]["name"] == "modified_long_term_satisfaction"


def test_loading_it_needs_neither_ray_nor_a_log_reader(run: Path) -> None:
    program = (
        "import sys\n"
        "from algorithms.policy import Policy\n"
        f"Policy.load({str(run)!r})\n"
        "loaded = {'ray', 'pyarrow', 'simdjson', 'recsim'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_finished_run_is_not_run_again(run: Path) -> None:
    before = (run / "result.json").read_bytes()
    assert invoke(app, "--resume", run).startswith(f"{run}: return ")
    assert (run / "result.json").read_bytes() == before
