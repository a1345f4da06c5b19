"""How many replicas there should be, where their number follows the load."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

IN_FLIGHT = "in_flight"
"""What a replica tells Ray Serve: `Places.mean`."""


class Places:
    """Requests that a replica holds, and how many that is on average.

    Ray Serve looks at moments, and finds moments between two answers, because an answer is
    made without a pause: few requests, whatever the load. So the average is taken over time.

    Attributes:
        count: of requests now.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Hold none; the clock tells seconds."""
        self.count = 0
        self._clock = clock
        self._since = self._changed = clock()
        self._held = 0.0

    def change(self, by: int) -> None:
        """Some came, or were answered."""
        now = self._clock()
        self._held += self.count * (now - self._changed)
        self._changed = now
        self.count += by

    def mean(self) -> float:
        """Requests held on average since the last call; 0 if no time has passed."""
        self.change(0)
        seconds = self._changed - self._since
        held, self._held, self._since = self._held, 0.0, self._changed
        return held / seconds if seconds > 0 else 0.0


class KeepInFlight:
    """A policy of Ray Serve that keeps so many requests in flight in each replica.

    Ray Serve rounds up, keeps the bounds and waits before it acts.
    """

    def __init__(self, target: float) -> None:
        """Keep `target`."""
        self._target = target

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:
        """Replicas that are wanted, and nothing to remember."""
        told = context.aggregated_metrics.get(IN_FLIGHT, {})
        # A replica that has not yet told counts as one with the others' mean.
        mean = sum(told.values()) / len(told) if told else self._target
        return mean * context.current_num_replicas / self._target, {}
