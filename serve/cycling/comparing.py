"""Compares a canary with the live policy by the sessions that each was given."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from offline.log import Log, Rows, starts
from serve.cycling.deciding import Compared, Difference

Floats = NDArray[np.float64]

COLUMNS = ("time", "arm", "reward")


class Returns(NamedTuple):
    """Returns of the sessions of two arms, (sessions,) each."""

    canary: Floats
    live: Floats


def welch(canary: Floats, live: Floats, level: float) -> Difference | None:
    """The difference of two means of independent samples, with its interval.

    Args:
        canary: returns, (A,).
        live: returns, (B,).
        level: of confidence.

    Returns:
        `None` with fewer than two in either.

    Source: Welch (1947), doi:10.1093/biomet/34.1-2.28.
    """
    if min(len(canary), len(live)) < 2:
        return None
    value = float(canary.mean() - live.mean())
    parts = [float(each.var(ddof=1)) / len(each) for each in (canary, live)]
    scale = max(abs(float(canary.mean())), abs(float(live.mean())))
    error = math.sqrt(sum(parts))
    if not error:
        return Difference(value, value, value, scale)
    freedom = error**4 / sum(
        part**2 / (len(each) - 1) for part, each in zip(parts, (canary, live), strict=True)
    )
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Difference(value, value - half, value + half, scale)


def returns_of(log: Log, since: float, canary: str, live: str) -> Returns:
    """Returns of the sessions that began in an experiment, by the arm that they began in.

    A session counts with what it has earned, ended or not, and with all its rows, whoever
    answered the later ones: what decides is the arm that chance gave it. So both arms are
    treated alike, and sessions that are long or went wrong are not left out of one.

    Args:
        log: of the endpoint.
        since: seconds since 1970, after which both arms were everywhere.
        canary: name of its arm.
        live: name of the live policy's arm.
    """
    parts: list[Returns] = []
    for rows in log.sessions(columns=COLUMNS):
        parts.append(_returns(rows, since, canary, live))
    if not parts:
        return Returns(np.zeros(0), np.zeros(0))
    return Returns(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _returns(rows: Rows, since: float, canary: str, live: str) -> Returns:
    first = starts(rows)
    if not len(first):
        return Returns(np.zeros(0), np.zeros(0))
    total = np.add.reduceat(rows["reward"].astype(np.float64), first)
    arm, there = rows["arm"][first], rows["time"][first] >= since
    return Returns(total[there & (arm == canary)], total[there & (arm == live)])


def compare(found: Returns, level: float) -> Compared:
    """How a canary's sessions differ from the live policy's."""
    return Compared(len(found.canary), len(found.live), welch(found.canary, found.live, level))
