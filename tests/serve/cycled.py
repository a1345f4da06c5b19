"""An endpoint within the tests' process, with users, for passes of a cycle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from serve.cycling.passing import Pass
from serve.cycling.settings import CycleSettings, load_settings
from serve.replica import Replica
from serve.settings import Settings
from serve.simulating.client import Endpoint
from serve.simulating.play import Played, play
from serve.state import prepare

WORLD: dict[str, Any] = {"name": "boredom", "backend": "torch", "time_budget": 3}

SMALL = (
    "learn.train.updates=40",
    "learn.slateq.hidden=[16]",
    "learn.slateq.window=4",
    "judge.min_sessions=10",
    "canary.min_sessions=10",
    "wait=10",
)
"""Settings for a pass that takes a second."""


def small(*more: str) -> CycleSettings:
    return load_settings(None, [*SMALL, *more])


@contextmanager
def endpoint(state: Path, world: dict[str, Any] | None = None) -> Iterator[Any]:
    """A replica that takes deployments, serving `random` first."""
    if not (state / "live.json").exists():
        prepare(state, "random", world or WORLD)
    replica = Replica(state, Settings(watch_seconds=0.02))
    app = replica.app()
    replica.start()
    try:
        yield app
    finally:
        replica.stop()


def visit(app: Any, users: int, seed: int, world: dict[str, Any] | None = None) -> Played:
    """So many fresh users."""

    async def run() -> Played:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await play(Endpoint(http, 4, 100), world or WORLD, users, seed, 500)

    return asyncio.run(run())


def do_pass(state: Path, *more: str, dry_run: bool = False) -> dict[str, Any]:
    """A pass after which all sessions are over."""
    return Pass(state, small(*more), time.time() + 3600, dry_run).run()
