"""Real endpoints on loopback, without Ray, for the demo's pages."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from algorithms.core.agent import Exploration
from algorithms.policy import Policy
from serve.demonstrating.context import Context
from serve.replica import Replica
from serve.settings import Settings
from serve.state import prepare
from tests.serve.simulated import slateq

EVOLUTION: dict[str, Any] = {"name": "interest_evolution", "time_budget": 30.0}
SWEETS: dict[str, Any] = {"name": "modified_long_term_satisfaction"}


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """An ASGI application on a free port; its URL."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@contextmanager
def demo_of(
    folder: Path, policy: Policy, world: dict[str, Any] | None, settings: Settings | None = None
) -> Iterator[Context]:
    """What the pages are told of an endpoint of a policy, while it answers."""
    policy.save(folder / "policy")
    prepare(folder / "state", str(folder / "policy"))
    chosen = settings or Settings()
    with listening(Replica(folder / "state", chosen).app()) as url:
        context = Context(url, str(folder / "policy"), str(folder / "state"), seed=11)
        if world is not None:
            context = replace(context, world={**world, "history": policy.history.to_json()})
        yield context


def greedy(world: dict[str, Any]) -> Policy:
    """A policy that looks at the history, and does not explore."""
    return slateq(world, Exploration())
