"""Judges a candidate by sessions of the live policy that nothing has learned from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from algorithms.policy import Policy
from algorithms.registry import baseline_names
from offline.judge.estimates import Method
from offline.judge.judging import Judgement, Request, judge
from offline.judge.target import Target, target_of
from offline.learning.data import held_out
from offline.log import Header, Log, LogError, Rows, starts
from offline.log.rows import Array
from offline.ope import Refusal
from serve.cycling.deciding import Difference, Judged

ESTIMATOR = "sdr"


@dataclass(frozen=True)
class SomeSessions(Log):
    """A log of which only some sessions are read.

    Attributes:
        keep: of rows of whole sessions and where each begins, which sessions, (sessions,).
    """

    keep: Callable[[Rows, Array], Array] = lambda rows, first: np.ones(len(first), np.bool_)

    def sessions(self, rows: int = 8192, columns: Sequence[str] | None = None) -> Iterator[Rows]:
        """As of `Log`; batches may be smaller, and are never empty."""
        for batch in super().sessions(rows, columns):
            first = starts(batch)
            kept = np.repeat(self.keep(batch, first), np.diff(first, append=len(batch)))
            if kept.any():
                yield batch.take(kept)


def held_out_of(log: Log, holdout: float, version: str) -> SomeSessions:
    """Sessions that are not learned from and that began with a version of a policy.

    The same hash decides as in `offline.train`, in every pass, so that weights that were
    carried on from earlier passes have not seen these sessions either. Later rows of a
    session may be another policy's: each counts by its own propensities.
    """

    def keep(rows: Rows, first: Array) -> Array:
        chosen: Array = held_out(rows["session_id"][first], holdout)
        chosen &= rows["policy_version"][first] == version
        return chosen

    return SomeSessions(log.header, log.shards, keep)


def target(policy: Policy, header: Header, name: str) -> Target:
    """A policy to judge; baselines show slates of any size.

    Raises:
        LogError: it does not fit the log.
    """
    any_size = policy.algorithm in baseline_names()
    return target_of(policy, header, name, any_size=any_size)


def judged(log: SomeSessions, candidate: Policy, live: Policy, level: float) -> Judged:
    """What a log says of a candidate.

    Args:
        log: sessions of the live policy.
        candidate: to judge, as it explores.
        live: what it is compared with.
        level: of confidence.
    """
    sessions = count(log)
    if sessions < 2:
        return Judged(sessions, refusal="the log has fewer than two such sessions")
    try:
        request = Request(
            target(candidate, log.header, "candidate"),
            target(live, log.header, "live"),
            [ESTIMATOR],
            Method("t", level),
        )
        return figures(judge(log, request))
    except (Refusal, LogError) as error:
        return Judged(sessions, refusal=str(error))


def figures(found: Judgement) -> Judged:
    """The figures of a judgement that decide."""
    sessions, weights = len(found.bound.offsets) - 1, found.diagnosis.weights
    outcome = found.differences[ESTIMATOR]
    if weights is None or outcome.value is None or outcome.interval is None:
        return Judged(sessions, refusal=outcome.refusal or found.diagnosis.refusal)
    values = [each[ESTIMATOR].value or 0.0 for each in (found.estimates, found.others)]
    return Judged(
        sessions,
        weights.effective,
        weights.mean,
        weights.mean_error if math.isfinite(weights.mean_error) else 0.0,
        Difference(
            outcome.value, outcome.interval.low, outcome.interval.high, max(map(abs, values))
        ),
    )


def count(log: SomeSessions) -> int:
    """Sessions that ended or, open still, were cut."""
    columns = ("policy_version", "terminated", "truncated")
    ended = 0
    for rows in log.sessions(columns=columns):
        ended += int((rows["terminated"] | rows["truncated"]).sum())
    return ended
