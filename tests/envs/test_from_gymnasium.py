"""Environments of Gymnasium's registry keep the contract of a simulator."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, tensor

from envs import make_simulator
from envs.from_gymnasium import is_gymnasium_id
from envs.simulator import Observation, Simulator, Transition
from envs.spaces import action_space
from envs.spec import FeatureSpec

# Short sessions, so that every test sees some end in either way.
SHORT: dict[str, dict[str, Any]] = {
    "CartPole-v1": {"max_steps": 15},
    "CliffWalking-v1": {"max_steps": 5},
    "FrozenLake-v1": {"max_steps": 6},
    "Blackjack-v1": {},
    "Pendulum-v1": {"max_steps": 4},
}
environments = pytest.mark.parametrize("name", SHORT)


def make(name: str, num_users: int = 5, **arguments: Any) -> Simulator:
    return make_simulator(name, num_users, **{"seed": 3, **SHORT[name], **arguments})


def actions(simulator: Simulator, step: int) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    if simulator.spec.actions == "box":
        return torch.randn(8, simulator.spec.candidate_size, generator=generator)
    return torch.randint(simulator.num_candidates, (8, 1), generator=generator)


def play(simulator: Simulator, steps: int = 25) -> list[Transition]:
    return [simulator.step(actions(simulator, t)[: simulator.num_users]) for t in range(steps)]


def fields(transition: Transition) -> list[Tensor]:
    flat: list[Tensor] = []
    for value in transition:
        flat.extend(value if isinstance(value, Observation) else [value])
    return flat


def assert_same(one: list[Transition], other: list[Transition]) -> None:
    for a, b in zip(one, other, strict=True):
        for x, y in zip(fields(a), fields(b), strict=True):
            assert torch.equal(x, y)


def test_ids_are_told_from_worlds() -> None:
    assert is_gymnasium_id("CartPole-v1")
    assert not is_gymnasium_id("interest_evolution")
    assert not is_gymnasium_id("RecSim/InterestEvolution-v1")  # ours, as a view
    with pytest.raises(ValueError, match="did you mean 'CartPole-v1'"):
        make_simulator("CartPole-v7", 1)


@environments
def test_sessions_are_those_of_gymnasium(name: str) -> None:
    simulator = make(name, 2)
    observed = simulator.reset(tensor([7, 9]))
    env = gymnasium.make(name, max_episode_steps=simulator.time_limit)
    seen, _ = env.reset(seed=int(np.random.SeedSequence((3, 9)).generate_state(1)[0]))
    for step in range(30):
        flat = gymnasium.spaces.flatten(env.observation_space, seen)
        torch.testing.assert_close(observed.user[1], torch.tensor(flat, dtype=torch.float32))
        action = actions(simulator, step)[:2]
        transition = simulator.step(action)
        one = action[1].numpy() if simulator.spec.actions == "box" else int(action[1, 0])
        seen, reward, terminated, truncated, _ = env.step(one)
        assert float(transition.reward[1]) == pytest.approx(float(reward))
        assert bool(transition.terminated[1]) == terminated
        assert bool(transition.truncated[1]) == (truncated and not terminated)
        observed = transition.observation
        if terminated or truncated:
            at = transition.finished.tolist().index(1)
            last = gymnasium.spaces.flatten(env.observation_space, seen)
            expected = torch.tensor(last, dtype=torch.float32)
            torch.testing.assert_close(transition.final.user[at], expected)
            return
    raise AssertionError("the session never ended")


@environments
def test_a_batch_of_one_is_a_row_of_a_batch(name: str) -> None:
    batch, alone = make(name), make(name, 1)
    first = batch.reset().user[3]
    assert torch.equal(alone.reset(tensor([3])).user[0], first)
    for step in range(30):
        action = actions(batch, step)[:5]
        mine, theirs = alone.step(action[3:4]), batch.step(action)
        assert torch.equal(mine.reward[0], theirs.reward[3])
        assert torch.equal(mine.response[0], theirs.response[3])
        if len(mine.finished):
            return
        assert torch.equal(mine.observation.user[0], theirs.observation.user[3])
    raise AssertionError("the session never ended")


@environments
def test_finished_sessions_are_replaced(name: str) -> None:
    simulator = make(name)
    simulator.reset()
    next_user = 5
    for transition in play(simulator):
        rows = transition.finished
        ended = transition.terminated | transition.truncated
        assert rows.tolist() == ended.nonzero().squeeze(1).tolist()
        assert not (transition.terminated & transition.truncated).any()
        assert transition.observation.has_response[:, 0].tolist() == (~ended).float().tolist()
        assert not transition.observation.response[rows].any()
        for i, row in enumerate(rows.tolist()):
            fresh = make(name, 1).reset(tensor([next_user + i]))
            assert torch.equal(fresh.user[0], transition.observation.user[row])
        next_user += len(rows)
    assert next_user > 10


@environments
def test_without_replacement_rows_fall_silent(name: str) -> None:
    simulator = make(name, replace=False)
    simulator.reset()
    over = torch.zeros(5, dtype=torch.bool)
    for transition in play(simulator, 30):
        assert not transition.reward[over].any()
        assert not transition.response[over].any()
        assert not over[transition.finished].any()
        over |= transition.terminated | transition.truncated
    assert over.all()


@environments
@pytest.mark.parametrize("replace", [True, False])
def test_a_state_continues_with_the_same_numbers(name: str, replace: bool) -> None:
    history = [{"what": "item*reward", "keep": 0.5}]
    simulator = make(name, replace=replace, history=history)
    simulator.reset()
    play(simulator, 3)
    state = simulator.get_state()
    expected = play(simulator)
    other = make(name, replace=replace, history=history)
    other.set_state(state)
    assert_same(expected, play(other))
    simulator.set_state(state)
    assert_same(expected, play(simulator))


def test_discrete_actions_are_candidates_and_observations_one_hot() -> None:
    simulator = make_simulator("CliffWalking-v1", 2)
    observed = simulator.reset()
    assert torch.equal(observed.candidates[1], torch.eye(4))
    assert observed.user[0].argmax() == 36  # the start, bottom left of a 4 x 12 grid
    # Left along the edge costs 1 and stays, right falls off the cliff for 100.
    transition = simulator.step(tensor([[3], [1]]))
    assert transition.reward.tolist() == [-1.0, -100.0]
    assert transition.response.tolist() == [[[1.0, -1.0]], [[1.0, -100.0]]]


def test_sessions_without_a_limit_get_one() -> None:
    assert make_simulator("CliffWalking-v1", 1).time_limit == 1000
    assert make_simulator("CartPole-v1", 1).time_limit == 500
    assert make_simulator("CartPole-v1", 1, max_steps=700).time_limit == 700


def test_arguments_reach_the_environment() -> None:
    right, down = 2, 1
    safe = make_simulator("FrozenLake-v1", 64, is_slippery=False)
    slippery = make_simulator("FrozenLake-v1", 64)
    ends = []
    for simulator in (safe, slippery):
        simulator.reset()
        simulator.step(torch.full((64, 1), right))
        ends.append(simulator.step(torch.full((64, 1), down)).observation.user.argmax(1))
    assert len(ends[0].unique()) == 1 < len(ends[1].unique())


def test_made_actions_are_clipped_to_their_bounds_and_remembered_as_they_were() -> None:
    history = [{"what": "action_0", "keep": "last"}]
    one, other = (make_simulator("Pendulum-v1", 2, history=history) for _ in range(2))
    for simulator in (one, other):
        simulator.reset()
    beyond = one.step(tensor([[5.0], [-5.0]]))
    at = other.step(tensor([[2.0], [-2.0]]))
    assert torch.equal(beyond.observation.user, at.observation.user)
    assert beyond.observation.history.tolist() == [[5.0], [-5.0]]


def test_the_kind_of_actions_is_stated_and_survives_json() -> None:
    spec = make_simulator("Pendulum-v1", 1).spec
    assert (spec.actions, spec.candidate[0].low, spec.candidate[0].high) == ("box", -2.0, 2.0)
    assert FeatureSpec.from_json(spec.to_json()) == spec
    slate = make_simulator("CartPole-v1", 1).spec
    assert slate.actions == "slate"
    assert "actions" not in slate.to_json()  # or every history would change its version
    assert math.isinf(slate.user[0].high)
    assert FeatureSpec.from_json(slate.to_json()) == slate
    assert action_space(make_simulator("Pendulum-v1", 1)).shape == (1,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_simulator("CartPole-v1", 0), "num_users is 0"),
        (lambda: make_simulator("CartPole-v1", 1, max_steps=0), "max_steps is 0"),
        (lambda: make_simulator("CartPole-v1", 1, max_step=9), "did you mean 'max_steps'"),
        (lambda: make_simulator("CartPole-v1", 1, device="cuda"), "set device to cpu"),
        (lambda: step("CartPole-v1", tensor([[2]])), "allowed are 0 to 1"),
        (lambda: step("Pendulum-v1", tensor([[1]])), r"expected \(1, 1\) floats"),
        (lambda: step("Pendulum-v1", tensor([[math.nan]])), "NaN or infinite"),
    ],
)
def test_mistakes_end_in_a_sentence(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_environment_whose_packages_are_missing_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gymnasium.register("Absent-v0", entry_point="there_is_no_such_package:Env")
    monkeypatch.setitem(gymnasium.registry, "Absent-v0", gymnasium.registry.pop("Absent-v0"))
    with pytest.raises(ValueError, match="'Absent-v0' cannot be imported: No module named"):
        make_simulator("Absent-v0", 1)


def step(name: str, action: Tensor) -> Transition:
    simulator = make_simulator(name, 1)
    simulator.reset()
    return simulator.step(action)
