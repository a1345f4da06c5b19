"""The replay buffer: what it keeps and what it draws."""

from __future__ import annotations

import numpy as np
import torch

from algorithms.core.replay import Replay


def rows(*values: int) -> dict[str, np.ndarray]:
    return {"x": np.array(values), "y": np.array(values, np.float32)[:, None] * 2}


def test_the_oldest_rows_go_first() -> None:
    replay = Replay(capacity=4, seed=0)
    replay.add(rows(1, 2, 3))
    replay.add(rows(4, 5))  # 1 is overwritten
    assert len(replay) == 4
    drawn = replay.sample(1000)
    assert set(drawn["x"].tolist()) == {2, 3, 4, 5}
    assert torch.equal(drawn["y"][:, 0], drawn["x"] * 2.0)


def test_more_rows_than_fit_keep_the_latest() -> None:
    replay = Replay(capacity=2, seed=0)
    replay.add(rows(1, 2, 3, 4, 5))
    assert set(replay.sample(100)["x"].tolist()) == {4, 5}


def test_a_restored_buffer_draws_the_same_rows() -> None:
    replay = Replay(capacity=4, seed=0)
    replay.add(rows(1, 2, 3, 4, 5, 6))
    other = Replay(capacity=4, seed=9)
    other.set_state(replay.get_state())
    assert torch.equal(replay.sample(50)["x"], other.sample(50)["x"])
    replay.add(rows(7))
    other.add(rows(7))
    assert torch.equal(replay.sample(50)["x"], other.sample(50)["x"])
