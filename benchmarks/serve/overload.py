"""Four times the load that saturates the endpoint, for a minute.

Saturation is what 16 connections get out of it when each asks again as soon as it is
answered. Then four times as many requests a second are sent, whether or not answers
come, on as many connections as that takes. Memory is that of all processes.
"""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

from benchmarks.core import Benchmark, Goal, Numbers, Row
from benchmarks.serve.load import Load, Reply, answered, failed, quantile
from benchmarks.serve.servers import Server, bodies, ours, scratch

SATURATING, CONNECTIONS = 16, 1024
TIMES = 4.0


def measure(quick: bool) -> Numbers:
    """Before, during and after."""
    seconds = 5.0 if quick else 60.0
    calm = 2.0 if quick else 8.0
    with scratch() as folder, ours(folder) as server:
        _closed(server, calm)  # warm
        before = _closed(server, calm)
        memory: list[float] = []
        rate = TIMES * before["per_second"]
        with (
            Load(server.url, bodies(), CONNECTIONS, rate=rate, timeout=20.0) as load,
            _Sampled(server, memory),
        ):
            began = time.monotonic()
            time.sleep(seconds)
            sent = sum(one.began < began + seconds for one in load.replies)
        time.sleep(2.0)
        after = _closed(server, calm)
    return {
        "before": before,
        "after": after,
        "offered_per_second": round(sent / seconds, 1),
        "times": round(sent / seconds / before["per_second"], 2),
        **_during(load.replies, began, seconds),
        "kinds": load.tally(),
        "failed": failed(load.replies, besides=_shed),
        "memory_mb": [round(one) for one in memory],
        "memory_growth": round(_growth(memory), 3),
    }


def _shed(reply: Reply) -> bool:
    return reply.shed


def _closed(server: Server, seconds: float) -> dict[str, float]:
    with Load(server.url, bodies(), SATURATING) as load:
        time.sleep(seconds)
    return {
        "per_second": round(answered(load.replies) / seconds, 1),
        "p50_ms": round(quantile(load.replies, 0.5), 2),
        "failed": failed(load.replies),
    }


def _during(replies: list[Reply], began: float, seconds: float) -> dict[str, Any]:
    """Answers of each second, and how long they took."""
    each = [0] * int(seconds)
    for one in replies:
        second = int(one.ended - began)
        if one.status == 200 and 0 <= second < len(each):
            each[second] += 1
    return {
        "answers_per_second": round(statistics.mean(each), 1),
        "fewest_per_second": min(each[1:]),
        "p50_ms": round(quantile(replies, 0.5), 1),
        "p99_ms": round(quantile(replies, 0.99), 1),
        "shed": sum(one.shed for one in replies),
    }


def _growth(memory: list[float]) -> float:
    """Of the last third beside the first, as a part."""
    third = max(1, len(memory) // 3)
    first, last = memory[:third], memory[-third:]
    return statistics.mean(last) / statistics.mean(first) - 1 if first and last else 0.0


class _Sampled:
    """Megabytes of a server, while the block runs."""

    def __init__(self, server: Server, kept: list[float]) -> None:
        self._server, self._kept = server, kept
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(2.0):
            self._kept.append(self._server.memory_mb())

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _met(numbers: Numbers) -> bool:
    before, after = numbers["before"], numbers["after"]
    return bool(
        numbers["fewest_per_second"] > 0
        and numbers["failed"] == 0
        and numbers["times"] >= 0.9 * TIMES
        and numbers["memory_growth"] <= 0.05
        and after["per_second"] >= 0.8 * before["per_second"]
        and after["failed"] == 0
    )


def _in_words(numbers: Numbers) -> str:
    return (
        f"{numbers['answers_per_second']:.0f} answers a second of "
        f"{numbers['offered_per_second']:.0f} asked for, at least {numbers['fewest_per_second']}; "
        f"{numbers['shed']:,} times 503, "
        f"{numbers['failed']} failed otherwise; memory {numbers['memory_growth']:+.1%}; afterwards "
        f"{numbers['after']['per_second'] / numbers['before']['per_second']:.2f} of before"
    )


BENCHMARKS = (
    Benchmark(
        "serve_overload",
        "four times the saturating load for a minute",
        measure,
        (
            Row(
                "4 times the saturating load for 60 s: answers keep coming, the rest get 503, "
                "memory is flat, afterwards all is normal",
                _in_words,
                Goal("yes", _met),
            ),
        ),
    ),
)
