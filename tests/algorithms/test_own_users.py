"""SlateQ on users of one's own, from the example's module and from the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from algorithms.slateq import SlateQConfig
from envs.recsim.importing import load

EXAMPLE = Path(__file__).parents[2] / "docs" / "own_users.py"

WITH_APPEAL = """
import numpy as np
from docs.own_users import *
from envs.recsim import compose

class Open(Reader):
    def create_observation(self):
        return {"taste": self.taste}

    def observation_space(self):
        return spaces.Dict({"taste": spaces.Box(0.0, 1.0, (4,))})

class OpenSampler(ReaderSampler):
    def sample_user(self):
        return Open(self._rng.uniform(0.2, 0.8, 4))

def open_readers(num_candidates=6, slate_size=2):
    return compose(
        lambda: ReaderModel(LTSResponse, OpenSampler(Open), slate_size),
        lambda: ArticleSampler(Article),
        clicked_engagement_reward,
        num_candidates,
        slate_size,
        appeal=("taste", "topic"),
    )
"""


def config(name: str, workers: int, **settings: object) -> SlateQConfig:
    base = SlateQConfig().environment(name, env_config={"num_candidates": 6})
    base.env_runners(num_env_runners=workers, num_envs_per_env_runner=16)
    base.env_runners(rollout_fragment_length=16)
    scale = {"value_scale": 5.0, "initial_value": 15.0, "stagger_steps": 8, "hidden": (16,)}
    return base.training(**{**scale, **settings}).debugging(seed=1)


@pytest.mark.usefixtures("cluster")
def test_slateq_trains_on_the_example_with_a_worker() -> None:
    settings = {"choice_scores": "learned", "choice_model": "multinomial_logit"}
    algo = config("docs.own_users:readers", 1, **settings).build_algo()
    losses = []
    for _ in range(3):
        result = algo.train()
        losses.append(result["learners"]["default_policy"]["choice_loss"])
        assert np.isfinite(result["learners"]["default_policy"]["td_loss"])
    # 3 iterations of 4 fragments of 16 steps of 16 users.
    assert algo.env_steps == 3072
    assert algo.env_runner_group.num_healthy_remote_env_runners() == 1
    # Five steps without a click end a session, and each click rewards 1.
    assert 5.0 <= result["env_runners"]["episode_len_mean"]
    assert losses[-1] < np.log(3)  # of two articles and no click, knowing nothing
    algo.stop()


@pytest.mark.usefixtures("cluster")
def test_a_named_appeal_lets_slateq_assume_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open_world.py").write_text(WITH_APPEAL)
    monkeypatch.chdir(tmp_path)
    load("docs.own_users")
    algo = config("open_world:open_readers", 0).build_algo()
    result = algo.train()
    assert algo.env_steps == 1024
    assert np.isfinite(result["learners"]["default_policy"]["td_loss"])
    algo.stop()


@pytest.mark.usefixtures("cluster")
def test_without_appeal_the_error_says_what_to_set() -> None:
    with pytest.raises(ValueError, match=r"choice_scores: learned.*name the appeal of your own"):
        config("docs.own_users:readers", 0).build_algo()


@pytest.mark.slow
def test_a_module_of_the_working_directory_trains_with_a_worker(tmp_path: Path) -> None:
    (tmp_path / "my_readers.py").write_text(EXAMPLE.read_text())
    settings = {
        "env.name": "my_readers:readers",
        "train.env_steps": 2048,
        "train.users": 32,
        "train.fragment": 16,
        "train.evaluate_every": "null",
        "evaluate.users": 50,
        "slateq.choice_scores": "learned",
        "slateq.choice_model": "multinomial_logit",
    }
    command = [sys.executable, "-m", "algorithms.train", "slateq", "--workers", "1"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [*command, "--out", "run"],
        cwd=tmp_path,
        env={**environment, "RAY_ADDRESS": "local"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "over 50 users" in done.stdout.splitlines()[-1]
