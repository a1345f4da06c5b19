"""Small files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from offline.log.schema import LogError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then give it its own; makes its folder.

    Raises:
        LogError: the disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise LogError(f"cannot write {path}: {error.strerror or error}") from None
