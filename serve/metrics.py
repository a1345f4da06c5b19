"""Counters, gauges and a histogram: by Ray Serve's own means in a replica, else counted here.

docs/watching.md says what each means.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

_MILLISECONDS = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000]

COUNTERS = {
    "recsim_requests": ("Answers by route and status.", ("route", "status")),
    "recsim_slates": ("Slates answered.", ("arm",)),
    "recsim_slots": ("Slots of these that were not pinned.", ("arm",)),
    "recsim_explored": ("Slots that another item than the preferred one has.", ("arm",)),
    "recsim_fallbacks": ("Answers of the safe policy, by arm and reason.", ("arm", "reason")),
    "recsim_weight": ("Importance weights of a target, summed.", ("arm", "target")),
    "recsim_weight_squares": ("Their squares, summed.", ("arm", "target")),
    "recsim_responses": ("Slates for which responses came.", ("arm", "source")),
    "recsim_clicked": ("Slates of these with a click.", ("arm", "source")),
    "recsim_reward": ("Rewards of these: gains, and losses.", ("arm", "source", "part")),
    "recsim_log_lost": ("Lines of the raw log that could not be written.", ("kind",)),
    "recsim_access_lost": ("Lines of the access log that were left out.", ()),
    "recsim_deployments": ("Swaps of the live policies, by outcome.", ("outcome",)),
}
GAUGES = {
    "recsim_in_flight": ("Requests being answered.", ()),
    "recsim_generation": ("Number of the live deployment.", ()),
    "recsim_log_failing": ("1 while the raw log cannot be written.", ("kind",)),
    "recsim_log_unsynced_seconds": ("Age of the oldest line not synced to disk.", ("kind",)),
    "recsim_log_idle_seconds": ("Since the last line was written.", ("kind",)),
    "recsim_drift_psi": ("Population stability index.", ("group", "feature")),
    "recsim_drift_shift": ("Distance of means in standard deviations.", ("group", "feature")),
}
LATENCY = "recsim_latency_ms"


class Metrics:
    """Numbers of one process; cheap to add to, handed on every `watch_seconds`.

    Attributes:
        values: by name and labels, since the start.
    """

    def __init__(self) -> None:
        """Count from 0."""
        self.values: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._sampled: list[tuple[tuple[str, tuple[str, ...]], Callable[[], float | None]]] = []
        self._lock = threading.Lock()

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Raise a counter."""
        self.values[name, labels] += by  # type: ignore[assignment]

    def set(self, name: str, *labels: str, to: float | None) -> None:
        """Set a gauge; `None` takes it away."""
        if to is None:
            self.values.pop((name, labels), None)
        else:
            self.values[name, labels] = to  # type: ignore[assignment]

    def sample(self, name: str, *labels: str, of: Callable[[], float | None]) -> None:
        """Have a gauge that is looked at when the numbers are handed on."""
        self._sampled.append(((name, labels), of))

    def time(self, route: str, seconds: float) -> None:
        """Note how long an answer took."""

    def flush(self) -> None:
        """Hand on what has changed."""
        for (name, labels), of in self._sampled:
            self.set(name, *labels, to=of())

    def total(self, name: str) -> float:
        """A counter over all its labels."""
        return sum(value for (key, _), value in list(self.values.items()) if key == name)

    def addresses(self) -> list[str]:
        """Where Prometheus finds the numbers, one a node; nowhere without Ray."""
        return []


class RayMetrics(Metrics):
    """The same, exported by Ray on the metrics ports of its nodes."""

    def __init__(self) -> None:
        """Register; only within a replica."""
        super().__init__()
        from ray.serve import metrics

        self._exported: dict[str, Any] = {
            name: kind(name, description=text, tag_keys=keys)
            for kind, table in ((metrics.Counter, COUNTERS), (metrics.Gauge, GAUGES))
            for name, (text, keys) in table.items()
        }
        self._latency = metrics.Histogram(
            LATENCY,
            description="Milliseconds to answer, in the replica.",
            boundaries=_MILLISECONDS,
            tag_keys=("route",),
        )
        self._times: deque[tuple[str, float]] = deque()
        self._sent: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def time(self, route: str, seconds: float) -> None:
        """Note how long an answer took."""
        self._times.append((route, seconds * 1e3))

    def flush(self) -> None:
        """Hand on what has changed; Ray's own calls are too slow for every answer."""
        with self._lock:
            super().flush()
            for (name, labels), value in list(self.values.items()):
                metric, counter = self._exported[name], COUNTERS.get(name)
                if counter is None:  # Ray forgets gauges that are not set again
                    metric.set(value, dict(zip(GAUGES[name][1], labels, strict=True)))
                elif value > self._sent[name, labels]:
                    tags = dict(zip(counter[1], labels, strict=True))
                    metric.inc(value - self._sent[name, labels], tags)
                    self._sent[name, labels] = value
            for _ in range(len(self._times)):
                route, milliseconds = self._times.popleft()
                self._latency.observe(milliseconds, {"route": route})

    def addresses(self) -> list[str]:
        """Where Prometheus finds the numbers, one a node."""
        import ray

        return [
            f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            for node in ray.nodes()
            if node["Alive"]
        ]


def make_metrics() -> Metrics:
    """Ray's where this process is a replica."""
    if "ray.serve" in sys.modules:
        from ray import serve
        from ray.serve.exceptions import RayServeException

        try:
            serve.get_replica_context()
        except RayServeException:
            return Metrics()
        return RayMetrics()
    return Metrics()
