"""From a fragment to the rows that DQN learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from algorithms.core.fragment import Fragment
from algorithms.core.returns import lambda_returns, n_step_returns
from algorithms.core.rows import followed, next_values, of_candidates

if TYPE_CHECKING:
    from algorithms.dqn.agent import DQNAgent


def with_targets(agent: DQNAgent, fragment: Fragment) -> dict[str, Tensor]:
    """Rows with lambda-returns of the values that the fragment holds (see `core.revalue`)."""
    options, columns = agent.options, _acted(agent, fragment)
    code, centre = fragment.extra("code").flatten(0, 1), fragment.extra("centre").flatten()
    with torch.no_grad():
        value = agent.shown_value(code, columns["shown"], centre)
    extra = {"greedy": _greedy(agent, fragment)} if options.trace == "watkins" else {}
    targets = lambda_returns(
        fragment.happened("reward"),
        fragment.happened("terminated"),
        fragment.happened("truncated"),
        next_values(fragment),
        value.view(fragment.num_steps, fragment.num_users),
        lam=options.lambda_,
        discount=options.gamma,
        trace=options.trace,
        **extra,
    )
    return {**columns, "target": targets.flatten()}


def with_transitions(agent: DQNAgent, fragment: Fragment) -> dict[str, Tensor]:
    """Rows with the sum of n rewards and what followed, for a replay buffer.

    `discount` is that of the value of what followed; 0 where the user left.
    """
    options, users = agent.options, fragment.num_users
    terminated = fragment.happened("terminated")
    reward, count = n_step_returns(
        fragment.happened("reward"),
        terminated,
        fragment.happened("truncated"),
        n=options.n_step,
        discount=options.gamma,
    )
    steps = torch.arange(fragment.num_steps, device=reward.device)[:, None]
    # Rows stand in time order, users side by side.
    last = ((steps + count - 1) * users + torch.arange(users, device=reward.device)).flatten()
    discount = options.gamma ** count.flatten().to(reward.dtype)
    return {
        **_acted(agent, fragment),
        "reward": reward.flatten(),
        "discount": discount.masked_fill(terminated.flatten()[last], 0.0),
        **{name: value[last] for name, value in followed(fragment).items()},
    }


def _acted(agent: DQNAgent, fragment: Fragment) -> dict[str, Tensor]:
    columns = {
        "user": fragment.observed("user").flatten(0, 1),
        "history": fragment.observed("history").flatten(0, 1),
        "shown": of_candidates(fragment, fragment.slates),
    }
    if agent.options.dueling:
        columns["candidates"] = fragment.observed("candidates").flatten(0, 1)
        columns["mask"] = fragment.observed("mask").flatten(0, 1)
    return columns


def _greedy(agent: DQNAgent, fragment: Fragment) -> Tensor:
    """Whether each slate was the most valuable action, (T, B)."""
    slates, best = fragment.slates, fragment.extra("best")
    if not agent.options.ordered:
        slates, best = slates.sort(dim=2).values, best.sort(dim=2).values
    return (slates == best).all(dim=2)
