"""Values of an older fragment by the present weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from algorithms.core.agent import Agent
from algorithms.core.fragment import Fragment
from envs.simulator import Observation


@torch.no_grad()
def revalued(agent: Agent, fragment: Fragment) -> Fragment:
    """A fragment that was played with older weights, with the present weights' extras.

    What was shown and its probabilities stay. Targets that bootstrap from values
    one update old oscillate and learn far more slowly, while acting one update
    behind costs nothing measurable. Agents that bootstrap from a target network
    take no extras into their rows, so theirs stay as they are.
    """
    if agent.needs_target or not fragment.last_extras:
        return fragment
    size = fragment.slates.shape[2]
    seen = [step.observation for step in fragment.steps] + [fragment.last]
    *extras, last_extras = _decided(agent, seen, size)
    ended = [number for number, kept in enumerate(fragment.final_extras) if kept]
    final_extras: list[dict[str, Tensor]] = [{} for _ in fragment.steps]
    if ended:
        finals = [fragment.steps[number].transition.final for number in ended]
        for number, found in zip(ended, _decided(agent, finals, size), strict=True):
            final_extras[number] = found
    steps = [
        step._replace(extras=found) for step, found in zip(fragment.steps, extras, strict=True)
    ]
    return replace(fragment, steps=steps, last_extras=last_extras, final_extras=final_extras)


def _decided(
    agent: Agent, observations: list[Observation], slate_size: int
) -> list[dict[str, Tensor]]:
    """The extras of several batches of observations, decided on as one."""
    together = Observation(*(torch.cat(columns) for columns in zip(*observations, strict=True)))
    sizes = [len(observation.user) for observation in observations]
    parts = {
        name: value.split(sizes)
        for name, value in agent.decide(together, slate_size).extras.items()
    }
    return [{name: values[i] for name, values in parts.items()} for i in range(len(sizes))]
