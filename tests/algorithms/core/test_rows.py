"""Rows that value learners read of a fragment."""

from __future__ import annotations

import torch

from algorithms.core.fragment import Fragment, Step
from algorithms.core.rows import of_candidates
from envs.simulator import Observation


def fragment(candidates: torch.Tensor) -> Fragment:
    nothing = torch.zeros(2, 0)
    seen = [
        Observation(nothing, offered, nothing, nothing, nothing, nothing) for offered in candidates
    ]
    steps = [Step(observation, None, None, {}, None) for observation in seen[:-1]]
    return Fragment(steps, seen[-1], {}, [{}, {}])


def test_features_of_candidates_by_position() -> None:
    # 2 steps and the last observation, 2 users, 3 candidates of 1 feature:
    # step 0 offers 0 1 2 | 3 4 5, step 1 offers 6 7 8 | 9 10 11.
    played = fragment(torch.arange(18.0).view(3, 2, 3, 1))
    one = torch.tensor([[0, 2], [1, 1]])
    assert of_candidates(played, one).squeeze(1).tolist() == [0, 5, 7, 10]
    slates = torch.tensor([[[0, 1], [2, 0]], [[2, 1], [1, 0]]])
    expected = [[0, 1], [5, 3], [8, 7], [10, 9]]
    assert of_candidates(played, slates).squeeze(2).tolist() == expected
