from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offline.log import LogWriter, Rows
from tests.offline.log.made import HEADER, make_rows


def numbered(sessions: int, steps: int = 3, seed: int = 0, **sizes: int) -> Rows:
    """Sessions whose rows carry numbers of their own as the user's first column."""
    rows = make_rows(sessions, steps, seed=seed, **sizes)
    user = rows["user"].copy()
    user[:, 0] = seed * 1000 + np.arange(len(rows))
    return rows.replace(user=user)


def write_shards(folder: Path, shards: list[Rows], format: str = "json") -> Path:
    for number, rows in enumerate(shards):
        with LogWriter(folder, HEADER, name=f"part-{number:03d}", format=format) as writer:
            writer.write(rows)
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Five shards of 20 sessions of 3 rows."""
    return write_shards(tmp_path / "log", [numbered(20, seed=seed) for seed in range(5)])
