"""Every mistake of a user ends in one sentence on standard error and status 2."""

import importlib.util
import json
import socket
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from algorithms.config import load_config
from algorithms.evaluate import app as evaluate_app
from algorithms.run import create_run
from algorithms.train import app as train_app


def sentence(app: typer.Typer, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in lines[0]
    return lines[0]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(load_config("slateq"), tmp_path / "run").path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["slateqq"], "unknown algorithm 'slateqq'; did you mean 'slateq'?"),
        ([], "name an algorithm to train"),
        (["slateq", "--set", "env.name=interest_evolutoin"], "did you mean 'interest_evolution'?"),
        (["slateq", "--set", "env.name=nothing:There"], "cannot import 'nothing'"),
        (["slateq", "--set", "trian.users=3"], "did you mean 'train'?"),
        (["slateq", "--set", "train.users=many"], "train.users is many"),
        (["slateq", "--set", "env.slate_size=11"], "only 10 candidates are offered"),
        (["slateq", "--set", "env.num_candidates=-1"], "num_candidates is -1"),
        (["slateq", "--set", "train.fragment=0"], "train.fragment is 0"),
        (["slateq", "--workers", "-1"], "--workers: workers is -1"),
        (["slateq", "--seed", "-1"], "--seed: seed is -1"),
        (["slateq", "--config", "absent.yaml"], "cannot read the config absent.yaml"),
        (["slateq", "--address", "nowhere"], "write it as host:port"),
        (["slateq", "--set", "env.name=Pendulum-v1"], "slateq picks among candidates"),
        (["slateq", "--set", "env.name=CartPole-v1"], "declares no appeal"),
        (["ppo", "--set", "env.name=CartPole-v9"], "did you mean 'CartPole-v1'?"),
        (["ppo", "--set", "ppo.epsilon=0.1"], "explores by its own policy"),
        (["--resume", "absent"], "absent is not a run folder"),
    ],
)
def test_training(arguments: list[str], message: str) -> None:
    assert message in sentence(train_app, *arguments)


