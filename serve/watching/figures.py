"""What the samples of an endpoint's metrics say: sums over replicas, shares and quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

Labels = tuple[tuple[str, str], ...]
Samples = Mapping[tuple[str, Labels], float]
"""Values by name, without prefix, and labels, sorted; Ray's own labels too."""


class ArmFigures(TypedDict):
    """Of one arm; shares and means are `None` where nothing was counted.

    `slates` answered, `explored` the share of free slots that show another item than
    without exploration, `responses` that came with the next request of a session, and
    of those `click_rate` and `reward`; feedback that came later names no arm.
    """

    slates: float
    explored: float | None
    fallbacks: float
    responses: float
    click_rate: float | None
    reward: float | None


class Figures(TypedDict):
    """All figures; shares and means are `None` where nothing was counted.

    Attributes:
        requests: answered, whatever the status.
        statuses: requests by status, such as `{"200": 17.0}`.
        errors: requests that ended in a status from 500, but not 503.
        refused: requests with a status from 400 to 499.
        busy: requests that got 503.
        in_flight: being answered now.
        p50_ms: median time to answer `/v1/recommend`, in the replica, milliseconds.
        p95_ms: the same, 95 % of the answers.
        slates: answered; a batch has several.
        explored: share of free slots that show another item than without exploration.
        fallbacks: slates of the safe policy.
        responses: slates for which responses came; those of both routes count twice.
        click_rate: share of these with a click.
        reward: mean of these.
        ess: effective sample size of 1,000 answers, by target: `uniform`, `greedy`.
        weight: mean importance weight, by target; far below 1 where the target would show
            what is never shown.
        log_lost: lines of the raw log that could not be written.
        log_failing: whether a replica cannot write now.
        unsynced_seconds: age of the oldest line that is not synced to disk.
        idle_seconds: since the last line was written, by any replica.
        access_lost: lines of the access log that were left out.
        generations: deployments that are live; several while replicas differ.
        drift: by `GROUP.FEATURE`: `psi`, and `shift` in standard deviations; empty
            without a reference, and while too little was seen.
        arms: by name.
    """

    requests: float
    statuses: dict[str, float]
    errors: float
    refused: float
    busy: float
    in_flight: float
    p50_ms: float | None
    p95_ms: float | None
    slates: float
    explored: float | None
    fallbacks: float
    responses: float
    click_rate: float | None
    reward: float | None
    ess: dict[str, float]
    weight: dict[str, float]
    log_lost: float
    log_failing: bool
    unsynced_seconds: float | None
    idle_seconds: float | None
    access_lost: float
    generations: list[int]
    drift: dict[str, dict[str, float]]
    arms: dict[str, ArmFigures]


def figures(now: Samples, before: Samples | None = None) -> Figures:
    """What samples say.

    Args:
        now: of `read`.
        before: earlier ones; counts are then of the time between the two.
    """
    table = _Table(now, before or {})
    statuses = table.by("requests_total", "status")
    slots, slates = table.sum("slots_total"), table.sum("slates_total")
    responses = table.sum("responses_total")
    latency = table.buckets("latency_ms_bucket", route="/v1/recommend")
    ess, weight = {}, {}
    for target in table.by("weight_total", "target"):
        total = table.sum("weight_total", target=target)
        squares = table.sum("weight_squares_total", target=target)
        if slates > 0 and squares > 0:
            ess[target] = effective(total, squares, slates)
            weight[target] = total / slates
    return {
        "requests": sum(statuses.values()),
        "statuses": statuses,
        "errors": sum(n for code, n in statuses.items() if code >= "500" and code != "503"),
        "refused": sum(n for code, n in statuses.items() if "400" <= code < "500"),
        "busy": statuses.get("503", 0.0),
        "in_flight": table.sum("in_flight"),
        "p50_ms": quantile(0.5, latency),
        "p95_ms": quantile(0.95, latency),
        "slates": slates,
        "explored": _share(table.sum("explored_total"), slots),
        "fallbacks": table.sum("fallbacks_total"),
        "responses": responses,
        "click_rate": _share(table.sum("clicked_total"), responses),
        "reward": _share(table.reward(), responses),
        "ess": ess,
        "weight": weight,
        "log_lost": table.sum("log_lost_total"),
        "log_failing": table.sum("log_failing") > 0,
        "unsynced_seconds": max(table.all("log_unsynced_seconds"), default=None),
        "idle_seconds": min(table.all("log_idle_seconds", kind="impressions"), default=None),
        "access_lost": table.sum("access_lost_total"),
        "generations": sorted({int(value) for value in table.all("generation")}),
        "drift": table.drift(),
        "arms": {arm: _arm(table, arm) for arm in table.by("slates_total", "arm")},
    }


