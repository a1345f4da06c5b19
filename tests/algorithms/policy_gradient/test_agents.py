"""REINFORCE, A2C and PPO: what they learn from, and that every option changes something."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms.core.agent import Agent, Exploration
from algorithms.core.collect import Collector
from algorithms.core.fragment import Fragment
from algorithms.core.revalue import revalued
from algorithms.policy import Policy
from algorithms.policy_gradient import (
    A2CSettings,
    PPOSettings,
    ReinforceSettings,
)
from algorithms.registry import algorithm
from envs.registry import make_simulator

SAMPLED = Exploration(temperature=1.0)
# Sessions of 4 steps, so that fragments of 6 see both an end and an edge.
SHORT = {"name": "interest_exploration", "time_limit": 4, "slate_size": 2, "num_candidates": 6}


def world(name: str = "slates", users: int = 6):
    arguments: dict[str, Any] = {
        "slates": SHORT,
        "appeal": {"name": "interest_evolution", "time_budget": 20.0},
        "box": {"name": "Pendulum-v1", "max_steps": 4},
        "single": {"name": "CartPole-v1"},
    }[name]
    return make_simulator(num_users=users, seed=3, **arguments)


def agent(name: str, simulator, **settings: Any) -> Any:
    torch.manual_seed(0)
    entry = algorithm(name)
    options = entry.settings(**{"hidden": (16,), "initial_value": 5.0, **settings})
    return entry.agent(
        simulator.spec, simulator.history, simulator.slate_size, options.model_dump()
    )


def played(learner: Agent, simulator, steps: int = 6) -> Fragment:
    return Collector(simulator, learner, seed=1).collect(steps, SAMPLED)[0]


def gradient(learner: Any, columns: dict[str, Tensor]) -> Tensor:
    learner.zero_grad()
    learner.loss(columns, learner.predict(columns), None)["loss"].backward()
    return torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", ["slates", "single", "box"])
def test_a2c_is_ppo_with_the_settings_that_it_lists(kind: str) -> None:
    same = {"entropy_coeff": 0.01, "lambda_": 1.0}
    simulator = world(kind)
    a2c = agent("a2c", simulator, **same)
    ppo = agent("ppo", simulator, clip=None, kl_coeff=0.0, num_epochs=1, **same)
    assert all(map(torch.equal, a2c.parameters(), ppo.parameters()))
    fragment = played(a2c, simulator)
    ours, theirs = a2c.learn_columns(fragment), ppo.learn_columns(fragment)
    first = gradient(a2c, ours)
    assert float(first.norm()) > 1e-3
    torch.testing.assert_close(first, gradient(ppo, theirs), rtol=1e-4, atol=1e-6)
    # With the clip they stay equal at the first step, because all ratios are 1.
    clipped = agent("ppo", simulator, clip=0.2, num_epochs=1, **same)
    torch.testing.assert_close(first, gradient(clipped, theirs), rtol=1e-4, atol=1e-6)
    # What remains: the reported loss. Standardised advantages have mean 0, so PPO's is 0.
    terms = [
        each.loss(rows, each.predict(rows), None)["policy_loss"].detach()
        for each, rows in ((a2c, ours), (ppo, theirs))
    ]
    assert abs(float(terms[1])) < 1e-5 < abs(float(terms[0]))


def test_reinforce_learns_from_complete_sessions_only() -> None:
    simulator = world()
    learner = agent("reinforce", simulator, baseline="none")
    fragment = played(learner, simulator)
    columns = learner.learn_columns(fragment)
    # Sessions end after steps 4 and 8: of 6 steps, 4 are complete.
    assert len(columns["return"]) == 4 * 6
    reward = fragment.happened("reward")
    expected = reward[:4].flip(0).cumsum(0).flip(0)
    torch.testing.assert_close(columns["return"].view(4, 6), expected)
    assert torch.equal(columns["advantage"], columns["return"])
    assert len(learner.learn_columns(played(learner, world(), steps=3))["return"]) == 0


def test_baselines_are_subtracted() -> None:
    simulator = world()
    learner = agent("reinforce", simulator)
    fragment = played(learner, simulator)
    columns = learner.learn_columns(fragment)
    value = fragment.extra("value")[:4].flatten()
    torch.testing.assert_close(columns["advantage"], columns["return"] - value)
    alone = agent("reinforce", simulator, baseline="mean", standardise_advantages=False)
    mean = alone.learn_columns(fragment)
    torch.testing.assert_close(mean["advantage"], mean["return"] - mean["return"].mean())
    with pytest.raises(ValueError, match="is what standardise_advantages subtracts already"):
        agent("reinforce", simulator, baseline="mean")


def test_ratios_are_to_the_policy_that_acted_also_where_values_are_newer() -> None:
    simulator = world()
    learner = agent("ppo", simulator)
    fragment = played(learner, simulator)
    before = learner.learn_columns(fragment)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.mul_(1.5)
    after = learner.learn_columns(revalued(learner, fragment))
    assert torch.equal(after["log_prob"], before["log_prob"])
    assert not torch.allclose(after["advantage"], before["advantage"])


def test_truncated_sessions_bootstrap_from_their_final_observation() -> None:
    simulator = world()
    learner = agent("a2c", simulator, lambda_=0.0)
    fragment = played(learner, simulator, steps=4)
    transition = fragment.steps[3].transition
    assert bool(transition.truncated.all())
    final = learner.decide(transition.final, 2).extras["value"]
    advantage = learner.learn_columns(fragment)["advantage"].view(4, 6)
    torch.testing.assert_close(advantage[3], transition.reward + final - fragment.extra("value")[3])


@pytest.mark.parametrize("kind", ["slates", "appeal", "single", "box"])
def test_what_acts_and_what_learns_state_the_same_probabilities(kind: str) -> None:
    simulator = world(kind)
    learner = agent("ppo", simulator)
    fragment = played(learner, simulator)
    columns = learner.learn_columns(fragment)
    predicted = learner.predict(columns)
    torch.testing.assert_close(predicted["log_prob"], columns["log_prob"])
    torch.testing.assert_close(predicted["value"], fragment.extra("value").flatten())


@pytest.mark.parametrize(
    ("name", "kind", "option", "first", "second"),
    [
        ("a2c", "slates", "lambda_", 1.0, 0.5),
        ("ppo", "slates", "lambda_", 0.9, 0.5),
        ("ppo", "slates", "gamma", 1.0, 0.9),
        ("reinforce", "slates", "gamma", 1.0, 0.9),
        ("a2c", "slates", "standardise_advantages", True, False),
        ("a2c", "slates", "value_coeff", 1.0, 0.5),
        ("a2c", "slates", "value_scale", 50.0, 10.0),
        ("reinforce", "slates", "initial_value", 5.0, 50.0),
        ("a2c", "slates", "entropy_coeff", 0.0, 0.1),
        ("a2c", "box", "entropy_coeff", 0.0, 0.1),
        ("a2c", "box", "initial_std", 0.5, 1.0),
        ("a2c", "slates", "layer_norm", True, False),
        ("a2c", "slates", "item_hidden", (), (8,)),
        ("a2c", "slates", "hidden", (16,), (16, 16)),
        ("a2c", "slates", "shared_body", False, True),
        ("a2c", "appeal", "use_appeal", True, False),
    ],
)
def test_every_option_changes_the_gradient(
    name: str, kind: str, option: str, first: Any, second: Any
) -> None:
    found = []
    for value in (first, second):
        simulator = world(kind)
        learner = agent(name, simulator, **{option: value})
        found.append(gradient(learner, learner.learn_columns(played(learner, simulator))))
    assert found[0].shape != found[1].shape or not torch.allclose(*found)


@pytest.mark.parametrize(("option", "value"), [("clip", 0.01), ("kl_coeff", 1.0)])
def test_ppos_brakes_act_once_the_policy_has_moved(option: str, value: float) -> None:
    simulator = world()
    free = agent("ppo", simulator, clip=None)
    columns = free.learn_columns(played(free, simulator))
    braked = agent("ppo", simulator, **{"clip": None, option: value})
    with torch.no_grad():
        for learner in (free, braked):
            learner.network.head.weight.add_(0.1 * torch.sign(learner.network.head.weight))
    terms = braked.loss(columns, braked.predict(columns), None)
    assert float(terms["kl"].detach()) > 1e-3
    assert not torch.allclose(gradient(free, columns), gradient(braked, columns))
    if option == "clip":
        assert 0 < float(terms["clipped_share"]) <= 1


def test_the_entropy_is_labelled_by_what_it_is() -> None:
    simulator = world()
    shown, exact = agent("a2c", simulator), agent("a2c", simulator, entropy="exact")
    columns = shown.learn_columns(played(shown, simulator))
    estimate = shown.loss(columns, shown.predict(columns), None)
    true = exact.loss(columns, exact.predict(columns), None)
    assert "entropy" not in estimate and "entropy_estimate" not in true
    assert float(estimate["entropy_estimate"]) == pytest.approx(float(true["entropy"]), rel=0.1)
    assert float(estimate["entropy_estimate"]) != float(true["entropy"])
    single = world("single")
    alone = agent("a2c", single)
    rows = alone.learn_columns(played(alone, single))
    assert "entropy" in alone.loss(rows, alone.predict(rows), None)


def test_settings_that_would_explore_otherwise_are_refused() -> None:
    for settings in ({"epsilon": 0.1}, {"temperature": 0.0}, {"epsilon_final": 0.2}):
        with pytest.raises(ValueError, match="explores by its own policy"):
            PPOSettings(**settings)
    for once in (A2CSettings, ReinforceSettings):
        with pytest.raises(ValueError, match="num_epochs"):
            once(num_epochs=2)


@pytest.mark.parametrize("kind", ["slates", "appeal", "box"])
def test_a_saved_policy_acts_the_same_sampled_and_greedy(kind: str, tmp_path) -> None:
    simulator = world(kind)
    observation = simulator.reset()
    policy = Policy(agent("ppo", simulator), exploration=SAMPLED)
    policy.save(tmp_path)
    loaded = Policy.load(tmp_path)
    for explore in (True, False):
        one, other = (
            each.recommend(observation, explore=explore, generator=torch.Generator().manual_seed(2))
            for each in (policy, loaded)
        )
        assert torch.equal(one.slates, other.slates)
        assert torch.equal(one.log_prob, other.log_prob)
        assert torch.equal(one.scores, other.scores)
        if explore:
            torch.testing.assert_close(one.log_prob, one.distribution.log_prob(one.slates))
            sampled = one.slates
        else:
            assert torch.equal(one.slates, one.distribution.mode())
            assert not torch.equal(one.slates, sampled)
            assert not one.log_prob.any()


def test_what_cannot_act_there_is_refused() -> None:
    simulator = world("box")
    for name in ("random", "click_maximiser", "slateq"):
        with pytest.raises(ValueError, match=rf"{name} picks among candidates .* makes numbers"):
            make(name, simulator)

    class Made(type(agent("a2c", simulator))):
        name, actions = "made", ("box",)

    discrete = world("single")
    settings = A2CSettings().model_dump()
    with pytest.raises(ValueError, match=r"made makes numbers .* picks among candidates"):
        Made(discrete.spec, discrete.history, 1, settings)


def make(name: str, simulator) -> Agent:
    from algorithms.registry import agent_class

    return agent_class(name)(simulator.spec, simulator.history, 1, {})
