"""Signed names of impressions: any replica knows its own fleet's, and how many slots they had."""

from __future__ import annotations

import struct

from serve.keys import Keys, from_text, to_text
from serve.problem import Refused

VERSION = 1
NONCE_BYTES = 12
SIZE = 28
"""Of an id before it is written as text."""

_LAYOUT = struct.Struct(f">BBBB{NONCE_BYTES}s")
_PURPOSE, _MAC_BYTES = "impression", 12


def make(keys: Keys, slots: int, nonce: bytes) -> bytes:
    """An id of a slate of K = `slots`, as 28 bytes.

    Args:
        keys: to sign with.
        slots: from 1 to 255.
        nonce: 12 bytes that tell it from all others.
    """
    body = _LAYOUT.pack(VERSION, keys.number, slots, 0, nonce)
    return body + keys.sign(_PURPOSE, body, _MAC_BYTES)


def text_of(identity: bytes) -> str:
    """As clients and logs have it."""
    return to_text(identity)


def slots_of(keys: Keys, text: str, field: str = "impression_id") -> int:
    """The number of slots K of an impression.

    Raises:
        Refused: none of these keys has signed it.
    """
    try:
        data = from_text(text)
        if len(data) != SIZE:
            raise ValueError
        version, number, slots, _, _ = _LAYOUT.unpack_from(data)
    except ValueError:
        raise _forged(field) from None
    body, signature = data[: _LAYOUT.size], data[_LAYOUT.size :]
    if version != VERSION or not keys.verify(_PURPOSE, number, body, signature):
        raise _forged(field)
    return int(slots)


def _forged(field: str) -> Refused:
    return Refused(
        f"{field} is none of this server (damaged, forged, or signed with a key that was "
        "retired); send the impression_id of an answer, unchanged",
        field=field,
    )
