"""What the commands share: one sentence for a user's mistake, and the lists."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

MISTAKE, FAILED, INTERRUPTED = 2, 1, 130


def sentence(error: BaseException) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def mistakes() -> Iterator[None]:
    """End with one sentence on standard error and status 2 for what the user got wrong."""
    try:
        yield
    except ValueError as error:
        fail(sentence(error))
    except ModuleNotFoundError as error:
        if error.name != "recsim":
            raise
        fail(sentence(error))


def fail(message: str, status: int = MISTAKE) -> None:
    """End with one sentence on standard error."""
    print(message, file=sys.stderr, flush=True)
    raise typer.Exit(status)
