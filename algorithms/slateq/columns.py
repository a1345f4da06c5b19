"""From a fragment to the rows that SlateQ learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from algorithms.core.fragment import Fragment
from algorithms.core.returns import lambda_returns
from algorithms.core.rows import followed, next_values, of_candidates

if TYPE_CHECKING:
    from algorithms.slateq.agent import SlateQAgent


def with_targets(agent: SlateQAgent, fragment: Fragment) -> dict[str, Tensor]:
    """Rows with lambda-returns of the values that the fragment holds (see `core.revalue`)."""
    options = agent.options
    slot, position = chosen(agent, fragment)
    clicked = slot < fragment.slates.shape[2]
    values = fragment.extra("item_values")
    chosen_value = torch.where(
        clicked,
        values.gather(2, position[..., None])[..., 0],
        fragment.extra("no_click_value"),
    )
    extra: dict[str, Tensor] = {}
    if options.trace == "watkins":
        extra["greedy"] = (fragment.slates == fragment.extra("best")).all(dim=2)
    if options.trace == "sarsa":
        extra["shown_value"] = _shown_value(agent, fragment)
    targets = lambda_returns(
        fragment.happened("reward"),
        fragment.happened("terminated"),
        fragment.happened("truncated"),
        next_values(fragment),
        chosen_value,
        lam=options.lambda_,
        discount=options.gamma,
        trace=options.trace,
        **extra,
    )
    return {**_acted(agent, fragment, slot, position), "target": targets.flatten()}


def with_transitions(agent: SlateQAgent, fragment: Fragment) -> dict[str, Tensor]:
    """Rows with what followed, for a replay buffer.

    SARSA needs the slate shown next, so it leaves out the last step of each
    fragment, and steps whose session the time limit ended.
    """
    slot, position = chosen(agent, fragment)
    columns = {
        **_acted(agent, fragment, slot, position),
        "reward": fragment.happened("reward").flatten(),
        "terminated": fragment.happened("terminated").flatten(),
        **followed(fragment),
    }
    if agent.options.target == "sarsa":
        slates = fragment.slates
        columns["next_slates"] = torch.cat([slates[1:], slates[:1]]).flatten(0, 1)
        known = ~fragment.happened("truncated")
        known[-1] = fragment.happened("terminated")[-1]
        columns = {name: value[known.flatten()] for name, value in columns.items()}
    return columns


def chosen(agent: SlateQAgent, fragment: Fragment) -> tuple[Tensor, Tensor]:
    """The clicked slot, (T, B) in 0..K (K is no click), and its candidate's position, (T, B).

    Raises:
        ValueError: a slate has several clicks, which SlateQ's choice models don't know.
    """
    click = fragment.answered(agent.spec.response_slice("click")).squeeze(-1)
    clicks = click.sum(dim=2)
    if bool((clicks > 1).any()):
        raise ValueError(
            "a slate got several clicks, but SlateQ's choice models allow one; "
            "make the response keep the first click only"
        )
    first = click.argmax(dim=2)
    position = fragment.slates.gather(2, first[..., None])[..., 0]
    return torch.where(clicks > 0, first, click.shape[2]), position


def _acted(
    agent: SlateQAgent, fragment: Fragment, slot: Tensor, position: Tensor
) -> dict[str, Tensor]:
    columns = {
        "user": fragment.observed("user").flatten(0, 1),
        "history": fragment.observed("history").flatten(0, 1),
        "item": of_candidates(fragment, position),
        "clicked": (slot < fragment.slates.shape[2]).flatten(),
    }
    if agent.network.learned_choice:
        columns["slot"] = slot.flatten()
        columns["shown"] = of_candidates(fragment, fragment.slates)
    return columns


def _shown_value(agent: SlateQAgent, fragment: Fragment) -> Tensor:
    steps = [
        agent.shown_value(
            step.extras["no_click_value"],
            step.extras["item_values"],
            step.extras["masses"],
            step.slates,
        )
        for step in fragment.steps
    ]
    return torch.stack(steps)
