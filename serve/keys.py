"""Secrets that replicas share, and what is signed with them.

Each purpose signs with a key of its own, derived from the secret, so that a
signature of one kind is never taken for one of another.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

VARIABLE = "RECSIM_SERVE_KEYS"
"""Of the environment, where secrets may stand, separated by commas."""

SHORTEST = 16
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


class KeyFault(ValueError):
    """Secrets that cannot be used; the message is one sentence."""


class Keys:
    """One or several secrets: the first signs, all verify."""

    def __init__(self, found: Iterable[bytes]) -> None:
        """With secrets of at least 16 bytes.

        Raises:
            KeyFault: there is none, or one is shorter.
        """
        self._secrets = tuple(found)
        if not self._secrets:
            raise KeyFault("there is no key to sign with; give at least one, a line each")
        for secret in self._secrets:
            if len(secret) < SHORTEST:
                raise KeyFault(
                    f"a key to sign with has {len(secret)} bytes; give at least {SHORTEST}, "
                    "for example from `openssl rand -hex 32`"
                )
        self._numbers = tuple(hashlib.sha256(secret).digest()[0] for secret in self._secrets)

    @property
    def number(self) -> int:
        """A byte that tells the signing key from others, mostly."""
        return self._numbers[0]

    def sign(self, purpose: str, data: bytes, size: int) -> bytes:
        """The first `size` bytes of an HMAC-SHA256 with the first key."""
        return hmac.digest(_derived(self._secrets[0], purpose), data, "sha256")[:size]

    def verify(self, purpose: str, number: int, data: bytes, signature: bytes) -> bool:
        """Whether any key of that number has signed it."""
        for own, secret in zip(self._numbers, self._secrets, strict=True):
            if own == number:
                expected = hmac.digest(_derived(secret, purpose), data, "sha256")
                if hmac.compare_digest(expected[: len(signature)], signature):
                    return True
        return False

    @classmethod
    def find(cls, file: Path) -> Keys:
        """Those of the environment's `RECSIM_SERVE_KEYS`, or of a file, one a line.

        Raises:
            KeyFault: the file cannot be read, or a key is too short.
        """
        value = os.environ.get(VARIABLE)
        if value:
            return cls(part.strip().encode() for part in value.split(",") if part.strip())
        try:
            lines = file.read_bytes().splitlines()
        except OSError as error:
            raise KeyFault(f"cannot read the keys {file}: {error.strerror}") from None
        return cls(line.strip() for line in lines if line.strip())


@lru_cache(maxsize=64)
def _derived(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, purpose.encode(), "sha256")


def make_keys(file: Path) -> None:
    """Write a fresh secret into a file of its owner, unless there is one.

    Raises:
        KeyFault: the file cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise KeyFault(f"cannot write the keys {file}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{secrets.token_hex(32)}\n")
    except OSError as error:
        file.unlink(missing_ok=True)  # an empty file would be taken for keys
        raise KeyFault(f"cannot write the keys {file}: {error.strerror}") from None


def to_text(data: bytes) -> str:
    """Base64url without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_FROM_STANDARD).rstrip(b"=").decode()


_FROM_STANDARD = bytes.maketrans(b"+/", b"-_")


def from_text(text: str) -> bytes:
    """The inverse of `to_text`.

    Raises:
        ValueError: it is not what `to_text` would have written.
    """
    data = text.encode("ascii")
    padded = data.translate(_TO_STANDARD) + b"=" * (-len(data) % 4)
    found = binascii.a2b_base64(padded, strict_mode=True)
    if to_text(found) != text:
        raise ValueError("not written by us")
    return found
