"""What a killed replica and a killed proxy cost under load.

A replica serves again when one that was not there before has logged an answer. The
proxy is HAProxy and, apart from it, the process of Ray that minds it; answers have
come again when the last failed request has ended.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.core import Benchmark, Goal, Numbers, Row
from benchmarks.serve.load import Load, Reply, await_true, failed
from benchmarks.serve.servers import (
    Server,
    bodies,
    logged,
    ours,
    replicas_of,
    scratch,
    session,
)

CONNECTIONS = 8
QUIET_SECONDS = 5.0
"""Without a failure, after which one that follows would be another's."""


def measure_replica(quick: bool) -> Numbers:
    """One of two replicas is killed under load, three times."""
    kills: list[dict[str, Any]] = []
    with scratch() as folder:
        state = folder / "state"
        with (
            ours(folder, "--replicas", "2") as server,
            Load(server.url, bodies(), CONNECTIONS, session=session()) as load,
        ):
            await_true(lambda: len(replicas_of(state)) == 2, 60)
            for _ in range(1 if quick else 3):
                load.until(200)
                first = len(load.replies)
                seconds = _killed_replica(server, state)
                load.until(200)
                lost = load.replies[first:]
                kills.append({"failed": failed(lost), "seconds": round(seconds, 1)})
        written = set(logged(state))
    return {
        "kills": kills,
        "failed": max(kill["failed"] for kill in kills),
        "seconds": max(kill["seconds"] for kill in kills),
        "requests": len(load.replies),
        "kinds": load.tally(),
        "answered_not_logged": len({one for reply in load.replies for one in reply.ids} - written),
    }


def measure_proxy(quick: bool) -> Numbers:
    """The proxy is killed under load, and then what minds it."""
    rounds = 1 if quick else 3
    with scratch() as folder:
        with (
            ours(folder) as server,
            Load(server.url, bodies(), CONNECTIONS, session=session(), timeout=10.0) as load,
        ):
            proxies = [_outage(server, load, "haproxy") for _ in range(rounds)]
            minders = [_outage(server, load, "HAProxyManager") for _ in range(1 if quick else 2)]
        state = folder / "state"
        lost = len({one for reply in load.replies for one in reply.ids} - set(logged(state)))
    return {
        "proxy_seconds": proxies,
        "minder_seconds": minders,
        "seconds": max(proxies),
        "requests": len(load.replies),
        "kinds": load.tally(),
        "answered_not_logged": lost,
    }


def _killed_replica(server: Server, state: Path) -> float:
    """Seconds from the kill of one until a new one has answered."""
    before = replicas_of(state)
    _kill(server.named("ServeReplica")[:1])
    return await_true(lambda: bool(replicas_of(state) - before), 120)


def _kill(processes: list[psutil.Process]) -> float:
    if not processes:
        raise RuntimeError("there is no such process to kill")
    now = time.monotonic()
    for process in processes:
        process.send_signal(signal.SIGKILL)
    return now


def _outage(server: Server, load: Load, name: str) -> float:
    """Seconds from a kill to the end of the last request that failed."""
    load.until(200)
    killed = _kill(server.named(name))
    # The proxy's death may be noticed late, so quiet counts from the kill on.
    await_true(lambda: _quiet(load.replies, killed), 120)
    load.until(200, seconds=120)
    return round(_last_failure(load.replies, killed) - killed, 2)


def _last_failure(replies: list[Reply], since: float) -> float:
    ends = [one.ended for one in list(replies) if one.status != 200 and one.ended >= since]
    return max(ends, default=since)


def _quiet(replies: list[Reply], killed: float) -> bool:
    """Whether answers have come for a while, and no failure any more."""
    last = _last_failure(replies, killed)
    after = [one for one in replies[-500:] if one.status == 200 and one.began > last]
    return bool(after) and time.monotonic() - last > QUIET_SECONDS


def _replica_goal(text: str, seconds: float) -> Goal:
    def met(numbers: Numbers) -> bool:
        whole = numbers["answered_not_logged"] == 0
        # On a connection one request is in flight at a time.
        return bool(whole and numbers["failed"] <= CONNECTIONS and numbers["seconds"] <= seconds)

    return Goal(text, met)


def _proxy_goal(seconds: float) -> Goal:
    def met(numbers: Numbers) -> bool:
        return bool(numbers["seconds"] <= seconds and numbers["answered_not_logged"] == 0)

    return Goal(f"{seconds:g} s", met)


def _replica_in_words(numbers: Numbers) -> str:
    return f"{numbers['failed']} failed, {numbers['seconds']:.0f} s at most"


def _proxy_in_words(numbers: Numbers) -> str:
    return (
        f"{numbers['seconds']:.1f} s at most ({max(numbers['minder_seconds']):.1f} s where Ray's "
        "process that minds it is killed)"
    )


BENCHMARKS = (
    Benchmark(
        "serve_replica",
        "a replica of two is killed under load",
        measure_replica,
        (
            Row(
                f"a replica of two killed under load of {CONNECTIONS} connections: requests that "
                "fail, and seconds until two serve again",
                _replica_in_words,
                _replica_goal("those in flight, 30 s", 30.0),
                _replica_goal("those in flight, 15 s", 15.0),
            ),
        ),
    ),
    Benchmark(
        "serve_proxy",
        "the proxy is killed under load",
        measure_proxy,
        (
            Row(
                "the proxy killed under load: seconds until the last failed request",
                _proxy_in_words,
                _proxy_goal(15.0),
                _proxy_goal(8.0),
            ),
        ),
    ),
)
