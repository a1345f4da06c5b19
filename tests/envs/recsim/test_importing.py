from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from envs import make_simulator
from envs.recsim import GoogleSimulator, composition_of
from envs.recsim.importing import load, load_object

STAND_INS = ("gym", "gym.spaces", "gin.tf", "recsim.simulator.runner_lib")

WITHOUT_RECSIM = """
import sys, importlib.machinery as machinery
find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = lambda name, *rest: None if name == "recsim" else find(name, *rest)
import envs.recsim
assert "recsim" not in sys.modules, "importing the adapter must not import recsim"
try:
    envs.recsim.make_google_simulator("interest_evolution", 1)
except ModuleNotFoundError as error:
    print(error)
"""

FRESH = """
import pickle, sys, threading
import torch
from envs.recsim.importing import load
names = ["recsim.environments.interest_evolution", "recsim.choice_model"]
threads = [threading.Thread(target=load, args=(name,)) for name in names * 4]
[thread.start() for thread in threads], [thread.join() for thread in threads]
assert not {"gym", "gym.spaces", "gin.tf", "tensorflow", "jax"} & set(sys.modules)
composition, state, whole = pickle.load(sys.stdin.buffer)
from envs.recsim import GoogleSimulator
simulator = GoogleSimulator(composition, 2, seed=4)
simulator.set_state(state)
rewards = [float(simulator.step(torch.tensor([[0, 1, 2]] * 2)).reward.sum()) for _ in range(20)]
again = [float(whole.step(torch.tensor([[0, 1, 2]] * 2)).reward.sum()) for _ in range(20)]
assert rewards == again
print(repr(rewards))
"""


def run(script: str, given: bytes = b"") -> str:
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=given, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_import_leaves_other_modules_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModuleType("gym")
    monkeypatch.setitem(sys.modules, "gym", real)
    load("recsim.environments.interest_exploration")
    before = dict(sys.modules)
    with pytest.raises(ValueError, match="cannot import 'no_such_module'"):
        load_object("no_such_module:World")
    assert sys.modules["gym"] is real
    assert all(sys.modules[name] is module for name, module in before.items())
    assert not set(STAND_INS[1:]) & set(sys.modules)
    assert not hasattr(sys.modules["recsim.simulator"], "runner_lib")
    assert {"absl", "gin", "six"} <= set(sys.modules)


def test_loading_twice_gives_the_same_module() -> None:
    assert load("recsim.user") is load("recsim.user")


def test_missing_recsim_ends_in_one_sentence() -> None:
    assert run(WITHOUT_RECSIM) == (
        "Google's recsim is not installed; install it with: pip install --no-deps recsim==0.2.4"
    )


def test_fresh_process_unpickles_and_continues_with_the_same_numbers() -> None:
    composition = composition_of("interest_evolution")
    simulator = GoogleSimulator(composition, 2, seed=4)
    simulator.reset()
    slates = torch.tensor([[0, 1, 2]] * 2)
    for _ in range(5):
        simulator.step(slates)
    given = pickle.dumps((composition, simulator.get_state(), simulator))
    expected = [float(simulator.step(slates).reward.sum()) for _ in range(20)]
    assert run(FRESH, given) == repr(expected)


def test_own_module_may_import_gym_and_recsim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_gym_world.py").write_text(
        "import gym\nimport recsim\nfrom gym import spaces\nfrom recsim import user\n"
        "WIDTH = spaces.Discrete(7).n\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_object("my_gym_world:WIDTH") == 7
    assert "gym" not in sys.modules


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("no_such_module:World", "cannot import 'no_such_module' .* working directory"),
        ("docs.own_users:Nobody", "'docs.own_users' holds no 'Nobody'; it holds: .*readers"),
        ("docs.own_users:", "is no address of a world; write it as 'module:Class'"),
        ("my_broken_world:World", "cannot import 'my_broken_world' .*: ZeroDivisionError"),
    ],
)
def test_wrong_addresses_end_in_one_sentence(
    address: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_broken_world.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=sentence):
        make_simulator(address, 1)
