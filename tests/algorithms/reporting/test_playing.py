import numpy as np
import pytest

from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy, baseline
from algorithms.reporting.playing import Playback, play_sessions
from envs.registry import make_simulator

WORLD = {"name": "interest_evolution", "time_budget": 20.0}


def acting(name: str, world: dict[str, object]) -> Policy:
    simulator = make_simulator(num_users=1, **{**world, "history": []})  # type: ignore[arg-type]
    return baseline(name, simulator.spec, simulator.history, simulator.slate_size)


def played(name: str, world: dict[str, object] = WORLD, users: int = 6) -> Playback:
    return play_sessions(acting(name, world), world, users, 3)


@pytest.mark.parametrize("name", ["random", "click_maximiser"])
def test_the_sessions_are_those_of_an_evaluation(name: str) -> None:
    found = played(name)
    evaluated = evaluate_policy(acting(name, WORLD), WORLD, 6, 3)
    np.testing.assert_allclose(found.result.returns, evaluated.returns, rtol=1e-6)
    np.testing.assert_array_equal(found.result.lengths, evaluated.lengths)
    assert found.result.totals.keys() == evaluated.totals.keys()
    for total, values in evaluated.totals.items():
        np.testing.assert_allclose(found.result.totals[total], values, rtol=1e-5)


def test_chunks_of_users_of_unequal_length_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = played("click_maximiser")
    monkeypatch.setattr("algorithms.reporting.playing.CHUNK", 2)
    parts = played("click_maximiser")
    np.testing.assert_array_equal(whole.playing, parts.playing)
    np.testing.assert_allclose(whole.result.returns, parts.result.returns)
    np.testing.assert_array_equal(whole.topic[whole.playing], parts.topic[whole.playing])  # type: ignore[index]


def test_what_is_shown_is_what_the_world_tells_of_it() -> None:
    found = played("click_maximiser", users=40)
    interest = "interest in the topic"
    assert found.tension == (interest, "mean quality of the topic")
    # It shows what interests most: more than what is offered, for every user and step.
    margin = found.shown[interest].mean(axis=2) - found.offered[interest]
    assert margin[found.playing].min() > 0
    # The budget before the first step is the whole one.
    assert found.users["time left, minutes"][0].tolist() == [20.0] * 40
    # Reward is watch time, which needs a click.
    clicked = found.click.any(axis=2) & found.playing
    assert ((found.reward > 0) == clicked)[found.playing].all()


def test_random_slates_have_all_the_entropy_and_certain_ones_none() -> None:
    for name, expected in (("random", 1.0), ("click_maximiser", 0.0)):
        found = played(name)
        assert found.spread is not None
        np.testing.assert_allclose(found.spread[found.playing], expected, atol=1e-5)


def test_actions_are_shown_where_there_are_no_slates() -> None:
    from algorithms.core.agent import Exploration
    from algorithms.registry import algorithm

    world = {"name": "Pendulum-v1", "max_steps": 5}
    simulator = make_simulator(num_users=1, **world)  # type: ignore[arg-type]
    entry = algorithm("a2c")
    settings = entry.settings().model_dump()
    agent = entry.agent(simulator.spec, simulator.history, simulator.slate_size, settings)
    found = play_sessions(Policy(agent, exploration=Exploration()), world, 3, 0)
    assert not found.slates and found.topic is None and found.spread is None
    assert found.shown["action_0"].shape == (5, 3, 1)
    assert set(found.users) == {"observation 0", "observation 1", "observation 2"}


def test_a_world_that_tells_nothing_is_shown_by_its_features() -> None:
    world = {"name": "CartPole-v1", "max_steps": 4}
    found = played("random", world, users=3)
    assert found.topic_kind == "action" and found.topic_names == ("action 0", "action 1")
    assert found.topic is not None and found.topic.shape == (4, 3, 1)
    assert found.tension is None
