"""Which of several responses to an impression counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from offline.joining.chains import NONE, find
from offline.log.rows import Array


class Responses(NamedTuple):
    """Responses that came in one way, (n,) each.

    Attributes:
        identity: hash of the impression's id.
        time: seconds.
        size: numbers in it.
    """

    identity: Array
    time: Array
    size: Array


class Counts(NamedTuple):
    """What became of the responses that came in one way.

    Attributes:
        used: that count.
        superseded: that another response to the same impression replaced.
        orphans: to an impression that is not there.
        misfits: of another size than the slate.
        late: that came after the end.
    """

    used: int = 0
    superseded: int = 0
    orphans: int = 0
    misfits: int = 0
    late: int = 0


class Winners(NamedTuple):
    """The response to each impression.

    Attributes:
        feedback: whether it came as feedback, (impressions,) bool.
        number: its number among those that came the same way; `NONE` for no response.
        tokens: what became of those that came with a token.
        feedbacks: what became of those that came as feedback.
    """

    feedback: Array
    number: Array
    tokens: Counts
    feedbacks: Counts


def choose(
    identity: Array, size: Array, tokens: Responses, feedback: Responses, until: float
) -> Winners:
    """Feedback wins over what came with a token, and of several the last.

    Args:
        identity: hashes of the impressions' ids, all different, (impressions,).
        size: numbers that a response to each has, (impressions,).
        tokens: what came with the next request.
        feedback: what came by itself.
        until: seconds; what came later does not count.
    """
    ways = (tokens, feedback)
    target, time, given = (np.concatenate(column) for column in zip(*ways, strict=True))
    route = np.repeat([0, 1], [len(way.time) for way in ways])
    place = find(identity, target)
    late = time > until
    orphan = (place == NONE) & ~late
    misfit = ~late & ~orphan & (size[place] != given) if len(identity) else np.zeros_like(late)
    usable = np.flatnonzero(~(late | orphan | misfit))
    order = usable[np.lexsort((time[usable], route[usable], place[usable]))]
    ends = np.append(np.diff(place[order]) != 0, True)[: len(order)]
    best = order[ends]
    used = np.zeros(len(target), np.bool_)
    used[best] = True
    which = np.full(len(identity), NONE, np.int64)
    which[place[best]] = best
    by_feedback = which >= len(tokens.time)
    number = np.where(by_feedback, which - len(tokens.time), which)

    def count(way: int) -> Counts:
        mine = route == way
        others = ~(used | late | orphan | misfit)
        return Counts(*(int((f & mine).sum()) for f in (used, others, orphan, misfit, late)))

    return Winners(by_feedback, number, count(0), count(1))
