"""Sessions cut into windows."""

from __future__ import annotations

import numpy as np

from offline.values.windows import windows


def cut(ends: str, length: int) -> tuple[list[list[int]], list[list[bool]], list[list[bool]]]:
    """Of rows written as `.` in a session, `T` where the user left, `x` where it was cut off."""
    letters = np.array(list(ends))
    found = windows(letters == "T", letters != ".", length)
    return found.numbers.tolist(), found.learned.tolist(), found.cut.tolist()


def test_each_row_stands_in_one_window_and_opens_the_next_one() -> None:
    index, learned, stopped = cut("..T..T", 4)
    assert index == [[0, 1, 2, 3, 4], [4, 5, 5, 5, 5]]
    assert learned == [[True] * 4, [True, True, False, False]]
    assert not np.any(stopped)


def test_the_last_row_of_a_session_that_was_cut_off_is_not_learned_from() -> None:
    # Rows 0 to 2 are cut off after 2, row 3 is a session of its own, 4 and 5 end.
    index, learned, stopped = cut("..xx.T", 3)
    assert index == [[0, 1, 2, 3], [3, 4, 5, 5]]
    assert learned == [[True, True, False], [False, True, True]]
    # After row 1 only the observation of row 2 is known; row 2 ends its session.
    assert stopped == [[False, True, False], [False, False, False]]
