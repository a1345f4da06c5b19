"""The collector: what it counts, how it starts, how it continues."""

from __future__ import annotations

import math

import pytest
import torch

from algorithms.core.agent import Exploration
from algorithms.core.collect import Collector, random_slates
from envs.registry import make_simulator


def test_returns_and_lengths_are_those_of_the_sessions_that_ended(make_agent) -> None:
    simulator = make_simulator("interest_exploration", 4, time_limit=3)
    from algorithms.baselines import RandomAgent

    agent = RandomAgent(simulator.spec, simulator.history, simulator.slate_size, {})
    fragment, statistics = Collector(simulator, agent, 0).collect(7, Exploration(epsilon=1.0))
    reward = fragment.happened("reward")
    assert statistics.lengths.tolist() == [3] * 8  # 4 users, two sessions of 3 steps each
    expected = torch.cat([reward[:3].sum(0), reward[3:6].sum(0)])
    assert statistics.returns.tolist() == expected.tolist()


def test_sessions_start_at_different_times(make_agent) -> None:
    simulator = make_simulator("interest_exploration", 8, time_limit=8)
    from algorithms.baselines import RandomAgent

    agent = RandomAgent(simulator.spec, simulator.history, simulator.slate_size, {})
    fragment, _ = Collector(simulator, agent, 0).collect(8, Exploration(1.0), stagger=8)
    # Each step exactly one of the 8 users finishes; together they would all finish at once.
    assert fragment.happened("truncated").sum(dim=1).tolist() == [1] * 8


def test_a_restored_collector_continues_with_the_same_numbers(make_agent) -> None:
    def fresh() -> Collector:
        simulator = make_simulator("interest_evolution", 8, seed=3, noise="stream")
        return Collector(simulator, make_agent(), seed=4)

    first = fresh()
    first.collect(5, Exploration(0.3), stagger=4)
    state = first.get_state()
    expected = first.collect(5, Exploration(0.3))[0]
    second = fresh()
    second.set_state(state)
    again = second.collect(5, Exploration(0.3))[0]
    assert torch.equal(expected.slates, again.slates)
    assert torch.equal(expected.happened("reward"), again.happened("reward"))
    assert torch.equal(expected.observed("history"), again.observed("history"))


def test_observations_of_a_fragment_are_those_that_were_acted_on(make_agent, simulator) -> None:
    fragment, _ = Collector(simulator, make_agent(), 0).collect(3, Exploration())
    for before, after in zip(fragment.steps[:-1], fragment.steps[1:], strict=True):
        assert torch.equal(before.transition.observation.user, after.observation.user)
        going_on = ~before.transition.terminated
        shown = after.observation.response[going_on]
        assert torch.equal(shown, before.transition.response[going_on])


def test_a_reward_that_is_not_finite_is_refused(make_agent, simulator) -> None:
    collector = Collector(simulator, make_agent(), 0)
    play = simulator.step

    def spoilt(slates):
        transition = play(slates)
        transition.reward[5] = math.nan
        return transition

    simulator.step = spoilt
    with pytest.raises(ValueError, match="the reward is nan at step 0 of a fragment, user row 5"):
        collector.collect(2, Exploration())


def test_random_slates_are_distinct_and_eligible() -> None:
    mask = torch.tensor([[True, False, True, True, False]]).expand(100, -1)
    slates = random_slates(mask, 3, torch.Generator().manual_seed(0))
    assert slates.sort(dim=1).values.tolist() == [[0, 2, 3]] * 100


@pytest.mark.parametrize("steps", [1, 4])
def test_a_fragment_has_the_shapes_it_claims(make_agent, simulator, steps) -> None:
    fragment, _ = Collector(simulator, make_agent(), 0).collect(steps, Exploration(0.5))
    assert (fragment.num_steps, fragment.num_users) == (steps, 8)
    assert fragment.observed("candidates").shape == (steps, 8, 10, 20)
    assert fragment.slates.shape == fragment.slot_log_probs.shape == (steps, 8, 3)


def test_means_tell_the_reward_of_a_step_and_how_many_slates_departed(make_agent) -> None:
    from algorithms.baselines import RandomAgent

    simulator = make_simulator("interest_evolution", 64, num_candidates=2, slate_size=1)
    agent = RandomAgent(simulator.spec, simulator.history, 1, {})
    collector = Collector(simulator, agent, 0)
    fragment, statistics = collector.collect(32, Exploration(epsilon=1.0))
    assert statistics.means["reward"] == pytest.approx(float(fragment.happened("reward").mean()))
    # Of 2 items, the uniform one is the other one half of the time: 512 slates looked at.
    assert statistics.means["non_greedy"] == pytest.approx(0.5, abs=0.07)
    assert collector.collect(4, Exploration())[1].means["non_greedy"] == 0.0


def test_every_fourth_step_stands_for_the_others(make_agent) -> None:
    simulator = make_simulator("interest_evolution", 16, seed=3)
    agent = make_agent()
    fragment, statistics = Collector(simulator, agent, 0).collect(8, Exploration(0.5))
    looked_at = [(fragment.slates[t] != fragment.extra("best")[t]).any(1) for t in (0, 4)]
    assert statistics.means["non_greedy"] == float(torch.cat(looked_at).float().mean())
