"""DQN as users of RLlib know it: training, checkpoints with replay and priorities, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.dqn import DQNConfig

pytestmark = pytest.mark.usefixtures("cluster")
REPLAY = {"learning": "replay", "learning_starts": 32, "target_update_steps": 64}


def config(workers: int = 0, **settings) -> DQNConfig:
    base = DQNConfig().environment("modified_long_term_satisfaction")
    base.env_runners(num_env_runners=workers, num_envs_per_env_runner=8, rollout_fragment_length=4)
    base.training(hidden=(8,), minibatch_size=16, stagger_steps=4, epsilon=0.1, schedule_steps=1000)
    return base.training(**settings).debugging(seed=1)


def weights(algo) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in algo.agent().state_dict().items()}


def same(first, second) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first)


def trained(**settings) -> dict[str, np.ndarray]:
    algo = config(**settings).build_algo()
    algo.train()
    found = weights(algo)
    algo.stop()
    return found


@pytest.mark.parametrize(
    ("workers", "settings"),
    [
        (0, {"dueling": True}),
        (0, {**REPLAY, "prioritised": True, "n_step": 2}),
        (2, {**REPLAY, "prioritised": True}),
    ],
)
def test_a_checkpoint_continues_as_if_nothing_had_happened(tmp_path, workers, settings) -> None:
    algo = config(workers, **settings).build_algo()
    algo.train()
    algo.save_to_path(str(tmp_path))
    algo.train()
    expected = weights(algo)
    algo.stop()
    restored = type(algo).from_checkpoint(str(tmp_path))
    restored.train()
    assert same(weights(restored), expected)
    restored.stop()


@pytest.mark.parametrize(
    "change",
    [
        {"n_step": 3},
        {"prioritised": True},
        {"target_update_steps": 32},
        {"replay_ratio": 8.0},
        {"replay_capacity": 40},
        {"learning_starts": 96},
    ],
)
def test_every_option_of_replay_changes_what_is_learned(change) -> None:
    assert not same(trained(**REPLAY), trained(**{**REPLAY, **change}))


@pytest.mark.parametrize("change", [{"priority_alpha": 1.0}, {"priority_beta": 1.0}])
def test_priorities_change_what_is_learned(change) -> None:
    base = {**REPLAY, "prioritised": True}
    assert not same(trained(**base), trained(**{**base, **change}))


def test_full_slate_q_trains() -> None:
    algo = config(actions="slates").environment(
        "interest_evolution", env_config={"num_candidates": 5, "slate_size": 2}
    )
    built = algo.build_algo()
    result = built.train()
    assert np.isfinite(result["learners"]["default_policy"]["td_loss"])
    built.stop()


def test_too_many_slates_are_refused_before_anything_starts() -> None:
    crowded = config(actions="slates", max_slates=100).environment(
        "interest_evolution", env_config={"num_candidates": 12, "slate_size": 3}
    )
    with pytest.raises(ValueError, match="12 candidates make 220 slates of 3"):
        crowded.build_algo()
