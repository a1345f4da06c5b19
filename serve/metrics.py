"""Counters and histograms: by Ray Serve's own means in a replica, else counted here."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import Any

_MILLISECONDS = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000]

_HELP = {
    "recsim_requests": ("Answers by route and status.", ("route", "status")),
    "recsim_fallbacks": ("Answers of the safe policy, by arm and reason.", ("arm", "reason")),
    "recsim_log_lost": ("Lines of the raw log that could not be written.", ("kind",)),
    "recsim_log_failing": ("1 while the raw log cannot be written.", ("kind",)),
    "recsim_explored": ("Slots that another item than the preferred one has.", ("arm",)),
    "recsim_deployments": ("Swaps of the live policies, by outcome.", ("outcome",)),
}
_GAUGES = ("recsim_log_failing",)
_LATENCY = "recsim_latency_ms"


class Metrics:
    """Numbers of one process; cheap to add to, handed on once a second.

    Attributes:
        values: by name and labels, since the start.
    """

    def __init__(self) -> None:
        """Count from 0."""
        self.values: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Raise a counter."""
        self.values[name, labels] += by  # type: ignore[assignment]

    def set(self, name: str, *labels: str, to: float) -> None:
        """Set a gauge."""
        self.values[name, labels] = to  # type: ignore[assignment]

    def time(self, route: str, seconds: float) -> None:
        """Note how long an answer took."""

    def flush(self) -> None:
        """Hand on what has changed."""

    def total(self, name: str) -> float:
        """A counter over all its labels."""
        return sum(value for (key, _), value in self.values.items() if key == name)


class RayMetrics(Metrics):
    """The same, exported by Ray on its metrics port."""

    def __init__(self) -> None:
        """Register; only within a replica."""
        super().__init__()
        from ray.serve import metrics

        self._exported: dict[str, Any] = {
            name: (metrics.Gauge if name in _GAUGES else metrics.Counter)(
                name, description=text, tag_keys=keys
            )
            for name, (text, keys) in _HELP.items()
        }
        self._latency = metrics.Histogram(
            _LATENCY,
            description="Milliseconds to answer, in the replica.",
            boundaries=_MILLISECONDS,
            tag_keys=("route",),
        )
        self._times: list[tuple[str, float]] = []
        self._sent: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def time(self, route: str, seconds: float) -> None:
        """Note how long an answer took."""
        self._times.append((route, seconds * 1e3))

    def flush(self) -> None:
        """Hand on what has changed; Ray's own calls are too slow for every answer."""
        with self._lock:
            times, self._times = self._times, []
            for (name, labels), value in list(self.values.items()):
                metric = self._exported[name]
                tags = dict(zip(_HELP[name][1], labels, strict=True))
                if name in _GAUGES:
                    metric.set(value, tags)
                elif value > self._sent[name, labels]:
                    metric.inc(value - self._sent[name, labels], tags)
                    self._sent[name, labels] = value
            for route, milliseconds in times:
                self._latency.observe(milliseconds, {"route": route})


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
