"""Endpoints within the tests' process, and simulated users who ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch

from algorithms.core.agent import Exploration
from algorithms.policy import Policy, baseline
from algorithms.slateq import SlateQAgent, SlateQSettings
from envs.registry import make_simulator
from offline.log.schema import Header
from serve.engine import Engine
from serve.ingress import make_app
from serve.journal import Journal, write_header
from serve.live import Arm, Live
from serve.settings import Settings
from serve.simulating.client import Endpoint
from serve.simulating.play import Played, play
from tests.serve.conftest import KEYS

SEED = 5
EVOLUTION: dict[str, Any] = {"name": "interest_evolution", "backend": "torch"}
BOREDOM: dict[str, Any] = {"name": "boredom", "backend": "torch", "time_budget": 6}


def slateq(world: dict[str, Any], exploration: Exploration) -> Policy:
    """With weights that only the seed decides, and a history that they look at."""
    simulator = make_simulator(num_users=1, **world)
    torch.manual_seed(3)
    settings = SlateQSettings(hidden=(16,)).model_dump()
    agent = SlateQAgent(simulator.spec, simulator.history, simulator.slate_size, settings)
    assert agent.history.size > 0
    return Policy(
        agent, exploration=exploration, reward=simulator.reward_name, info={"world": world}
    )


def of_baseline(name: str, world: dict[str, Any]) -> Policy:
    simulator = make_simulator(num_users=1, **world)
    policy = baseline(name, simulator.spec, simulator.history, simulator.slate_size)
    policy.reward = simulator.reward_name
    return policy


@contextmanager
def served(folder: Path, *policies: Policy, settings: Settings | None = None) -> Iterator[Any]:
    """An endpoint of these policies, as equal arms."""
    chosen, first = settings or Settings(), policies[0]
    header = Header(first.spec, first.history, first.reward)
    folder.mkdir(parents=True, exist_ok=True)
    write_header(folder, header)
    journal = Journal(folder, "00000000", chosen.log)
    engine = Engine(header, KEYS, chosen, journal)
    arms = [Arm(f"arm-{n}", 1.0, policy, f"{n}") for n, policy in enumerate(policies)]
    engine.live = Live(1, tuple(arms), "salt")
    try:
        yield make_app(engine, KEYS)
    finally:
        journal.close()


def simulate(
    app: Any, world: dict[str, Any], users: int, *, batch: int = 50, together: int = 500
) -> tuple[Played, list[str]]:
    """What users met, and the paths of their requests."""
    paths: list[str] = []

    async def note(request: httpx.Request) -> None:
        paths.append(request.url.path)

    async def run() -> Played:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://test",
            event_hooks={"request": [note]},
        ) as http:
            return await play(Endpoint(http, 4, batch), world, users, SEED, together)

    return asyncio.run(run()), paths
