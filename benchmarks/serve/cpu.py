"""CPU milliseconds of a `/v1/recommend`, beside plain FastAPI and Ray Serve's default proxy.

All servers stand ready, one is asked at a time, in turns; so is ours with 100
candidates. 8 connections are kept busy. The CPU of all of a server's processes
counts, its idle work too; the client's does not. Medians over the rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.core import Benchmark, Goal, Numbers, Row
from benchmarks.serve.load import Load, answered, failed, quantile
from benchmarks.serve.servers import Server, bodies, free, ours, policy, scratch, session
from serve.state import prepare

CONNECTIONS = 8


class Case(NamedTuple):
    """One of those that are measured in turns."""

    server: Server
    bodies: list[bytes]
    sessions: bool = False


def measure(quick: bool) -> Numbers:
    """CPU milliseconds a request of each.

    Raises:
        RuntimeError: requests fail.
    """
    rounds, seconds = (1, 1.0) if quick else (5, 4.0)
    with scratch() as folder, ExitStack() as stack:
        cases = {name: make() for name, make in _cases(folder, stack).items()}
        spent: dict[str, list[float]] = {name: [] for name in cases}
        median: dict[str, list[float]] = {name: [] for name in cases}
        for case in cases.values():
            _one(case, seconds / 2)  # warm
        for _ in range(rounds):
            for name, case in cases.items():
                milliseconds, latency = _one(case, seconds)
                spent[name].append(milliseconds)
                median[name].append(latency)
    cost = {name: statistics.median(each) for name, each in spent.items()}
    return {
        "cpu_ms": {name: round(value, 3) for name, value in cost.items()},
        "rounds": {name: [round(one, 3) for one in each] for name, each in spent.items()},
        "latency_ms": {name: round(statistics.median(each), 2) for name, each in median.items()},
        "against_handwritten": round(cost["ours"] / cost["handwritten"], 2),
        "against_plain": round(cost["ours"] / cost["plain"], 2),
        "against_default": round(cost["ours"] / cost["default_proxy"], 3),
        "candidates": round(cost["ours_100"] / cost["ours"], 2),
    }


def _cases(folder: Path, stack: ExitStack) -> dict[str, Callable[[], Case]]:
    saved = policy()
    few, many = bodies(10), bodies(100, 50)
    for name in ("ours", "plain", "default"):
        (folder / name).mkdir()
    saved.save(folder / "policy")
    for name in ("plain", "default"):
        prepare(folder / name / "state", str(folder / "policy"))

    def uvicorn(app: str, environment: dict[str, str], name: str) -> Server:
        port = free()
        words = ["-m", "uvicorn", "--factory", app, "--port", str(port), "--no-access-log"]
        return stack.enter_context(
            Server([*words, "--log-level", "warning"], port, folder / name, environment)
        )

    def default() -> Server:
        port, state = free(), str(folder / "default" / "state")
        words = ["-m", "benchmarks.serve.default", state, str(port)]
        # Quietly other defaults would make it another peer.
        unset = {"RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0"}
        return stack.enter_context(Server(words, port, folder / "default.said", unset))

    server = stack.enter_context(ours(folder / "ours", saved=saved))
    plain = {"RECSIM_SERVE_STATE": str(folder / "plain" / "state")}
    own = {
        "RECSIM_BENCH_POLICY": str(folder / "policy"),
        "RECSIM_BENCH_LOG": str(folder / "handwritten.jsonl"),
    }
    return {
        "ours": lambda: Case(server, few),
        "ours_100": lambda: Case(server, many),
        "ours_sessions": lambda: Case(server, few, sessions=True),
        "handwritten": lambda: Case(uvicorn("benchmarks.serve.peer:make", own, "own.said"), few),
        "plain": lambda: Case(uvicorn("serve.replica:plain", plain, "plain.said"), few),
        "default_proxy": lambda: Case(default(), few),
    }


def _one(case: Case, seconds: float) -> tuple[float, float]:
    """CPU milliseconds a request, and the median of the times that answers took."""
    carried = session() if case.sessions else None
    with Load(case.server.url, case.bodies, CONNECTIONS, session=carried) as load:
        load.until(20)
        first, before = len(load.replies), case.server.cpu_seconds()
        time.sleep(seconds)
        spent, last = case.server.cpu_seconds() - before, len(load.replies)
    replies = load.replies[first:last]
    if failed(load.replies):
        raise RuntimeError(f"{failed(load.replies)} requests failed: {load.tally()}")
    return 1e3 * spent / answered(replies), quantile(replies, 0.5)


def _at_most(text: str, most: float, *keys: str) -> Goal:
    return Goal(text, lambda numbers: max(numbers[key] for key in keys) <= most)


def _beside_plain(numbers: Numbers) -> str:
    cost = numbers["cpu_ms"]
    return (
        f"{numbers['against_handwritten']:.1f} times one written by hand, "
        f"{numbers['against_plain']:.1f} times our app ({cost['ours']:.2f} ms against "
        f"{cost['handwritten']:.2f} and {cost['plain']:.2f})"
    )


def _beside_default(numbers: Numbers) -> str:
    cost = numbers["cpu_ms"]
    share, default = numbers["against_default"], cost["default_proxy"]
    return f"{share:.2f} ({cost['ours']:.2f} ms against {default:.2f})"


def _many(numbers: Numbers) -> str:
    return f"{numbers['candidates']:.1f} times ({numbers['cpu_ms']['ours_100']:.2f} ms)"


_BOTH = ("against_handwritten", "against_plain")

BENCHMARKS = (
    Benchmark(
        "serve_cpu",
        "CPU of a request, beside plain FastAPI and Ray Serve's default proxy",
        measure,
        (
            Row(
                "CPU of a `/v1/recommend` (10 candidates of 20 features, slates of 3, all "
                "processes, logged), beside plain FastAPI on uvicorn with the same policy and log",
                _beside_plain,
                _at_most("4 times", 4.0, *_BOTH),
                _at_most("2 times", 2.0, *_BOTH),
            ),
            Row(
                "the same beside Ray Serve's default proxy",
                _beside_default,
                _at_most("half", 0.5, "against_default"),
                _at_most("a fifth", 0.2, "against_default"),
            ),
            Row(
                "CPU of a `/v1/recommend` with 100 candidates, beside 10",
                _many,
                _at_most("4 times", 4.0, "candidates"),
                _at_most("2 times", 2.0, "candidates"),
            ),
        ),
    ),
)
