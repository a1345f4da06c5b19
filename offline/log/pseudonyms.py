"""Keyed hashes instead of ids that could tell who somebody is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from offline.log.rows import Array, Rows
from offline.log.schema import LogError

PERSONAL = ("session_id", "user_id", "impression_id")
"""Columns that are hashed; ids of items are not personal."""

VARIABLE = "RECSIM_LOG_KEY"
"""Of the environment, where the key may stand."""

_SHORTEST = 16
_DIGEST_BYTES = 16


class Pseudonyms:
    """Hashes ids with a secret key: the same id gives the same pseudonym, none leads back."""

    def __init__(self, key: bytes) -> None:
        """With a key of at least 16 bytes.

        Raises:
            LogError: it is shorter.
        """
        if len(key) < _SHORTEST:
            raise LogError(
                f"the key for pseudonyms has {len(key)} bytes; give at least {_SHORTEST}, "
                "for example from `openssl rand -hex 32`"
            )
        # BLAKE2b takes keys of up to 64 bytes.
        self._key = key if len(key) <= 64 else hashlib.blake2b(key).digest()

    @classmethod
    def find(cls, file: Path | None) -> Pseudonyms | None:
        """With the key in a file or in the environment's `RECSIM_LOG_KEY`; `None` without one.

        Raises:
            LogError: the file cannot be read, or the key is too short.
        """
        if file is None:
            value = os.environ.get(VARIABLE)
            return cls(value.encode()) if value else None
        try:
            return cls(file.read_bytes().strip())
        except OSError as error:
            raise LogError(f"cannot read the key {file}: {error.strerror}") from None

    def of(self, name: str) -> str:
        """The pseudonym of an id, 32 hexadecimal digits; nothing stays nothing.

        Source: keyed BLAKE2b, RFC 7693.
        """
        if not name:
            return name
        return hashlib.blake2b(name.encode(), key=self._key, digest_size=_DIGEST_BYTES).hexdigest()

    @property
    def mark(self) -> str:
        """Tells keys apart without telling the key."""
        return self.of("the mark of this key")[:8]

    def apply(self, rows: Rows) -> Rows:
        """Rows with pseudonyms."""
        return rows.replace(**{name: self._column(rows[name]) for name in PERSONAL})

    def _column(self, ids: Array) -> Array:
        known = {name: self.of(name) for name in set(ids.tolist())}
        return np.array([known[name] for name in ids.tolist()], object)
