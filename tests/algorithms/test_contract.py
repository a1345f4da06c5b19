"""What every algorithm that can be trained keeps to, found by the registry.

Each plays the world of its own file in `configs/`, a few steps of it. One that is
added later is covered without a line here.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from algorithms import strict_yaml, train
from algorithms.cluster import ray_running
from algorithms.comparison.plots import CONVERGENCE
from algorithms.config import load_config
from algorithms.core.slates import SlateDistribution
from algorithms.evaluate import app as evaluate_app
from algorithms.metrics import read_rows
from algorithms.policy import Policy
from algorithms.progress import TrainingProgress
from algorithms.registry import algorithm, algorithm_names
from algorithms.run import read_run
from algorithms.training import build
from envs.registry import make_simulator
from envs.simulator import Observation

ROOT = Path(__file__).parents[2]
STEPS = 2048
TINY = {
    "train.env_steps": STEPS,
    "train.users": 16,
    "train.fragment": 16,
    "train.checkpoint_every": STEPS // 2,
    "train.evaluate_every": None,
    "evaluate.users": 20,
    "evaluate.backend": "torch",
}
SMALLER = {"stagger_steps": 4, "hidden": [16], "minibatch_size": 64}
"""Settings of algorithms that have them; the others keep their own."""
CLOCKS = ("steps_per_second", "wall_seconds", "train_cpu_seconds", "learner/cpu_seconds")
every_algorithm = pytest.mark.parametrize("name", algorithm_names())


@dataclass
class Trained:
    """A finished run and what the command said."""

    path: Path
    output: Result


def train_tiny(name: str, out: Path) -> Result:
    """Through the command's own code, in this process."""
    settings = {
        f"{name}.{key}": value
        for key, value in SMALLER.items()
        if key in algorithm(name).settings.model_fields
    }
    words = [
        word
        for key, value in {**TINY, **settings}.items()
        for word in ("--set", f"{key}={json.dumps(value)}")
    ]
    return CliRunner().invoke(train.app, [name, "--out", str(out), "--workers", "0", *words])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """Runs that were never stopped, by algorithm, made when they are first asked for."""
    folder = tmp_path_factory.mktemp("runs")

    class Runs(dict[str, Trained]):
        def __missing__(self, name: str) -> Trained:
            self[name] = Trained(folder / name, train_tiny(name, folder / name))
            return self[name]

    return Runs()


def weights(run: Path) -> bytes:
    return (run / "policy" / "policy.safetensors").read_bytes()


