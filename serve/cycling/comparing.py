"""Compares a canary with the live policy by the sessions that each was given."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from offline.log import Log, Rows, starts
from serve.cycling.deciding import Compared, Difference

Floats = NDArray[np.float64]

COLUMNS = ("session_id", "user_id", "time", "arm", "reward")


class Sample(NamedTuple):
    """What the users of an arm earned.

    A user comes several times, and their sessions are alike: so users are the units that
    chance drew, not sessions. A session without a user's id is a unit of its own.

    Attributes:
        total: sums of the returns of a unit's sessions, (units,).
        sessions: how many those are, (units,).
    """

    total: Floats
    sessions: Floats

    @classmethod
    def of(cls, returns: Floats, units: NDArray[Any]) -> Sample:
        """Of the returns of sessions and the ids of their units, (sessions,) each."""
        place = pa.array(units, pa.string()).dictionary_encode().indices.to_numpy()
        total, sessions = np.bincount(place, returns), np.bincount(place)
        return cls(total.astype(np.float64), sessions.astype(np.float64))


class Samples(NamedTuple):
    """Of two arms."""

    canary: Sample
    live: Sample


def welch(canary: Sample, live: Sample, level: float) -> Difference | None:
    """The difference of the mean returns of two arms' sessions, with its interval.

    The mean return of a session is a ratio, of what units earned to how often they came.
    Its variance is that of the ratio's linear terms, (total - mean x sessions) / mean of
    sessions; where each unit came once, they are the deviations from the mean.

    Args:
        canary: an arm.
        live: the other one.
        level: of confidence.

    Returns:
        `None` with fewer than two units in either.

    Source: Welch (1947), doi:10.1093/biomet/34.1-2.28; for the ratio's variance, Deng,
    Knoblich and Lu (2018), arXiv:1803.06336, section 3.
    """
    arms = (canary, live)
    if min(len(arm.total) for arm in arms) < 2:
        return None
    means = [float(arm.total.sum() / arm.sessions.sum()) for arm in arms]
    parts = [_variance(arm, mean) for arm, mean in zip(arms, means, strict=True)]
    value, scale = means[0] - means[1], max(map(abs, means))
    error = math.sqrt(sum(parts))
    if not error:
        return Difference(value, value, value, scale)
    freedom = error**4 / sum(
        part**2 / (len(arm.total) - 1) for part, arm in zip(parts, arms, strict=True)
    )
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Difference(value, value - half, value + half, scale)


def _variance(arm: Sample, mean: float) -> float:
    """Of the mean return of an arm's sessions."""
    terms = (arm.total - mean * arm.sessions) / arm.sessions.mean()
    return float(terms.var(ddof=1)) / len(terms)


def samples_of(log: Log, since: float, canary: str, live: str) -> Samples:
    """What sessions earned that began in an experiment, by the arm that they began in.

    A session counts with what it has earned, ended or not, and with all its rows, whoever
    answered the later ones: what decides is the arm that chance gave it. So both arms are
    treated alike, and sessions that are long or went wrong are not left out of one.

    Args:
        log: of the endpoint.
        since: seconds since 1970, after which both arms were everywhere.
        canary: name of its arm.
        live: name of the live policy's arm.
    """
    parts = [_NOTHING, *(_of(rows, since) for rows in log.sessions(columns=COLUMNS))]
    returns, units, arms = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Samples(*(Sample.of(returns[arms == arm], units[arms == arm]) for arm in (canary, live)))


_NOTHING = (np.zeros(0), np.zeros(0, object), np.zeros(0, object))


def _of(rows: Rows, since: float) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    """Returns, units and arms of the sessions that began since then, (sessions,) each."""
    first = starts(rows)
    if not len(first):
        return _NOTHING
    began = rows["time"][first] >= since
    total = np.add.reduceat(rows["reward"].astype(np.float64), first)
    user, session = rows["user_id"][first], rows["session_id"][first]
    unit = np.where(user == "", session, user)
    return total[began], unit[began], rows["arm"][first][began]


def compare(found: Samples, level: float) -> Compared:
    """How a canary's sessions differ from the live policy's."""
    canary, live = (int(arm.sessions.sum()) for arm in found)
    return Compared(canary, live, welch(found.canary, found.live, level))
