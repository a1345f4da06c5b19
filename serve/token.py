"""The session token: all that the server knows of a session travels with the client.

It is signed, not encrypted, and belongs to no policy: deployments and
experiments never break a session.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve import impressions
from serve.keys import Keys, from_text, to_text
from serve.problem import Refused

VERSION = 1
_LAYOUT = struct.Struct(">BB16sId6sHBH")
_PURPOSE, _MAC_BYTES = "session", 16

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Session:
    """What is known after a slate was shown.

    Attributes:
        identity: of the session, 16 bytes.
        step: of the last slate, from 0.
        time: when that was shown, seconds since 1970.
        history: the state that it was chosen with, (H,).
        shown: features of its items, (K, D).
        impression: its id, 28 bytes.
    """

    identity: bytes
    step: int
    time: float
    history: Floats
    shown: Floats
    impression: bytes


@dataclass(frozen=True)
class TokenWriter:
    """Writes and reads tokens for one kind of history.

    Attributes:
        keys: to sign and verify with.
        version: of the history, 12 hexadecimal digits.
        columns: H.
        width: D.
    """

    keys: Keys
    version: str
    columns: int
    width: int

    def write(self, session: Session) -> str:
        """The token."""
        body = b"".join(
            (
                _LAYOUT.pack(
                    VERSION,
                    self.keys.number,
                    session.identity,
                    session.step,
                    session.time,
                    bytes.fromhex(self.version),
                    self.columns,
                    len(session.shown),
                    self.width,
                ),
                session.impression,
                session.history.astype("<f4").tobytes(),
                session.shown.astype("<f4").tobytes(),
            )
        )
        return to_text(body + self.keys.sign(_PURPOSE, body, _MAC_BYTES))

    def longest(self, slots: int) -> int:
        """Characters of a token after a slate of so many slots."""
        numbers = self.columns + slots * self.width
        size = _LAYOUT.size + impressions.SIZE + 4 * numbers + _MAC_BYTES
        return -(-size * 4 // 3)

    def read(self, text: str, field: str = "session") -> Session:
        """The session of a token.

        Raises:
            Refused: it is damaged, forged, or made for another history.
        """
        try:
            data = from_text(text)
            head: tuple[Any, ...] = _LAYOUT.unpack_from(data)
        except (ValueError, struct.error):
            raise _damaged(field) from None
        body, signature = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        version, number, identity, step, time, history, columns, slots, width = head
        if version != VERSION or not self.keys.verify(_PURPOSE, number, body, signature):
            raise _damaged(field)
        if (history.hex(), columns, width) != (self.version, self.columns, self.width):
            raise Refused(
                f"{field} was made for history version {history.hex()}, and this server keeps "
                f"{self.version}; leave it out to begin a new session",
                field=field,
            )
        at = _LAYOUT.size + impressions.SIZE
        numbers = np.frombuffer(body, "<f4", offset=at)
        return Session(
            identity,
            step,
            time,
            numbers[:columns].astype(np.float32),
            numbers[columns:].reshape(slots, width).astype(np.float32),
            body[_LAYOUT.size : at],
        )


def _damaged(field: str) -> Refused:
    return Refused(
        f"{field} is no token of this server (damaged, forged, or signed with a key that was "
        "retired); send that of the last answer unchanged, or leave it out to begin a session",
        field=field,
    )
