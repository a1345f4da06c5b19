"""The files of a cycle: one pass at a time, each there whole or to be done again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from offline.log.files import write_whole

CYCLES, LOCK = "cycles", "lock"
REPORT, WORDS, BEGUN = "report.json", "report.md", "pass.json"
LOG, RUN, POLICY = "log", "run", "policy"


class CycleError(ValueError):
    """A pass that cannot be; the message is one sentence."""


@dataclass(frozen=True)
class Canary:
    """A policy on trial.

    Attributes:
        policy: its folder within the state folder.
        since: seconds since 1970, when the replicas had it.
        began: number of the pass that started it.
        run: its training.
        looks: at it so far.
    """

    policy: str
    since: float
    began: int
    run: str
    looks: int = 0


@dataclass(frozen=True)
class Memory:
    """What one pass leaves to the next.

    Attributes:
        joined: seconds since 1970, up to which sessions have begun that were joined.
        run: the last training, to begin the next with; `None` for afresh.
        live_run: the training of the live policy, if it was one of ours.
        canary: on trial.
    """

    joined: float | None = None
    run: str | None = None
    live_run: str | None = None
    canary: Canary | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Memory:
        """From plain data."""
        canary = data.get("canary")
        return cls(**{**data, "canary": None if canary is None else Canary(**canary)})


def passes(state: Path) -> list[int]:
    """Numbers of the passes that were begun, in order."""
    found = (state / CYCLES).glob("*")
    return sorted(int(path.name) for path in found if re.fullmatch(r"\d{4,}", path.name))


def folder_of(state: Path, number: int) -> Path:
    """Where a pass keeps its files."""
    return state / CYCLES / f"{number:04d}"


def is_done(state: Path, number: int) -> bool:
    """Whether a pass has come to its end."""
    return (folder_of(state, number) / REPORT).exists()


def next_number(state: Path) -> int:
    """Of the pass to do: one that was broken off, or a new one."""
    begun = passes(state)
    if not begun:
        return 1
    return begun[-1] + is_done(state, begun[-1])


def memory_of(state: Path, number: int) -> Memory:
    """What the passes before one left."""
    before = [found for found in passes(state) if found < number and is_done(state, found)]
    if not before:
        return Memory()
    return Memory.of_json(read(folder_of(state, before[-1]) / REPORT)["memory"])


def read(path: Path) -> dict[str, Any]:
    """A file of ours.

    Raises:
        CycleError: it is damaged.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found
    except (OSError, ValueError) as error:
        raise CycleError(
            f"{path} cannot be read ({error}); remove {path.parent} to do that pass again"
        ) from None


def write(path: Path, data: dict[str, Any]) -> None:
    """Write a file of ours, whole or not at all.

    Raises:
        LogError: the disk is full, or the folder cannot be written.
    """
    write_whole(path, (json.dumps(data, indent=2, allow_nan=False) + "\n").encode())


def forget(state: Path, number: int, keep: int, needed: Memory) -> None:
    """Remove logs and runs of passes older than the last ones, but for those still needed."""
    kept = {run for run in (needed.run, needed.live_run) if run is not None}
    if needed.canary is not None:
        kept.add(needed.canary.run)
    for old in passes(state):
        if old > number - keep:
            break
        folder = folder_of(state, old)
        shutil.rmtree(folder / LOG, ignore_errors=True)
        if f"{CYCLES}/{folder.name}/{RUN}" not in kept:
            shutil.rmtree(folder / RUN, ignore_errors=True)


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """Hold the lock of a state folder; the system lets go of it when the process ends, however.

    Raises:
        CycleError: another process holds it, or the folder cannot be written.
    """
    path = state / CYCLES / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CycleError(f"cannot write {path}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            said = os.read(file, 200).decode(errors="replace").strip() or "another process"
            raise CycleError(
                f"{said} is at work on {state}; wait until it has ended, or stop it"
            ) from None
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()}, begun {now},".encode(), 0)
        yield
    finally:
        os.close(file)
