"""Which policy of an experiment a session or a user meets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate


def share(salt: str, unit: str) -> float:
    """A number in [0, 1) that is the same for a unit in every process.

    Args:
        salt: of the experiment; another salt mixes the units anew.
        unit: id of a session or a user.

    Source: keyed BLAKE2b, RFC 7693; Python's own `hash` differs between processes.
    """
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    digest = hashlib.blake2b(unit.encode(), key=key, digest_size=8).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def assign(weights: Sequence[float], salt: str, unit: str) -> int:
    """The arm of a unit, by position.

    Each arm has a range of shares in proportion to its weight, in order: raising
    the last arm's weight moves units to it and none away from it.
    """
    if len(weights) == 1:
        return 0
    at = share(salt, unit) * sum(weights)
    for number, end in enumerate(accumulate(weights)):
        if at < end:
            return number
    return max(number for number, weight in enumerate(weights) if weight > 0)
