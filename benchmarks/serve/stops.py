"""Requests in flight that fail when our command is stopped under load."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from benchmarks.core import Benchmark, Goal, Numbers, Row
from benchmarks.serve.load import Load, Reply, failed
from benchmarks.serve.servers import bodies, logged, ours, scratch, session, torn

CONNECTIONS = 8


def measure(quick: bool) -> Numbers:
    """SIGTERM to the command, and SIGINT to all its processes, as a terminal's Ctrl-C sends it."""
    stops: dict[str, list[dict[str, Any]]] = {"SIGTERM": [], "Ctrl-C": []}
    for _ in range(1 if quick else 3):
        for name, kept in stops.items():
            with scratch() as folder:
                kept.append(_stop(folder, name))
    every = [stop for kept in stops.values() for stop in kept]
    return {
        "stops": stops,
        "failed": sum(stop["failed"] for stop in every),
        "lost": sum(stop["answered_not_logged"] + stop["torn"] for stop in every),
        "stopped": all(stop["status"] == 0 for stop in every),
        "requests": sum(stop["requests"] for stop in every),
    }


def _stop(folder: Path, name: str) -> dict[str, Any]:
    state = folder / "state"
    with ours(folder) as server:
        with Load(server.url, bodies(), CONNECTIONS, session=session()) as load:
            load.until(200)
            if name == "SIGTERM":
                server.process.send_signal(signal.SIGTERM)
            else:
                os.killpg(server.process.pid, signal.SIGINT)
            status = server.process.wait(90)
        left = [process.name() for process in server.tree()]
    answered = {one for reply in load.replies for one in reply.ids}
    return {
        "status": status,
        "requests": len(load.replies),
        "failed": failed(load.replies, besides=told_to_go),
        "kinds": load.tally(),
        "answered_not_logged": len(answered - set(logged(state))),
        "torn": torn(state),
        "left": left,
    }


def told_to_go(reply: Reply) -> bool:
    """Whether a request was refused by a sentence, or none was in flight."""
    return reply.shed or reply.unsent


def _in_words(numbers: Numbers) -> str:
    return f"{numbers['failed']} of {numbers['requests']:,}"


def _met(numbers: Numbers) -> bool:
    return bool(numbers["stopped"] and numbers["failed"] == 0 and numbers["lost"] == 0)


BENCHMARKS = (
    Benchmark(
        "serve_stop",
        "requests that fail when the endpoint is stopped under load",
        measure,
        (
            Row(
                "requests in flight that fail at SIGTERM or Ctrl-C under load, three times each",
                _in_words,
                Goal("0", _met),
                Goal("0", _met),
            ),
        ),
    ),
)
