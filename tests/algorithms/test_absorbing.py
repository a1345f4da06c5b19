"""Agents that learn without gradient steps: numbers keep their precision everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from algorithms.core.agent import Agent, Decision
from algorithms.core.settings import ActingSettings
from algorithms.policy import Policy
from algorithms.rllib.algorithm import ColumnarAlgorithm
from algorithms.rllib.config import ColumnarConfig

# RLlib starts a cluster by itself where none runs.
pytestmark = pytest.mark.usefixtures("cluster")

THIRD = 1 / 3  # float32 cannot hold it


class Counter(Agent):
    """Counts rows and adds a third for each; parameters it has none."""

    name = "counter"
    absorbs = True

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.register_buffer("total", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(2**40))
        self.seen = 0

    def decide(self, observation, slate_size) -> Decision:
        return Decision(observation.candidates.sum(2), None, {})

    def learn_columns(self, fragment) -> dict[str, Tensor]:
        return {"reward": fragment.happened("reward").flatten()}

    def absorb(self, columns) -> dict[str, float]:
        rows = len(columns["reward"])
        self.total += rows * THIRD
        self.count += rows
        self.seen += rows
        return {"rows": float(rows)}

    def learning_state(self):
        return {"seen": self.seen}

    def set_learning_state(self, state) -> None:
        self.seen = state["seen"]


class CounterConfig(ColumnarConfig):
    settings_class = ActingSettings
    agent_class = Counter

    def __init__(self, algo_class=None) -> None:
        super().__init__(algo_class or CounterAlgorithm)


class CounterAlgorithm(ColumnarAlgorithm):
    @classmethod
    def get_default_config(cls) -> CounterConfig:
        return CounterConfig()


def build() -> CounterAlgorithm:
    config = CounterConfig().environment("interest_evolution")
    config.env_runners(
        num_env_runners=0, num_envs_per_env_runner=4, rollout_fragment_length=2
    ).training(stagger_steps=2)
    return config.build_algo()


def learning(algo) -> Counter:
    return (
        algo.learner_group.foreach_learner(
            lambda learner: learner.module["default_policy"].unwrapped().agent
        )
        .result_or_errors[0]
        .get()
    )


def test_rows_are_absorbed_and_no_optimiser_is_needed() -> None:
    algo = build()
    result = algo.train()
    # 4 updates of 2 steps of 4 users; sums of thirds in double precision.
    agent = algo.agent()
    assert agent.count == 2**40 + 32
    assert agent.total.dtype == torch.float64
    np.testing.assert_allclose(agent.total, 32 * THIRD, rtol=1e-15)
    assert result["learners"]["default_policy"]["rows"] == 8
    algo.stop()


def test_a_checkpoint_keeps_every_digit_and_what_only_learning_needs(tmp_path) -> None:
    algo = build()
    algo.train()
    algo.save_to_path(str(tmp_path))
    restored = CounterAlgorithm.from_checkpoint(str(tmp_path))
    for name, value in algo.agent().state_dict().items():
        assert torch.equal(restored.agent().state_dict()[name], value)
    assert learning(restored).seen == 32
    algo.stop()
    restored.stop()


def test_what_runners_act_with_is_a_copy() -> None:
    algo = build()
    algo.train()
    acting = algo.env_runner.module.agent
    before = acting.total.clone()
    learning(algo).total += 1.0
    assert torch.equal(acting.total, before)
    algo.stop()


def test_a_module_that_acts_refuses_a_state_without_its_weights() -> None:
    algo = build()
    with pytest.raises(ValueError, match=r"lacks weights of this module: agent\.count"):
        algo.env_runner.module.set_state({"agent.total": np.zeros(2)})
    algo.stop()


def test_a_policy_folder_keeps_every_digit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("algorithms.policy.agent_class", lambda name: Counter)
    algo = build()
    algo.train()
    agent = algo.agent()
    Policy(agent).save(tmp_path)
    loaded = Policy.load(tmp_path).agent
    assert torch.equal(loaded.total, agent.total) and torch.equal(loaded.count, agent.count)
    algo.stop()


def test_agents_that_take_gradient_steps_absorb_nothing(make_agent) -> None:
    agent = make_agent()
    assert not agent.absorbs
    with pytest.raises(TypeError, match="slateq learns by gradient steps"):
        agent.absorb({})
