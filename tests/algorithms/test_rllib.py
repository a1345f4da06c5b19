"""SlateQ as users of RLlib know it: config, algorithm, checkpoints, Tune, faults."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import torch

from algorithms.rllib.config import ColumnarConfig
from algorithms.rllib.learner import learning_rate
from algorithms.slateq import SlateQConfig, SlateQSettings

pytestmark = pytest.mark.usefixtures("cluster")


def config(workers: int = 0, **settings) -> SlateQConfig:
    base = SlateQConfig().environment("interest_evolution", env_config={"num_candidates": 6})
    base.env_runners(num_env_runners=workers, num_envs_per_env_runner=8, rollout_fragment_length=4)
    base.training(hidden=(8,), minibatch_size=16, stagger_steps=4, epsilon=0.1, **settings)
    return base.debugging(seed=1)


def weights(algo) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in algo.agent().state_dict().items()}


def same(first, second) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_users_of_rllib_find_what_they_know() -> None:
    algo = config().build_algo()
    result = algo.train()
    assert result["training_iteration"] == 1
    # 4 fragments of 4 steps of 8 users.
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 128
    assert "episode_return_mean" in result["env_runners"]
    assert np.isfinite(result["learners"]["default_policy"]["td_loss"])
    module = algo.get_module()
    observation = {
        name: torch.as_tensor(value)[None]
        for name, value in algo.env_runner.get_spaces()["default_policy"][0].sample().items()
    }
    observation["mask"] = torch.ones(1, 6)
    acted = module.forward_exploration({"obs": observation})
    assert acted["actions"].shape == (1, 3)
    assert acted["action_logp"].shape == (1,)
    assert len(set(module.forward_inference({"obs": observation})["actions"][0].tolist())) == 3
    algo.stop()


def test_one_seed_gives_one_result_and_another_seed_another() -> None:
    def trained(seed: int):
        algo = config().debugging(seed=seed).build_algo()
        algo.train()
        return weights(algo)

    first = trained(1)
    assert same(first, trained(1))
    assert not same(first, trained(2))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("learning", ["fresh", "replay"])
def test_a_checkpoint_continues_as_if_nothing_had_happened(tmp_path, workers, learning) -> None:
    replay = {"learning_starts": 32, "target_update_steps": 64}
    settings = {"learning": learning, **(replay if learning == "replay" else {})}
    algo = config(workers, **settings).build_algo()
    algo.train()
    algo.save_to_path(str(tmp_path))
    algo.train()
    expected = weights(algo)
    algo.stop()
    restored = type(algo).from_checkpoint(str(tmp_path))
    assert restored.env_steps == 128 * max(1, workers)
    restored.train()
    assert same(weights(restored), expected)
    restored.stop()


def test_a_rollback_takes_the_weights_back(tmp_path) -> None:
    algo = config().build_algo()
    algo.train()
    algo.save_to_path(str(tmp_path))
    saved = weights(algo)
    algo.train()
    assert not same(weights(algo), saved)
    algo.restore_from_path(str(tmp_path))
    assert same(weights(algo), saved)
    algo.train()
    algo.stop()


def test_runners_act_with_the_learners_weights() -> None:
    algo = config(workers=1).build_algo()
    algo.train()
    learned = weights(algo)
    algo.train()  # samples once more, with weights learned before
    acting = algo.env_runner_group.foreach_env_runner(
        lambda runner: runner.get_state(components="rl_module")["rl_module"],
        local_env_runner=False,
    )[0]
    present = weights(algo)
    assert not same(learned, present)
    name = "network.head.bias"
    assert not np.array_equal(acting[f"agent.{name}"], learned[name])
    algo.stop()


def test_two_workers_never_share_a_stream() -> None:
    algo = config(workers=2).build_algo()
    algo.train()
    users = algo.env_runner_group.foreach_env_runner(
        lambda runner: runner.env.observe().user.numpy(), local_env_runner=False
    )
    assert not np.isin(users[0], users[1]).any()
    algo.stop()


def test_a_killed_worker_costs_a_fragment_and_not_the_run() -> None:
    algo = config(workers=2).build_algo()
    algo.train()
    pids = algo.env_runner_group.foreach_env_runner(
        lambda runner: os.getpid(), local_env_runner=False
    )
    before = algo.env_steps
    os.kill(pids[0], signal.SIGKILL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        algo.train()
        if algo.env_runner_group.num_healthy_remote_env_runners() == 2:
            break
    assert algo.env_steps > before
    assert algo.env_runner_group.num_healthy_remote_env_runners() == 2
    full = algo.env_steps
    algo.train()
    assert algo.env_steps - full == 256  # both runners deliver again
    algo.stop()


def refuse(fragment) -> None:
    raise ValueError("several clicks")


def fail(fragment) -> None:
    raise KeyError("user 7")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_while_playing_is_not_taken_for_a_lost_worker(workers) -> None:
    algo = config(workers).recording(lambda index: refuse).build_algo()
    with pytest.raises(ValueError, match=r"^several clicks$"):
        algo.train()
    algo.stop()


def test_a_fault_on_a_worker_comes_with_its_traceback() -> None:
    algo = config(workers=1).recording(lambda index: fail).build_algo()
    with pytest.raises(RuntimeError, match=r"(?s)worker.*in fail.*user 7"):
        algo.train()
    algo.stop()


def test_workers_act_one_update_behind_the_learner(tmp_path) -> None:
    versions = tmp_path / "versions"

    def recorder(index: int):
        def note(fragment) -> None:
            with versions.open("a") as file:
                file.write(f"{fragment.policy_version} ")

        return note

    algo = config(workers=1).recording(recorder).build_algo()
    algo.train()
    algo.train()
    algo.stop()
    # The second fragment is played while the first is learned from, and so on.
    assert versions.read_text().split() == list("00123456")


def test_settings_reach_tune_as_plain_values() -> None:
    from ray import tune

    space = config().training(lr=tune.grid_search([1e-3, 1e-2])).to_dict()
    rebuilt = SlateQConfig().update_from_dict({**space, "lr": 1e-2})
    assert rebuilt.settings().lr == 1e-2
    assert rebuilt.settings().hidden == (8,)


@pytest.mark.slow
def test_tune_runs_a_grid(tmp_path) -> None:
    from ray import tune

    results = tune.Tuner(
        config().algo_class,
        param_space=config().training(lr=tune.grid_search([1e-3, 1e-2])),
        run_config=tune.RunConfig(stop={"training_iteration": 2}, storage_path=str(tmp_path)),
    ).fit()
    assert len(results) == 2
    assert not results.errors


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(TypeError, match="did you mean 'lambda_'"):
        SlateQConfig().training(lambda__=0.5)


def test_a_wrong_setting_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"gamma is 1\.5"):
        config().training(gamma=1.5).build_algo()


def test_an_unknown_environment_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'interest_evolution'"):
        SlateQConfig().environment("interest_evolutoin").build_algo()


def test_torchs_deterministic_algorithms_stay_off() -> None:
    algo = config().build_algo()
    assert not torch.are_deterministic_algorithms_enabled()
    algo.stop()


def test_fragments_reach_the_recorder() -> None:
    seen: list[int] = []
    base: ColumnarConfig = config().recording(lambda index: lambda f: seen.append(f.num_steps))
    algo = base.build_algo()
    algo.train()
    assert seen == [4] * 4
    algo.stop()


def test_the_learning_rate_rises_and_falls() -> None:
    settings = SlateQSettings(lr=1.0, warmup_steps=200, schedule_steps=1000, minibatch_size=100)
    # Warm-up: (0 + 100) / 200 of the rate, at the cosine's top.
    assert learning_rate(settings, 0, rows=100) == 0.5
    # Half way down the cosine.
    assert learning_rate(settings, 500, rows=100) == pytest.approx(0.5)
    assert learning_rate(settings, 1000, rows=100) == pytest.approx(0.0)
    constant = SlateQSettings(lr=1.0, warmup_steps=0, lr_schedule="constant")
    assert learning_rate(constant, 10**9, rows=100) == 1.0


def test_epsilon_moves_linearly() -> None:
    settings = SlateQSettings(epsilon=1.0, epsilon_final=0.2, epsilon_steps=100)
    found = [settings.epsilon_at(step) for step in (0, 50, 100, 200)]
    assert found == pytest.approx([1.0, 0.6, 0.2, 0.2])