MADE = "picks among candidates (discrete actions), but in this environment an agent makes"


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("dqn", ["env.name=Pendulum-v1"], MADE),
        ("q_learning", ["env.name=Pendulum-v1"], MADE),
        ("ucb1", ["env.name=Pendulum-v1"], MADE),
        ("dqn", ["dqn.actions=items"], "slate_size is 3, and dqn with actions 'items'"),
        ("q_learning", ["env.name=interest_evolution"], "and q_learning chooses one item"),
        ("ucb1", ["env.name=modified_long_term_satisfaction"], "no candidate feature tells arms"),
        (
            "dqn",
            ["env.num_candidates=50", "env.slate_size=5"],
            "50 candidates make 2,118,760 slates of 5, and full-slate Q values each of at most",
        ),
        (
            "ppo",
            ["ppo.entropy=exact", "env.num_candidates=50", "env.slate_size=4"],
            "would enumerate 5,527,200 ordered slates (4 of 50 candidates), more than 200,000; "
            "set entropy to 'shown'",
        ),
    ],
)
def test_a_world_that_the_algorithm_cannot_play(
    name: str, overrides: list[str], message: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    flags = [word for override in overrides for word in ("--set", override)]
    found = sentence(train_app, name, "--out", out, *flags)
    assert message in found
    sources = found.partition(": ")[0].split(", ")
    assert set(sources) == {f"--set {override}" for override in overrides}
    assert not out.exists()


BLENDED = """
import numpy as np
from docs.own_users import *

class Blend(Article):
    def create_observation(self):
        return {"mix": np.array([0.25, 0.75])}

    def observation_space(self):
        return spaces.Dict({"mix": spaces.Box(0.0, 1.0, (2,))})

class BlendSampler(ArticleSampler):
    def sample_document(self):
        return Blend(self._rng.randint(2**62))

def readers(num_candidates=6, slate_size=2):
    return compose(
        lambda: ReaderModel(LTSResponse, ReaderSampler(Reader), slate_size),
        lambda: BlendSampler(Blend),
        clicked_engagement_reward,
        num_candidates,
        slate_size,
    )
"""


@pytest.mark.parametrize(
    ("name", "setting"), [("ucb1", "ucb1.window=5"), ("linucb", "linucb.models=per_arm")]
)
def test_items_that_name_no_arm(
    name: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blended_world.py").write_text(BLENDED)
    monkeypatch.chdir(tmp_path)
    flags = ["--set", "env.name=blended_world:readers", "--set", setting]
    message = "'mix' should hold zeros and at most a single one, the arm, but one item has [0.25"
    assert message in sentence(train_app, name, "--out", "run", *flags)
    assert not Path("run").exists()


def test_a_duplicate_key(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("seed: 1\nseed: 2\n")
    assert "line 2: the key 'seed' stands there twice" in sentence(
        train_app, "slateq", "--config", file
    )


def test_an_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    assert "cannot write the run folder" in sentence(train_app, "slateq", "--out", out)


def test_a_folder_in_use(run: Path) -> None:
    assert "is there already" in sentence(train_app, "slateq", "--out", run)


def test_resuming_what_is_no_run(tmp_path: Path, run: Path) -> None:
    assert "is not a run folder" in sentence(train_app, "--resume", tmp_path)
    assert "has no checkpoint yet" in sentence(train_app, "--resume", run)
    assert "not of 'other'" in sentence(train_app, "other", "--resume", run)
    assert "--seed has no place" in sentence(train_app, "--resume", run, "--seed", 3)


def test_a_newer_run_folder(run: Path) -> None:
    about = run / "run.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "format": 2}))
    message = "of version 2, newer than this installation's 1"
    assert message in sentence(train_app, "--resume", run)
    assert message in sentence(evaluate_app, run)


def test_a_damaged_checkpoint(run: Path) -> None:
    folder = run / "checkpoints" / "step-000000000100"
    folder.mkdir()
    (folder / "checksums.json").write_text(json.dumps({"state.json": "0"}))
    message = sentence_after_warning("--resume", str(run))
    assert "every checkpoint of" in message
    assert "state.json is missing" in message


def sentence_after_warning(*arguments: str) -> str:
    result = CliRunner().invoke(train_app, list(arguments))
    assert result.exit_code == 2
    return result.stderr.splitlines()[-1]


def test_recsim_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without_recsim(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "recsim" else find(name, package)

    monkeypatch.setattr("importlib.util.find_spec", without_recsim)
    monkeypatch.delitem(__import__("sys").modules, "recsim", raising=False)
    install = "pip install --no-deps recsim==0.2.4"
    out = tmp_path / "run"
    assert install in sentence(train_app, "slateq", "--out", out)
    assert install in sentence(train_app, "slateq", "--set", "env.backend=google", "--out", out)
    assert install in sentence(evaluate_app, "random", "--backend", "google")
    assert not out.exists()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Something that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_cluster_that_does_not_answer(silent_port: int) -> None:
    began = time.monotonic()
    address = f"127.0.0.1:{silent_port}"
    assert f"no Ray cluster answers at {address}" in sentence(
        train_app, "slateq", "--address", address
    )
    assert time.monotonic() - began < 15


def test_a_cluster_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert "Connection refused" in sentence(train_app, "slateq", "--address", address)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["randm"], "did you mean 'random'?"),
        (["absent"], "'absent' is neither a run folder nor a baseline"),
        (["random", "--users", "0"], "--users is 0"),
        (["random", "--seed", "-1"], "--seed is -1"),
        (["random", "--backend", "gogle"], "backend is 'gogle'; allowed are: torch, google"),
        (["random", "--set", "train.users=3"], "unknown key 'train'"),
        (["random", "--set", "env.slate_siz=3"], "did you mean 'slate_size'?"),
        (["random", "--set", "env.slate_size=99"], "only 10 candidates are offered"),
        (["random", "--against", "randm"], "did you mean 'random'?"),
        (["random", "--set", "env.name=Pendulum-v1"], "random picks among candidates"),
    ],
)
def test_evaluation(arguments: list[str], message: str) -> None:
    assert message in sentence(evaluate_app, *arguments)


def test_evaluating_what_holds_no_policy(tmp_path: Path, run: Path) -> None:
    assert "holds no policy" in sentence(evaluate_app, tmp_path)
    assert "its training has not ended" in sentence(evaluate_app, run)
