"""The replay buffer: what it keeps and what it draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import tensor

from algorithms.core.replay import PrioritisedReplay, Replay


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


def test_a_state_stays_as_it_was_when_rows_follow() -> None:
    replay = PrioritisedReplay(capacity=2, seed=0, alpha=1.0)
    replay.add(rows(1, 2))
    state = replay.get_state()
    replay.add(rows(7))
    replay.prioritise(tensor([0, 1]), tensor([9.0, 9.0]))
    assert state["mass"].tolist() == [1.0, 1.0]
    assert state["columns"]["x"].tolist() == [1, 2]


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


def prioritised(alpha: float, *errors: float) -> PrioritisedReplay:
    replay = PrioritisedReplay(capacity=4, seed=0, alpha=alpha)
    replay.add(rows(*range(len(errors))))
    replay.prioritise(torch.arange(len(errors)), torch.tensor(errors))
    return replay


@pytest.mark.parametrize(
    ("alpha", "errors", "expected"),
    [
        (1.0, (1.0, -3.0), (100, 300)),  # 1 : 3 of 400, whatever the sign
        (0.5, (1.0, 9.0), (100, 300)),  # sqrt(1) : sqrt(9)
        (0.0, (1.0, 9.0), (200, 200)),
    ],
)
def test_rows_are_drawn_by_a_power_of_their_error(alpha, errors, expected) -> None:
    drawn = prioritised(alpha, *errors).sample_weighted(400, beta=0.0)["x"]
    counts = torch.bincount(drawn, minlength=2).tolist()
    # Stratified: each part of the whole is met to within the one draw on its border.
    assert counts == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 1 / 3), (0.5, 0.57735), (0.0, 1.0)])
def test_weights_make_up_for_the_preference(beta, expected) -> None:
    drawn = prioritised(1.0, 1.0, 3.0).sample_weighted(40, beta)
    # Row 1 is drawn three times as often, so it weighs (1 / 3)^beta of row 0.
    weights = {int(row): float(w) for row, w in zip(drawn["row"], drawn["weight"], strict=True)}
    assert weights == pytest.approx({0: 1.0, 1: expected}, abs=1e-5)


def test_new_rows_have_the_largest_priority_so_far() -> None:
    replay = prioritised(1.0, 1.0, 4.0)
    replay.add(rows(7))
    drawn = replay.sample_weighted(900, beta=0.0)["x"]
    # 1 : 4 : 4 of 900.
    counts = torch.bincount(drawn, minlength=8)[[0, 1, 7]].tolist()
    assert counts == pytest.approx([100, 400, 400], abs=1)


def test_of_two_errors_of_a_row_the_larger_counts() -> None:
    replay = prioritised(1.0, 1.0, 1.0)
    replay.prioritise(torch.tensor([1, 1]), torch.tensor([3.0, 2.0]))
    counts = torch.bincount(replay.sample_weighted(400, beta=0.0)["x"])
    assert counts.tolist() == pytest.approx([100, 300], abs=1)


def test_a_row_without_error_is_still_drawn_at_times() -> None:
    weights = prioritised(1.0, 0.0, 0.0).sample_weighted(10, beta=1.0)["weight"]
    assert weights.tolist() == [1.0] * 10


def test_a_restored_prioritised_buffer_draws_the_same_rows() -> None:
    replay = prioritised(0.6, 1.0, 5.0, 2.0)
    replay.add(rows(7, 8))
    other = PrioritisedReplay(capacity=4, seed=9, alpha=0.6)
    other.set_state(replay.get_state())
    first, second = replay.sample_weighted(50, 0.4), other.sample_weighted(50, 0.4)
    assert all(torch.equal(first[name], second[name]) for name in first)
    for buffer in (replay, other):
        buffer.add(rows(9))
    first, second = replay.sample_weighted(50, 0.4), other.sample_weighted(50, 0.4)
    assert all(torch.equal(first[name], second[name]) for name in first)
