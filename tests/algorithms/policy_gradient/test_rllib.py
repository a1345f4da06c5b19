"""Policy gradients as RLlib runs them: checkpoints, fragments without a session's end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from algorithms.registry import algorithm

pytestmark = pytest.mark.usefixtures("cluster")


def build(
    name: str, world: str, workers: int = 0, fragment: int = 4, recorder: Any = None, **env: Any
) -> Any:
    config = algorithm(name).load_config()
    if recorder is not None:
        config.recording(recorder)
    config.environment(world, env_config=env)
    config.env_runners(
        num_env_runners=workers, num_envs_per_env_runner=6, rollout_fragment_length=fragment
    )
    config.training(hidden=(8,), minibatch_size=16, stagger_steps=3)
    return config.debugging(seed=1).build_algo()


def weights(algo: Any) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = algo.agent().state_dict()
    return state


@pytest.mark.parametrize(
    ("name", "world", "workers", "fragment"),
    [
        ("reinforce", "CartPole-v1", 0, 24),
        ("a2c", "Pendulum-v1", 0, 4),
        ("ppo", "interest_evolution", 0, 4),
        pytest.param("a2c", "interest_evolution", 1, 4, marks=pytest.mark.slow),
        pytest.param("ppo", "interest_evolution", 1, 4, marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_continues_as_if_nothing_had_happened(
    tmp_path, name: str, world: str, workers: int, fragment: int
) -> None:
    algo = build(name, world, workers, fragment)
    algo.train()
    algo.save_to_path(str(tmp_path))
    before = weights(algo)
    algo.train()
    expected = weights(algo)
    algo.stop()
    assert any(not torch.equal(before[key], expected[key]) for key in expected)
    restored = type(algo).from_checkpoint(str(tmp_path))
    restored.train()
    found = weights(restored)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    restored.stop()


def test_on_policy_learners_wait_for_their_workers(tmp_path) -> None:
    file = tmp_path / "versions"

    def recorder(index: int):
        def record(fragment) -> None:
            with file.open("a") as out:
                out.write(f"{fragment.policy_version} ")

        return record

    algo = build("a2c", "interest_evolution", workers=1, recorder=recorder)
    for _ in range(2):
        algo.train()
    algo.stop()
    # Each of 2 * 4 fragments is played by the weights of the update before it.
    assert file.read_text().split() == [str(update) for update in range(8)]


def test_reinforce_waits_for_a_session_to_end() -> None:
    algo = build("reinforce", "Pendulum-v1", max_steps=40)
    before = weights(algo)
    algo.train()  # four fragments of four steps
    assert all(torch.equal(before[key], now) for key, now in weights(algo).items())
    results = [algo.train() for _ in range(3)]
    assert any(not torch.equal(before[key], now) for key, now in weights(algo).items())
    learned = [result.get("learners", {}).get("default_policy", {}) for result in results]
    assert any(np.isfinite(each.get("policy_loss", np.nan)) for each in learned)
    algo.stop()