def _arm(table: _Table, arm: str) -> ArmFigures:
    responses = table.sum("responses_total", arm=arm)
    return {
        "slates": table.sum("slates_total", arm=arm),
        "explored": _share(table.sum("explored_total", arm=arm), table.sum("slots_total", arm=arm)),
        "fallbacks": table.sum("fallbacks_total", arm=arm),
        "responses": responses,
        "click_rate": _share(table.sum("clicked_total", arm=arm), responses),
        "reward": _share(table.reward(arm=arm), responses),
    }


class _Table:
    """Samples, looked up by name and labels."""

    def __init__(self, now: Samples, before: Samples) -> None:
        counted = ("_total", "_bucket")
        self._rows: dict[str, list[tuple[dict[str, str], float]]] = {}
        for (name, labels), value in now.items():
            # A counter that fell was begun anew.
            earlier = before.get((name, labels), 0.0) if name.endswith(counted) else 0.0
            more = value - earlier if value >= earlier else value
            self._rows.setdefault(name, []).append((dict(labels), more))

    def all(self, name: str, **labels: str) -> list[float]:
        """Values whose labels are these."""
        return [
            value
            for found, value in self._rows.get(name, ())
            if all(found.get(key) == wanted for key, wanted in labels.items())
        ]

    def sum(self, name: str, **labels: str) -> float:
        """Over all else."""
        return sum(self.all(name, **labels))

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums by a label."""
        values = sorted({found.get(label, "") for found, _ in self._rows.get(name, ())})
        return {value: self.sum(name, **{label: value}) for value in values}

    def reward(self, **labels: str) -> float:
        """Gains less losses."""
        gain = self.sum("reward_total", part="gain", **labels)
        return gain - self.sum("reward_total", part="loss", **labels)

    def buckets(self, name: str, **labels: str) -> list[tuple[float, float]]:
        """Upper bounds and cumulative counts, rising."""
        found = [
            (math.inf if bound == "+Inf" else float(bound), self.sum(name, le=bound, **labels))
            for bound in self.by(name, "le")
        ]
        return sorted(found)

    def drift(self) -> dict[str, dict[str, float]]:
        """The worst replica's, by group and feature."""
        found: dict[str, dict[str, float]] = {}
        for kind in ("psi", "shift"):
            for labels, value in self._rows.get(f"drift_{kind}", ()):
                one = found.setdefault(f"{labels['group']}.{labels['feature']}", {})
                one[kind] = max(one.get(kind, 0.0), value)
        return dict(sorted(found.items()))


def effective(total: float, squares: float, count: float) -> float:
    """Effective sample size of 1,000: so many answers of equal weight would say as much.

    Args:
        total: sum of the importance weights.
        squares: sum of their squares.
        count: of answers.

    Source: Kish (1965), (sum w)^2 / sum w^2.
    """
    return 1000.0 * total**2 / squares / count


def quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """A quantile of a histogram, as Prometheus' `histogram_quantile`: linear within a bucket.

    Args:
        share: from 0 to 1.
        buckets: upper bounds, rising to infinity, and how many were at most so large.

    Returns:
        In the bounds' unit; the largest finite bound where it lies beyond, `None` for
        no observations.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted = share * buckets[-1][1]
    low, below = 0.0, 0.0
    for high, count in buckets:
        if count >= wanted:
            if math.isinf(high):
                return low
            return low + (high - low) * (wanted - below) / max(count - below, 1e-12)
        low, below = high, count
    return low


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
