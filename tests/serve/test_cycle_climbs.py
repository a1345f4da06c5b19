"""Two cycles over real HTTP climb from random play to near the optimum."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.cycling.passing import Pass
from serve.cycling.settings import load_settings
from serve.simulating.client import Endpoint
from serve.simulating.play import Played, play
from serve.state import prepare

WORLD: dict[str, Any] = {"name": "modified_long_term_satisfaction", "backend": "torch"}
LEARN = (
    "learn.train.updates=2000",
    "learn.slateq.choice_scores=learned",
    "learn.slateq.choice_model=multinomial_logit",
    "learn.slateq.item_hidden=[32]",
    "learn.slateq.hidden=[64, 64]",
    "learn.slateq.window=10",
    "learn.slateq.lambda_=0.5",
    "learn.slateq.value_scale=30",
    "learn.slateq.initial_value=100",
)
"""As configs/offline/slateq_modified_long_term_satisfaction.yaml has it."""


@contextmanager
def endpoint(state: Path) -> Iterator[str]:
    """A replica as a process of its own; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "serve.replica:plain"]
    command += ["--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, "RECSIM_SERVE_STATE": str(state)}
    with subprocess.Popen(command, env=environment) as process:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        try:
            while not ready(url):
                assert process.poll() is None and time.monotonic() < deadline, "it does not start"
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def visit(url: str, users: int, seed: int) -> Played:
    async def run() -> Played:
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            return await play(Endpoint(http, 4, 100), WORLD, users, seed, 500)

    return asyncio.run(run())


@pytest.mark.slow
def test_two_cycles_over_http_climb(tmp_path: Path) -> None:
    state = tmp_path / "serving"
    prepare(state, "random", WORLD)
    settings = load_settings(None, LEARN)
    returns = []
    with endpoint(state) as url:
        for number, users in enumerate((2000, 1500, 500)):
            played = visit(url, users, number)
            returns.append(float(played.result.returns.mean()))
            if users != 500:
                found = Pass(state, settings, time.time() + 3600).run()
                assert found["deployed"]["replicas"] == 1
    assert 95 < returns[0] < 104  # random play
    assert returns[0] < returns[1] < returns[2]
    # The best policy that takes no account of what was shown before earns 108; the
    # optimum is 221, of which a tenth of random items takes a part.
    assert returns[2] > 165
