"""What is held out, and that nothing of it is learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offline.log import LogError
from offline.ranking.reading import read
from offline.ranking.splits import TEST, TRAIN, VALIDATION, by_time, fold, leave_last_out, split
from tests.offline.ranking.tables import movielens


def test_the_last_is_tested_and_of_a_tie_the_larger_item() -> None:
    user = np.array([0, 0, 0, 1, 1, 2, 0])
    item = np.array([5, 2, 9, 3, 4, 1, 1])
    time = np.array([7.0, 7.0, 1.0, 2.0, 1.0, 9.0, 2.0])
    # User 0: item 9 at 1, item 1 at 2, items 2 and 5 at 7. User 1: 4 at 1, 3 at 2. User 2: once.
    expected = [TEST, VALIDATION, TRAIN, TEST, TRAIN, TRAIN, TRAIN]
    assert leave_last_out(user, item, time).tolist() == expected


def test_by_time_the_last_share_is_tested_and_that_of_the_rest_validates() -> None:
    # Of 10, the last 2; of the 8 before, the last 1.6: quantile 0.8 of 0..7 is 5.6.
    time = np.arange(10.0)[::-1]
    expected = [TEST] * 2 + [VALIDATION] * 2 + [TRAIN] * 6
    assert by_time(time, 0.2).tolist() == expected
    assert by_time(np.array([0.0, 0.0, 1.0, 1.0]), 0.5).tolist() == [VALIDATION] * 2 + [TEST] * 2


@pytest.mark.parametrize("on", ["test", "validation"])
@pytest.mark.parametrize("how", ["leave-last-out", "time"])
def test_scorers_see_nothing_that_is_held_out(tmp_path: Path, how: str, on: str) -> None:
    catalogue, taken = read(movielens(tmp_path))
    part = split(taken, how, 0.3)
    found = fold(catalogue, taken, part, on)
    known = {*zip(found.fitted.taken.user.tolist(), found.fitted.taken.item.tolist(), strict=True)}
    row, item = found.relevant.nonzero()
    held = {*zip(found.users[row].tolist(), item.tolist(), strict=True)}
    assert known and held and not known & held
    assert found.fitted.seen[found.users].multiply(found.relevant).nnz == 0
    assert found.fitted.seen.nnz == len(known)
    assert found.fitted.takers.sum() == len(known)
    # What comes later than the judged part is in neither.
    assert len(known) == int((part < (TEST if on == "test" else VALIDATION)).sum())


def test_users_without_earlier_interactions_and_repeats_are_counted(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n" + "".join(
        f"{user},{item},1,{time}\n"
        for user, item, time in [
            (1, 10, 0),
            (1, 20, 1),
            (2, 20, 2),
            (1, 10, 3),  # a repeat
            (2, 30, 4),
            (3, 30, 5),  # a user who is new
        ]
    )
    catalogue, taken = read(movielens(tmp_path, ratings=ratings))
    found = fold(catalogue, taken, split(taken, "time", 0.5), "test")
    assert (found.users.tolist(), found.unseen, found.repeats) == ([1], 1, 1)
    assert catalogue.item_ids[found.relevant.indices].tolist() == ["30"]


def test_a_split_without_users_to_judge_by_is_refused(tmp_path: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n1,10,1,0\n2,10,1,5\n"
    catalogue, taken = read(movielens(tmp_path, ratings=ratings))
    for how, sentence in (
        ("leave-last-out", "no user has interactions in the test part"),
        ("time", "no user is left for the test"),
    ):
        with pytest.raises(LogError, match=sentence):
            fold(catalogue, taken, split(taken, how, 0.5), "test")
