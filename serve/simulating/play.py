"""Plays simulated users against an endpoint, one session each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from algorithms.environment import World
from algorithms.evaluation import Estimate, EvaluationResult, one_thread
from envs.registry import make_simulator
from envs.simulator import Simulator, Transition
from serve.simulating.client import Endpoint, check_fit
from serve.simulating.messages import objects, positions, requests


@dataclass
class Played:
    """What happened to each user.

    Attributes:
        result: as `algorithms.evaluate` has it.
        arms: which arm answered each session first, (users,).
        answers: slates that were shown.
    """

    result: EvaluationResult
    arms: list[str]
    answers: int

    def by_arm(self) -> dict[str, dict[str, Any]]:
        """Sessions and their return, by arm."""
        names = np.array(self.arms, object)
        return {
            arm: {
                "sessions": int((names == arm).sum()),
                "return": Estimate.of(self.result.returns[names == arm]).to_json(),
            }
            for arm in sorted(set(self.arms))
        }


@dataclass
class _Group:
    """Users side by side, with what they got so far."""

    simulator: Simulator
    names: list[str]
    tokens: list[str] = field(default_factory=list)
    impressions: list[str] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    answers: int = 0

    def __post_init__(self) -> None:
        self.tokens = [""] * len(self.names)
        self.impressions, self.arms = [*self.tokens], [*self.tokens]


async def play(
    endpoint: Endpoint,
    world: World,
    users: int,
    seed: int,
    together: int,
    tick: Callable[[int], None] = lambda done: None,
) -> Played:
    """Users 0 to `users` - 1, with the luck that `algorithms.evaluate` gives them.

    Args:
        endpoint: that answers.
        world: arguments of `envs.registry.make_simulator`.
        users: one session each.
        seed: of their luck.
        together: users side by side.
        tick: told how many are done, now and then.

    Raises:
        EndpointError: the endpoint does not fit the world, refuses, or does not answer.
    """
    one = make_simulator(num_users=1, **world)
    described = await endpoint.policy()
    endpoint.limit(described["limits"]["max_batch"])
    check_fit(described, one.spec, one.num_candidates, one.slate_size)
    parts: list[Played] = []
    for first in range(0, users, together):
        count = min(together, users - first)
        simulator = make_simulator(num_users=count, seed=seed, replace=False, **world)
        names = [f"{seed}-{first + number}" for number in range(count)]
        with one_thread():
            parts.append(await _play(_Group(simulator, names), endpoint, first))
        tick(first + count)
    results = [part.result for part in parts]
    return Played(
        EvaluationResult(
            np.concatenate([found.returns for found in results]),
            np.concatenate([found.lengths for found in results]),
            {
                name: np.concatenate([found.totals[name] for found in results])
                for name in results[0].totals
            },
            str(world.get("backend", "torch")),
        ),
        [arm for part in parts for arm in part.arms],
        sum(part.answers for part in parts),
    )


async def _play(group: _Group, endpoint: Endpoint, first: int) -> Played:
    simulator = group.simulator
    seen = simulator.reset(torch.arange(first, first + simulator.num_users))
    returns = torch.zeros(simulator.num_users, dtype=torch.float64)
    lengths = torch.zeros_like(returns)
    totals: dict[str, torch.Tensor] = {}
    playing = torch.ones(simulator.num_users, dtype=torch.bool)
    # Rows whose session is over are not asked for; any slate will do.
    slates = torch.arange(simulator.slate_size).repeat(simulator.num_users, 1)
    last: Transition | None = None
    step = 0
    while bool(playing.any()):
        rows = playing.nonzero()[:, 0].tolist()
        shown = await _ask(group, endpoint, seen, rows, step, last)
        slates[rows] = torch.tensor(shown)
        last = simulator.step(slates)
        returns += last.reward * playing
        lengths += playing
        for name, value in simulator.metrics(last.response).items():
            totals[name] = totals.get(name, torch.zeros_like(returns)) + value * playing
        over = playing & (last.terminated | last.truncated)
        await _say_goodbye(group, endpoint, last, over.nonzero()[:, 0].tolist())
        playing = playing & ~over
        seen, step = last.observation, step + 1
    result = EvaluationResult(
        returns.numpy(), lengths.numpy(), {name: v.numpy() for name, v in totals.items()}, ""
    )
    return Played(result, group.arms, group.answers)


async def _ask(
    group: _Group,
    endpoint: Endpoint,
    seen: Any,
    rows: list[int],
    step: int,
    last: Transition | None,
) -> list[list[int]]:
    """Slates for users whose sessions go on, who say what came back for the slate before."""
    simulator = group.simulator
    asked = list(requests(simulator.spec, seen, rows, group.names, step, simulator.slate_size))
    if last is not None:
        for request, row, responses in zip(
            asked, rows, _responses(simulator, last, rows), strict=True
        ):
            request |= {"session": group.tokens[row], "responses": responses}
    answers = await endpoint.recommend(asked)
    for row, answer in zip(rows, answers, strict=True):
        group.tokens[row], group.impressions[row] = answer["session"], answer["impression_id"]
        group.arms[row] = group.arms[row] or answer["arm"]
    group.answers += len(answers)
    return [positions(answer) for answer in answers]


async def _say_goodbye(
    group: _Group, endpoint: Endpoint, last: Transition, rows: list[int]
) -> None:
    """The last responses of sessions have no next request to come with."""
    if rows:
        responses = _responses(group.simulator, last, rows)
        await endpoint.feedback(
            [
                {"impression_id": group.impressions[row], "responses": given}
                for row, given in zip(rows, responses, strict=True)
            ]
        )


def _responses(
    simulator: Simulator, last: Transition, rows: Sequence[int]
) -> list[list[dict[str, Any]]]:
    """What came back for the slates of some users, slot by slot."""
    return [objects(simulator.spec.response, table) for table in last.response[list(rows)].numpy()]
