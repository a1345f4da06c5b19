"""Lines of the raw log; see docs/serving.md for their formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from serve import impressions
from serve.asking import Asked
from serve.drawing import Drawn
from serve.token import Floats

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE

AFTER = ("previous", "previous_response", "request_id", "fallback", "generation")
"""Keys of an impression that the log's row has not."""

NOT_YET = ("response", "reward", "terminated", "truncated")
"""Keys of the log's row that an impression has not."""


@dataclass(frozen=True, eq=False)
class Line:
    """What an impression says besides the request and the slate; see `AFTER`."""

    asked: Asked
    drawn: Drawn
    session_id: str
    user_id: str
    step: int
    time: float
    impression_id: str
    history: Floats
    policy: str
    policy_version: str
    arm: str
    fallback: str
    generation: int


def encode_impression(line: Line) -> bytes:
    """A line of an impressions shard, with its line break."""
    asked, drawn = line.asked, line.drawn
    ids, catalogue = asked.offer.ids, asked.offer.catalogue
    row: dict[str, Any] = {
        "session_id": line.session_id,
        "user_id": line.user_id,
        "step": line.step,
        "time": line.time,
        "impression_id": line.impression_id,
        "user": asked.user,
        "candidate_ids": ids,
        "candidates": None if catalogue else asked.offer.features.ravel(),
        "catalogue": catalogue,
        "mask": None if asked.mask.all() else asked.mask.astype("i1"),
        "pinned": asked.pinned,
        "history": line.history,
        "slate": drawn.slate,
        "slate_ids": [ids[position] for position in drawn.slate.tolist()],
        "log_propensity": drawn.slots.sum(),
        "slot_log_propensities": drawn.slots,
        "log_weights": drawn.log_weights,
        "epsilon": drawn.epsilon,
        "temperature": drawn.temperature,
        "greedy": drawn.greedy,
        "propensity_source": "exact",
        "policy": line.policy,
        "policy_version": line.policy_version,
        "arm": line.arm,
        "previous": "" if asked.session is None else impressions.text_of(asked.session.impression),
        "previous_response": None if asked.response is None else asked.response.ravel(),
        "request_id": asked.request_id,
        "fallback": line.fallback,
        "generation": line.generation,
    }
    return orjson.dumps(row, option=_OPTIONS)


def encode_feedback(impression: str, time: float, response: Floats) -> bytes:
    """A line of a feedback shard, with its line break.

    Args:
        impression: id of the impression.
        time: seconds since 1970.
        response: (K, R).
    """
    row = {
        "impression_id": impression,
        "time": time,
        "response": response.ravel(),
        "slots": len(response),
    }
    return orjson.dumps(row, option=_OPTIONS)