def numbers(run: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv, but for what depends on the machine's speed."""
    return [
        {key: str(value) for key, value in row.items() if key not in CLOCKS}
        for row in read_rows(run / "metrics.csv")
    ]


@every_algorithm
def test_it_trains(name: str, runs: dict[str, Trained]) -> None:
    trained = runs[name]
    assert trained.output.exit_code == 0, trained.output.output
    result = json.loads((trained.path / "result.json").read_text())
    assert (result["algorithm"], result["env_steps"]) == (name, STEPS)
    assert math.isfinite(result["return_mean"])
    assert Policy.load(trained.path).algorithm == name


@every_algorithm
def test_its_rows_show_what_a_comparison_draws(name: str, runs: dict[str, Trained]) -> None:
    last = read_rows(runs[name].path / "metrics.csv")[-1]
    assert "return_mean" in last  # NaN where no session has ended yet
    told = ["reward_per_step", "click_per_step", "non_greedy_per_step"]
    told.append(next(column for column in CONVERGENCE if column in last))
    assert all(math.isfinite(last[column]) for column in told), last


@every_algorithm
def test_training_changes_what_it_would_show(name: str, runs: dict[str, Trained]) -> None:
    # Weights would not do: counters and posterior draws change with every update.
    path = runs[name].path
    policies = (Policy(build(read_run(path).config).agent()), Policy.load(path))
    observation = observed(path, users=400, steps=20)
    fresh, learned = (policy.recommend(observation, explore=False) for policy in policies)
    assert bool((fresh.slates != learned.slates).any())


@every_algorithm
def test_a_stopped_run_continues_with_the_same_numbers(
    name: str, runs: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, out = TrainingProgress.update, tmp_path / "run"

    def stopping(self: TrainingProgress, now: int, speed: float, mean_return: float) -> None:
        update(self, now, speed, mean_return)
        if now == STEPS // 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingProgress, "update", stopping)
        assert train_tiny(name, out).exit_code == 130
    assert not (out / "result.json").exists()
    resumed = CliRunner().invoke(train.app, ["--resume", str(out)])
    assert resumed.exit_code == 0, resumed.output
    assert weights(out) == weights(runs[name].path)
    assert numbers(out) == numbers(runs[name].path)


def observed(run: Path, users: int = 8, steps: int = 3) -> Observation:
    """What some users show in the middle of their sessions."""
    config = read_run(run).config
    policy = Policy.load(run)
    world = {**config.world, "history": policy.history.to_json()}
    simulator = make_simulator(num_users=users, seed=5, **world)
    observation = simulator.reset()
    for _ in range(steps):
        shown = policy.recommend(observation, generator=torch.Generator().manual_seed(1))
        observation = simulator.step(shown.slates).observation
    return observation


_LOADING = """
import sys
from pathlib import Path
import numpy as np
import torch
from algorithms.policy import Policy
from envs.simulator import Observation
for folder in sys.argv[1:]:
    with np.load(Path(folder) / "seen.npz") as seen:
        observation = Observation(*(torch.from_numpy(seen[n]) for n in Observation._fields))
    policy, found = Policy.load(folder), {}
    for explore in (False, True):
        shown = policy.recommend(
            observation, explore=explore, generator=torch.Generator().manual_seed(3)
        )
        found[f"slates_{explore}"] = shown.slates.numpy()
        found[f"log_prob_{explore}"] = shown.slot_log_probs.numpy()
    np.savez(Path(folder) / "shown.npz", **found)
beyond = [name for name in sys.modules if name.split(".")[0] in ("ray", "recsim", "gin")]
assert not beyond, beyond
"""


@pytest.fixture(scope="module")
def portable(runs: dict[str, Trained]) -> dict[str, Path]:
    """What one process without Ray recommends with every exported policy, by algorithm."""
    folders = {name: runs[name].path for name in algorithm_names()}
    for folder in folders.values():
        arrays = {k: v.numpy() for k, v in observed(folder)._asdict().items()}
        np.savez(folder / "seen.npz", **arrays)
    subprocess.run(
        [sys.executable, "-c", _LOADING, *map(str, folders.values())], check=True, cwd=ROOT
    )
    return folders


@every_algorithm
def test_the_portable_policy_recommends_what_the_trained_agent_would(
    name: str, portable: dict[str, Path]
) -> None:
    folder = portable[name]
    run = read_run(folder)
    with ray_running(0):
        algo = build(run.config)
        algo.restore_from_path(str((run.latest().path / "rllib").resolve()))
    trained = Policy(algo.agent(), exploration=Policy.load(folder).exploration)
    observation = observed(folder)
    with np.load(folder / "shown.npz") as shown:
        for explore in (False, True):
            expected = trained.recommend(
                observation, explore=explore, generator=torch.Generator().manual_seed(3)
            )
            assert np.array_equal(shown[f"slates_{explore}"], expected.slates.numpy())
            assert np.array_equal(shown[f"log_prob_{explore}"], expected.slot_log_probs.numpy())


@every_algorithm
def test_it_states_the_distribution_that_it_acts_from(name: str, runs: dict[str, Trained]) -> None:
    folder = runs[name].path
    policy, observation = Policy.load(folder), observed(folder, users=1)
    distribution = policy.distribution(observation)
    assert isinstance(distribution, SlateDistribution)
    count, size = distribution.mask.shape[1], distribution.slate_size
    slates = torch.tensor(list(itertools.permutations(range(count), size)))
    every = Observation(*(field.expand(len(slates), *field.shape[1:]) for field in observation))
    stated = policy.distribution(every).log_prob(slates).exp().double()
    assert float(stated.sum()) == pytest.approx(1.0, abs=1e-4)

    draws = 20_000
    many = Observation(*(field.expand(draws, *field.shape[1:]) for field in observation))
    shown = policy.recommend(many, generator=torch.Generator().manual_seed(7))
    for slot in range(size):
        expected = torch.zeros(count, dtype=torch.float64).index_add(0, slates[:, slot], stated)
        found = torch.bincount(shown.slates[:, slot], minlength=count) / draws
        error = (expected * (1 - expected) / draws).sqrt()
        assert bool(((found - expected).abs() <= 5 * error + 1e-6).all())
    taken = policy.distribution(many).log_prob(shown.slates)
    torch.testing.assert_close(shown.log_prob, taken)


@every_algorithm
def test_it_is_evaluated_by_the_command(name: str, runs: dict[str, Trained]) -> None:
    arguments = [str(runs[name].path), "--users", "10", "--backend", "torch", "--json"]
    result = CliRunner().invoke(evaluate_app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert math.isfinite(found["return"]["mean"])


@every_algorithm
def test_it_has_a_config_of_its_own_and_a_line_in_the_list(name: str) -> None:
    assert (ROOT / "configs" / f"{name}.yaml").exists()
    assert 10 < len(algorithm(name).summary) <= 80
    assert not algorithm(name).summary.endswith(".")


def algorithm_of(file: Path, data: dict[str, Any]) -> str:
    """Whose config a file is: by its keys, else by its name."""
    names = algorithm_names()
    keys = [data.get("algorithm"), *data]
    found = next((key for key in keys if key in names), None)
    by_name = sorted((name for name in names if file.stem.startswith(name)), key=len)
    return found or by_name[-1]


@pytest.mark.parametrize(
    "file",
    sorted([*(ROOT / "configs").glob("*.yaml"), *(ROOT / "configs" / "paper").glob("*.yaml")]),
    ids=lambda file: file.stem,
)
def test_every_config_loads(file: Path) -> None:
    data = strict_yaml.load(file.read_text())
    config = load_config(algorithm_of(file, data), file)
    assert config.train.env_steps >= 1
