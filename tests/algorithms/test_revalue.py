"""Fragments valued again by newer weights."""

from __future__ import annotations

import torch

from algorithms.core.agent import Exploration
from algorithms.core.collect import Collector
from algorithms.core.fragment import Fragment
from algorithms.core.revalue import revalued
from algorithms.slateq import SlateQAgent
from envs.registry import make_simulator


def played(**settings) -> tuple[SlateQAgent, Fragment]:
    # Sessions of 3 steps that a time limit ends, at different times.
    world = make_simulator("interest_exploration", 4, noise="stream", time_limit=3, slate_size=2)
    torch.manual_seed(0)
    agent = SlateQAgent(world.spec, world.history, 2, {"hidden": (8,), **settings})
    fragment, _ = Collector(world, agent, seed=1).collect(6, Exploration(epsilon=0.5), stagger=3)
    return agent, fragment


def everything(fragment: Fragment) -> list[dict[str, torch.Tensor]]:
    of_steps = [step.extras for step in fragment.steps]
    return [*of_steps, fragment.last_extras, *fragment.final_extras]


def assert_close(found: Fragment, expected: Fragment) -> None:
    for one, other in zip(everything(found), everything(expected), strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            torch.testing.assert_close(value, other[name])


def test_with_the_same_weights_nothing_changes() -> None:
    agent, fragment = played()
    assert sum(bool(extras) for extras in fragment.final_extras) >= 2
    assert_close(revalued(agent, fragment), fragment)


def test_newer_weights_value_anew_what_older_ones_showed() -> None:
    agent, fragment = played()
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(0.1)
    found = revalued(agent, fragment)
    step = fragment.steps[4]
    expected = agent.decide(step.observation, 2).extras["value"]
    torch.testing.assert_close(found.steps[4].extras["value"], expected)
    assert not torch.allclose(expected, step.extras["value"])
    assert torch.equal(found.slates, fragment.slates)
    assert torch.equal(found.slot_log_probs, fragment.slot_log_probs)
    ended = next(number for number, extras in enumerate(fragment.final_extras) if extras)
    expected = agent.decide(fragment.steps[ended].transition.final, 2).extras["value"]
    torch.testing.assert_close(found.final_extras[ended]["value"], expected)


def test_a_target_network_values_by_itself() -> None:
    agent, fragment = played(learning="replay")
    assert revalued(agent, fragment) is fragment
