"""The portable policy: same slates, no Ray, whole or refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from algorithms.core.agent import Exploration
from algorithms.policy import Policy, PolicyError, baseline
from envs.simulator import Observation


@pytest.fixture
def saved(make_agent, tmp_path):
    policy = Policy(make_agent(), exploration=Exploration(0.1), reward="watch_time", version=7)
    policy.save(tmp_path / "policy")
    return policy, tmp_path / "policy"


def test_a_loaded_policy_recommends_what_the_saved_one_did(saved, simulator) -> None:
    policy, folder = saved
    observation, loaded = simulator.reset(), Policy.load(folder)
    first = policy.recommend(observation, generator=torch.Generator().manual_seed(5))
    second = loaded.recommend(observation, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first.slates, second.slates)
    assert torch.equal(first.slot_log_probs, second.slot_log_probs)
    assert torch.equal(first.scores, second.scores)
    assert (loaded.reward, loaded.version, loaded.exploration.epsilon) == ("watch_time", 7, 0.1)
    assert loaded.spec == policy.spec
    assert loaded.history.version == policy.history.version


def test_a_run_folder_stands_for_its_policy(saved) -> None:
    _, folder = saved
    assert Policy.load(folder.parent).version == 7


def test_loading_and_recommending_imports_no_ray_and_unpickles_nothing(saved) -> None:
    _, folder = saved
    program = f"""
import pickle, sys
def refuse(*args, **kwargs):
    raise AssertionError("unpickled something")
import torch
from algorithms.policy import Policy
from envs.simulator import Observation
pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
policy = Policy.load({str(folder)!r})
observation = Observation(
    torch.zeros(1, 20), torch.eye(20)[None, :12], torch.ones(1, 12, dtype=torch.bool),
    torch.zeros(1, 3, 24), torch.zeros(1, 1), policy.history.initial(1),
)
assert policy.recommend(observation).slates.shape == (1, 3)
imported = [name for name in sys.modules if name.split(".")[0] in ("ray", "recsim", "gin")]
assert not imported, imported
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_propensities_are_those_of_the_slate_distribution(saved, simulator) -> None:
    policy, _ = saved
    shown = policy.recommend(simulator.reset(), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(shown.log_prob, shown.distribution.log_prob(shown.slates))
    torch.testing.assert_close(shown.slot_log_probs.sum(1), shown.log_prob)


def test_another_slate_size_can_be_asked_for(saved, simulator) -> None:
    policy, _ = saved
    assert policy.recommend(simulator.reset(), slate_size=5).slates.shape == (8, 5)


@pytest.mark.parametrize("size", [0, 11])
def test_a_slate_size_that_cannot_be_is_refused(saved, simulator, size) -> None:
    with pytest.raises(ValueError, match=f"slates of {size} are asked for and 10 candidates"):
        saved[0].recommend(simulator.reset(), slate_size=size)


def test_features_that_do_not_fit_are_refused(saved, simulator) -> None:
    policy, _ = saved
    observation = simulator.reset()
    with pytest.raises(ValueError, match="expects 20, 20 and 24"):
        policy.recommend(observation._replace(user=observation.user[:, :5]))


def test_baselines_need_no_training(simulator) -> None:
    observation = simulator.reset()
    shown = baseline("click_maximiser", simulator.spec, simulator.history, 3)
    slates = shown.recommend(observation, explore=False).slates
    affinity = (observation.user[:, None] * observation.candidates).sum(2)
    best = affinity.argsort(dim=1, descending=True, stable=True)  # ties by position
    assert torch.equal(slates, best[:, :3])
    random = baseline("random", simulator.spec, simulator.history, 3)
    # 10 * 9 * 8 = 720 equally likely slates, also when not exploring.
    log_prob = random.recommend(observation, explore=False).log_prob
    torch.testing.assert_close(log_prob.exp(), torch.full((8,), 1 / 720))


def damage(folder, **changes) -> None:
    path = folder / "policy.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


def test_a_newer_policy_is_refused(saved) -> None:
    damage(saved[1], schema_version=99)
    with pytest.raises(PolicyError, match="newer than this installation"):
        Policy.load(saved[1])


def test_another_history_version_is_refused(saved) -> None:
    terms = json.loads((saved[1] / "policy.json").read_text())["history"]["terms"]
    damage(saved[1], history={"version": "0123456789ab", "terms": terms})
    with pytest.raises(PolicyError, match="history version"):
        Policy.load(saved[1])


@pytest.mark.parametrize("file", ["policy.json", "policy.safetensors"])
def test_a_cut_file_is_refused(saved, file) -> None:
    path = saved[1] / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PolicyError, match=r"damaged|not valid"):
        Policy.load(saved[1])


def test_missing_weights_are_named(saved) -> None:
    (saved[1] / "policy.safetensors").unlink()
    with pytest.raises(PolicyError, match=r"no policy\.safetensors"):
        Policy.load(saved[1])


def test_an_empty_folder_is_no_policy(tmp_path) -> None:
    with pytest.raises(PolicyError, match="holds no policy"):
        Policy.load(tmp_path)


def test_non_finite_weights_are_refused(make_agent, tmp_path) -> None:
    agent = make_agent()
    with torch.no_grad():
        agent.network.head.bias[0] = float("nan")
    Policy(agent).save(tmp_path)
    with pytest.raises(PolicyError, match="non-finite"):
        Policy.load(tmp_path)


def test_a_single_request_equals_the_batch(saved, simulator) -> None:
    policy, _ = saved
    observation = simulator.reset()
    together = policy.recommend(observation, explore=False)
    for row in range(8):
        one = Observation(*(field[row : row + 1] for field in observation))
        assert torch.equal(policy.recommend(one, explore=False).slates[0], together.slates[row])
