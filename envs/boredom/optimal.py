"""Exact returns in small instances of boredom, by dynamic programming.

With the catalogue `genres`, a slate of one and tastes that follow from the age
group, a user's state is one of A age groups and S = (L + 1)^G levels of
boredom, so policies that know the levels can be computed and valued exactly.
With t steps taken, in age group a and state s, showing genre g is worth

    Q_t(a, s, g) = p + (1 - l) * (p * V_{t+1}(a, clicked) + (1 - p) * V_{t+1}(a, rested))

with p = P(click), l = P(leave), and V of the time budget 0. An agent that
infers the levels from its clicks can do as well and no better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from envs.boredom.world import Boredom

_MOST_VALUES = 1e8
"""Action values that are computed at most, S * G * A * T."""


class Plan(NamedTuple):
    """The best policy of those that know the levels of boredom.

    Attributes:
        genres: to show with t steps taken, (T, A, S) int64.
        values: clicks still to come, (T + 1, A, S) float64.
    """

    genres: Tensor
    values: Tensor

    @property
    def mean_return(self) -> float:
        """Expected clicks of a fresh user: the mean over age groups."""
        return float(self.values[0, :, 0].mean())


def optimal(world: Boredom) -> Plan:
    """The optimal policy and its values; the first of equally good genres.

    Raises:
        ValueError: the instance is not small; says what to set.
    """
    genres: list[Tensor] = []

    def best(q: Tensor, step: int) -> Tensor:
        value, genre = q.max(dim=2)
        genres.append(genre)
        return value

    values = _backward(world, best)
    return Plan(torch.stack(genres[::-1]), values)


def return_of(world: Boredom, probabilities: Tensor) -> float:
    """Expected clicks of a fresh user under a policy that may know the levels.

    Args:
        world: a small instance.
        probabilities: of each genre with t steps taken, (T, A, S, G) or any
            shape that broadcasts to it.
    """
    states = len(all_levels(world))
    shape = (world.time_budget, world.age_groups, states, world.num_genres)
    policy = probabilities.to(torch.float64).expand(shape)
    values = _backward(world, lambda q, step: (policy[step] * q).sum(dim=2))
    return float(values[0, :, 0].mean())


def myopic(world: Boredom) -> Tensor:
    """The policy that always shows what is most likely clicked, (A, S, G)."""
    click = _click(world, all_levels(world))
    return torch.nn.functional.one_hot(click.argmax(dim=2), world.num_genres)


def all_levels(world: Boredom) -> Tensor:
    """Levels of boredom in every state, (S, G); the first state is that of fresh users."""
    _check_small(world)
    levels = torch.arange(world.boredom_levels + 1, dtype=torch.float64)
    return torch.cartesian_prod(*[levels] * world.num_genres)


def state_index(world: Boredom, levels: Tensor) -> Tensor:
    """Rows of `all_levels` that hold the given levels, (..., G) to (...) int64."""
    base = world.boredom_levels + 1
    place = base ** torch.arange(world.num_genres - 1, -1, -1, device=levels.device)
    return (levels.long() * place).sum(dim=-1)


def _backward(world: Boredom, value_of: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Values (T + 1, A, S), from action values (A, S, G) of each step, last step first."""
    levels = all_levels(world)
    click = _click(world, levels)
    boredom = levels / world.boredom_levels
    stay = 1 - world.leaving(boredom.flatten()[:, None]).view_as(boredom)
    genres = torch.eye(world.num_genres, dtype=torch.float64)
    after_click = world.next_levels(levels[:, None], genres.expand(len(levels), -1, -1))
    clicked = state_index(world, after_click)
    rested = state_index(world, world.next_levels(levels, torch.zeros_like(levels)))
    values = [torch.zeros(world.age_groups, len(levels), dtype=torch.float64)]
    for step in range(world.time_budget - 1, -1, -1):
        later = values[-1]
        come = click * later[:, clicked] + (1 - click) * later[:, rested, None]
        values.append(value_of(click + stay * come, step))
    return torch.stack(values[::-1])


def _click(world: Boredom, levels: Tensor) -> Tensor:
    """Probability of a click on each genre shown alone, (A, S, G)."""
    scores = world.scores(world.mean_tastes.exact[:, None], levels / world.boredom_levels)
    return world.choice.probabilities(scores.view(-1, 1))[:, 0].view(scores.shape)


def _check_small(world: Boredom) -> None:
    if world.catalogue != "genres" or world.slate_size != 1 or world.taste_stddev != 0:
        raise ValueError(
            f"the catalogue is '{world.catalogue}', slate_size {world.slate_size} and "
            f"taste_stddev {world.taste_stddev}; the optimum can be computed with the catalogue "
            "'genres', slate_size 1 and taste_stddev 0"
        )
    states = (world.boredom_levels + 1) ** world.num_genres
    if states * world.num_genres * world.age_groups * world.time_budget > _MOST_VALUES:
        raise ValueError(
            f"{world.num_genres} genres of {world.boredom_levels + 1} levels of boredom make "
            f"{states:,} states, too many for a value of each genre, age group and step; lower "
            "num_genres or boredom_levels, or age_groups or time_budget"
        )
