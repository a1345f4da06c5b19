"""Checkpoints with checksums, and files that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUMS = "checksums.json"
"""The file of a checkpoint with the checksums of all others."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint.

    Attributes:
        path: its folder, with `rllib/` and `policy/`.
        state: what was kept beside RLlib's own state, as plain data.
    """

    path: Path
    state: dict[str, Any]


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, `None` for nothing."""
    try:
        expected: dict[str, str] = json.loads((checkpoint / SUMS).read_text())
    except (OSError, ValueError):
        return f"no readable {SUMS}"
    found = checksums(checkpoint)
    for name, checksum in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != checksum:
            return f"{name} has changed"
    return None


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the checksums themselves."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def replace_folder(new: Path, target: Path) -> None:
    """Put a whole folder where another one may be."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(new, target)
    shutil.rmtree(old, ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
