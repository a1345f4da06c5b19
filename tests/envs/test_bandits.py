"""Bandit problems: what each gives by hand, and what its arguments change."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, tensor

from envs import make_simulator
from envs.bandits import WORLDS, Bandit, DigitsBandit, DriftingBandit, LinearBandit, WheelBandit
from envs.bandits.bandit import Purpose
from envs.bandits.drifting import folded
from envs.constants import Constant
from envs.simulator import Observation, TorchSimulator
from envs.world import Outcome
from tests.envs.test_dynamics import Fixed, double, same


def simulator(
    name: str, users: int, **arguments: Any
) -> tuple[TorchSimulator, Bandit, Observation]:
    made = make_simulator(name, users, seed=4, **arguments)
    assert isinstance(made, TorchSimulator) and isinstance(made.world, Bandit)
    return made, made.world, made.reset()


def outcome(world: Bandit, arm: int, luck: float, **state: Tensor) -> Outcome:
    draws = Fixed({Purpose.REWARD: luck, Purpose.CONTEXT: 0.0})
    return world.transition({"step": tensor([0]), **state}, tensor([[arm]]), draws)


def test_linear_rewards() -> None:
    world = LinearBandit(num_arms=3, context_size=2, noise_stddev=0.5, session_steps=2)
    world.directions = Constant([[1.0, 0.0], [0.6, -0.8], [0.0, 1.0]])
    context = double([[0.8, 0.6]])
    # 0.8; 0.48 - 0.48 = 0; 0.6.
    same(world.expected_rewards({"context": context}), [[0.8, 0.0, 0.6]])
    same(world.regret({"context": context}, tensor([[2]])), [0.2])
    given = outcome(world, 2, luck=-1.0, context=context)
    same(given.reward, [0.1])  # 0.6 - 0.5
    same(given.response, [[[1, 0.1]]])
    assert given.state["step"].tolist() == [1] and given.terminated.tolist() == [False]


def test_linear_problems_follow_from_their_seed() -> None:
    _, one, observation = simulator("linear_bandit", 2000)
    _, same_one, _ = simulator("linear_bandit", 1)
    _, other, _ = simulator("linear_bandit", 1, problem_seed=1)
    assert isinstance(one, LinearBandit) and isinstance(other, LinearBandit)
    assert isinstance(same_one, LinearBandit)
    assert torch.equal(one.directions.exact, same_one.directions.exact)
    assert not torch.equal(one.directions.exact, other.directions.exact)
    same(one.directions.exact.norm(dim=1), torch.ones(10))
    lengths = observation.user.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(2000))
    # Uniform on the sphere: each square has the mean 1/10, with a standard error of 0.003.
    spread = observation.user.square().mean(0)
    torch.testing.assert_close(spread, torch.full((10,), 0.1), atol=0.015, rtol=0)


@pytest.mark.parametrize(
    ("context", "means"),
    [
        ([0.3, 0.3], [1.2, 1, 1, 1, 1]),  # inside the radius 0.5
        ([0.4, 0.4], [1.2, 50, 1, 1, 1]),
        ([0.4, -0.4], [1.2, 1, 50, 1, 1]),
        ([-0.4, 0.4], [1.2, 1, 1, 50, 1]),
        ([-0.4, -0.4], [1.2, 1, 1, 1, 50]),
    ],
)
def test_wheel_rewards(context: list[float], means: list[float]) -> None:
    world, state = WheelBandit(), {"context": double([context])}
    same(world.expected_rewards(state), [means])
    same(outcome(world, 0, luck=2.0, **state).reward, [1.22])
    same(outcome(WheelBandit(noise_stddev=1.0), 0, luck=2.0, **state).reward, [3.2])


def test_the_wheel_pays_outside_its_radius() -> None:
    for delta in (0.5, 0.95):
        _, world, observation = simulator("wheel_bandit", 4000, delta=delta)
        best = world.expected_rewards({"context": observation.user}).amax(1)
        # Contexts are uniform on the disc; a standard error of at most 0.007.
        assert float((best == 50).float().mean()) == pytest.approx(1 - delta**2, abs=0.025)
        assert float(observation.user.norm(dim=1).max()) <= 1


def test_digits_are_right_or_wrong() -> None:
    played, world, observation = simulator("digits_bandit", 4000)
    expected = world.expected_rewards(played.state)
    assert expected.sum(1).tolist() == [1.0] * 4000
    # Of 1,797 images 174 show an eight, the rarest, and 183 a three; a standard error of 0.005.
    assert expected.mean(0).min() > 0.08 and expected.mean(0).max() < 0.12
    transition = played.step(torch.full((4000, 1), 3))
    assert torch.equal(transition.reward, expected[:, 3])
    assert torch.equal(transition.response[:, 0, 1], expected[:, 3])
    assert observation.user.shape == (4000, 64) and 0.9 < float(observation.user.max()) <= 1
    assert len(observation.user.unique(dim=0)) > 1500


def test_the_image_shows_what_the_arm_says() -> None:
    played, world, observation = simulator("digits_bandit", 4000)
    digit = world.expected_rewards(played.state).argmax(1)
    # A zero is empty in the middle, a one is not.
    middle = observation.user.view(-1, 8, 8)[:, 3:5, 3:5].mean((1, 2))
    assert float(middle[digit == 0].mean()) < 0.2 and float(middle[digit == 1].mean()) > 0.7


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'run: pip install "scikit-learn>=1.5"'):
        DigitsBandit()


def test_folding() -> None:
    same(folded(double([0.3, 1.2, 2.1, -0.4, -1.3])), [0.3, 0.8, 0.1, 0.4, 0.7])


def test_drifting_means() -> None:
    world = DriftingBandit(num_arms=4, drift=0.1, session_steps=500)
    means = world.means.exact
    assert means.shape == (500, 4) and float(means.min()) >= 0 and float(means.max()) <= 1
    assert float(means[:, 0].max() - means[:, 0].min()) > 0.5
    steps = means.diff(dim=0)
    # Folding shortens some steps: a deviation a little below 0.1.
    assert 0.08 < float(steps.std()) < 0.1
    still = DriftingBandit(num_arms=4, drift=0.0, session_steps=3).means.exact
    same(still, still[:1].expand(3, 4))
    other = DriftingBandit(num_arms=4, problem_seed=1, session_steps=3).means.exact
    assert not torch.equal(other[0], means[0])


def test_drifting_rewards_follow_the_round() -> None:
    world = DriftingBandit(num_arms=2, session_steps=2)
    world.means = Constant([[0.9, 0.2], [0.1, 0.6]])
    one, two = ({"step": tensor([step]), "context": double([[1]])} for step in (0, 1))
    same(world.expected_rewards(one), [[0.9, 0.2]])
    same(world.expected_rewards(two), [[0.1, 0.6]])
    same(outcome(world, 0, luck=0.5, **one).reward, [1])
    given = outcome(world, 0, luck=0.5, **two)
    same(given.reward, [0])
    assert given.state["step"].tolist() == [2] and given.terminated.tolist() == [True]


@pytest.mark.parametrize("name", WORLDS)
def test_the_best_arm_has_no_regret_and_earns_what_was_expected(name: str) -> None:
    played, world, _ = simulator(name, 4000, session_steps=3)
    earned, expected = torch.zeros(4000), torch.zeros(4000)
    for _ in range(3):
        means = world.expected_rewards(played.state)
        best = means.argmax(1, keepdim=True)
        assert float(world.regret(played.state, best).abs().max()) == 0
        regret = world.regret(played.state, (best + 1) % means.shape[1])
        assert float(regret.min()) >= 0 and float(regret.mean()) > 0.01
        earned += played.step(best).reward
        expected += means.amax(1)
    assert float(earned.mean()) == pytest.approx(float(expected.mean()), abs=0.05)


@pytest.mark.parametrize("name", WORLDS)
def test_sessions_last_as_many_rounds_as_asked(name: str) -> None:
    played, _, _ = simulator(name, 2, session_steps=4)
    ended = [played.step(tensor([[0], [1]])).terminated.tolist() for _ in range(8)]
    assert ended == [[step % 4 == 3] * 2 for step in range(8)]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("linear_bandit", {"num_arms": 1}, "there are 1 arms"),
        ("linear_bandit", {"session_steps": 0}, "session_steps is 0"),
        ("linear_bandit", {"context_size": 0}, "context_size is 0"),
        ("linear_bandit", {"noise_stddev": -1.0}, "noise_stddev is -1"),
        ("wheel_bandit", {"noise_stddev": -1.0}, "noise_stddev is -1"),
        ("wheel_bandit", {"delta": 1.5}, "delta is 1.5"),
        ("drifting_bandit", {"drift": -0.1}, "drift is -0.1"),
        ("drifting_bandit", {"drift": math.nan}, "drift is nan"),
        ("drifting_bandit", {"drift": math.inf}, "drift is inf"),
    ],
)
def test_impossible_problems_are_refused(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_simulator(name, 1, **arguments)
