"""What simulated users send: features of tensors as JSON, by the names of a spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from envs.simulator import Observation
from envs.spec import Feature, FeatureSpec

Floats = NDArray[np.float32]

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def encode(message: Any) -> bytes:
    """A message as JSON; numbers are the shortest that read back as the same float32."""
    return orjson.dumps(message, option=_OPTIONS)


def objects(group: Sequence[Feature], table: Floats) -> list[dict[str, Any]]:
    """Rows of features as objects.

    Args:
        group: the features.
        table: (rows, columns).
    """
    columns: list[Any] = []
    at = 0
    for feature in group:
        part = table[:, at : at + feature.size]
        single = feature.kind in ("number", "id")
        columns.append(list(part[:, 0]) if single else list(part))
        at += feature.size
    names = [feature.name for feature in group]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def requests(
    spec: FeatureSpec,
    seen: Observation,
    rows: Sequence[int],
    names: Sequence[str],
    step: int,
    slate_size: int,
) -> Iterator[dict[str, Any]]:
    """What some users ask, without their sessions.

    Args:
        spec: of the features.
        seen: by all B users.
        rows: who asks.
        names: of all users.
        step: of their sessions; candidates are new at each, and so are their ids.
        slate_size: K.
    """
    users = objects(spec.user, seen.user.numpy())
    items, mask = seen.candidates.numpy(), seen.mask.numpy()
    for row in rows:
        ids = [f"{names[row]}-{step}-{number}" for number in range(items.shape[1])]
        features = objects(spec.candidate, items[row])
        request: dict[str, Any] = {
            "user_id": names[row],
            "user": users[row],
            "candidates": [
                {"id": key, "features": values} for key, values in zip(ids, features, strict=True)
            ],
            "slate_size": slate_size,
        }
        if not mask[row].all():
            request["eligible"] = [ids[number] for number in np.flatnonzero(mask[row])]
        yield request


def positions(answer: dict[str, Any]) -> list[int]:
    """What an answer shows, (K,), read off the ids of `requests`."""
    return [int(item["id"].rpartition("-")[2]) for item in answer["slate"]]
