"""Two runs with one seed give one answer, and another seed gives another: whatever learns.

Every algorithm and offline learner that the registries find, without workers. The
contract tests show the same of runs that were stopped and continued.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from algorithms.accounting import Clock
from algorithms.cluster import ray_running
from algorithms.comparison.runs import Silent
from algorithms.config import load_config
from algorithms.evaluation import evaluate_policy
from algorithms.metrics import read_rows
from algorithms.policy import Policy
from algorithms.registry import algorithm, algorithm_names
from algorithms.run import create_run
from algorithms.training import Training
from offline.learning.config import load_config as load_offline
from offline.learning.loop import OfflineTraining
from offline.learning.registry import learner_names
from offline.learning.run import create_run as create_offline
from offline.record import app as record_app
from tests.algorithms.test_contract import CLOCKS, SMALLER

ROOT = Path(__file__).parents[2]
TINY = ("train.env_steps=256", "train.users=8", "train.fragment=8", "train.evaluate_every=null")
TABLES = ("train.env_steps=4096", "train.users=64", "train.fragment=16")
"""Enough to find a reward on the frozen lake: else tables would all stay at 0."""
OFFLINE = ("train.updates=4", "train.evaluate_every=2")
CLOCKS_OFFLINE = ("updates_per_second",)


def folder_of(name: str) -> str:
    """The package of an algorithm."""
    return algorithm(name).agent.__module__.split(".")[1]


def first_of_each_folder() -> list[str]:
    """One algorithm of each package; the others are slow tests."""
    return list({folder_of(name): name for name in reversed(algorithm_names())}.values())


every_algorithm = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in first_of_each_folder() else pytest.mark.slow)
        for name in algorithm_names()
    ],
)
every_learner = pytest.mark.parametrize("name", learner_names())
every_seed = (0, 0, 1)


class Never:
    """A user who never stops anything."""

    asked = False

    def check(self) -> None:
        """Go on."""


def digest(folder: Path, policy: Policy, found: list[float]) -> str:
    """A short name for all numbers of a run: weights, metrics, and what its users returned."""
    policy.save(folder / "final")
    rows = [
        {key: str(value) for key, value in row.items() if key not in (*CLOCKS, *CLOCKS_OFFLINE)}
        for row in read_rows(folder / "metrics.csv")
    ]
    assert rows
    numbers = json.dumps([rows, found]).encode()
    weights = (folder / "final" / "policy.safetensors").read_bytes()
    return hashlib.sha256(weights + numbers).hexdigest()


def online(name: str, out: Path, seed: int) -> str:
    """All numbers of a short run and of a few users' sessions with what it learned."""
    fields = algorithm(name).settings.model_fields
    smaller = [f"{name}.{key}={json.dumps(v)}" for key, v in SMALLER.items() if key in fields]
    more = TABLES if folder_of(name) == "tabular" else ()
    sets = [*TINY, *more, *smaller, "evaluate.backend=torch"]
    config = load_config(name, None, sets, {"seed": seed})
    with ray_running(0):
        training = Training(create_run(config, out), None, Clock())
        training.loop(Silent(), Never())
        policy = training.policy()
        returns = evaluate_policy(policy, config.world, 5, seed=3, explore=True).returns
        training.algo.stop()
    return digest(out, policy, returns.tolist())


def offline(name: str, log: Path, out: Path, seed: int) -> str:
    """The same of an offline learner; its log does not change with the seed."""
    sizes = [f"{name}.minibatch_size=16", f"{name}.hidden=[8]"]
    config = load_offline(name, None, [*OFFLINE, *sizes], {"data": [str(log)], "seed": seed})
    training = OfflineTraining(create_offline(config, None, out), None, Clock({"read": 0.0}))
    try:
        training.loop(Silent(), Never())
    finally:
        training.close()
    return digest(out, training.policy(), [])


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of slates of one item, as every learner takes."""
    folder = tmp_path_factory.mktemp("recorded") / "log"
    words = ["random", "--users", "6", "--set", "env.slate_size=1", "--out", str(folder)]
    done = CliRunner().invoke(record_app, words)
    assert done.exit_code == 0, done.output
    return folder


@every_algorithm
def test_one_seed_gives_an_algorithm_one_answer(name: str, tmp_path: Path) -> None:
    first, again, other = (
        online(name, tmp_path / str(number), seed) for number, seed in enumerate(every_seed)
    )
    assert first == again != other


@every_learner
def test_one_seed_gives_an_offline_learner_one_answer(name: str, log: Path, tmp_path: Path) -> None:
    first, again, other = (
        offline(name, log, tmp_path / str(number), seed) for number, seed in enumerate(every_seed)
    )
    assert first == again != other


def answers(folder: Path, log: Path, names: list[str]) -> dict[str, str]:
    """Of every algorithm and learner in this order, in this process."""
    found = {}
    for name in names:
        kind, _, what = name.partition(":")
        made: Any = online if kind == "online" else offline
        where = folder / f"{kind}-{what}"
        found[name] = made(what, where, 0) if kind == "online" else made(what, log, where, 0)
    return found


_PROGRAM = """
import json, sys
from pathlib import Path
from algorithms.cluster import quiet
quiet()
from tests.algorithms.test_seeds import answers
folder, log, names = sys.argv[1:]
print(json.dumps(answers(Path(folder), Path(log), json.loads(names))))
"""


@pytest.mark.slow
def test_fresh_processes_agree_whatever_ran_before(log: Path, tmp_path: Path) -> None:
    """Two processes that hash words differently, and run everything in opposite orders."""
    names = [f"online:{name}" for name in algorithm_names()]
    names += [f"offline:{name}" for name in learner_names()]
    found = []
    for hashing, order in (("1", names), ("2", names[::-1])):
        folder = tmp_path / hashing
        folder.mkdir()
        words = [sys.executable, "-c", _PROGRAM, str(folder), str(log), json.dumps(order)]
        environment = {**os.environ, "PYTHONHASHSEED": hashing, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            words, check=True, cwd=ROOT, env=environment, capture_output=True, text=True
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert found[0] == found[1]
    assert len(found[0]) == len(names)
