"""Folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from algorithms.command import INTERRUPTED, fail
from offline.log import LogError


def refuse_existing(folder: Path) -> None:
    """Refuse to write into a folder that holds something.

    Raises:
        LogError: it does, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LogError(f"{folder} is there already; choose another folder")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder under a temporary name, which gets its own when all is in it.

    Raises:
        LogError: the target holds something, or cannot be written.
    """
    refuse_existing(target)
    target = target.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rmdir()
        os.replace(partial, target)
    except (OSError, LogError) as error:
        # A writer of logs says what it has kept, and nothing of it stays here.
        cause = error.__context__ if isinstance(error, LogError) else error
        if not isinstance(cause, OSError):
            raise
        reason = os.strerror(cause.errno) if cause.errno else str(cause)
        raise LogError(f"cannot write {target}: {reason}; nothing was kept of it") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def stopping(out: Path) -> Iterator[None]:
    """End a command that is stopped with one sentence, which says what it leaves behind."""
    try:
        yield
    except KeyboardInterrupt:
        left = (
            f"{out} holds only a part, so delete it before the next try"
            if out.is_dir() and any(out.iterdir())
            else "nothing was written"
        )
        fail(f"Stopped; {left}", INTERRUPTED)
