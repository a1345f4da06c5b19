from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offline.log import COLUMNS, LogError, LogWriter, Rows, concatenate, open_log
from offline.log.sessions import starts, whole
from tests.offline.log.made import HEADER, equal, make_rows

ROWS = make_rows(6, 5)


def test_sessions_in_any_order_are_put_together() -> None:
    shuffled = ROWS.take(np.random.default_rng(0).permutation(30))
    found = concatenate(list(whole([shuffled.take(slice(i, i + 7)) for i in range(0, 30, 7)], 10)))
    assert starts(found).tolist() == [0, 5, 10, 15, 20, 25]
    order = np.lexsort((found["step"], found["session_id"]))
    assert equal(found.take(order), ROWS)
    assert (found["step"] == np.tile(np.arange(5), 6)).all()


def test_sessions_are_handed_on_when_they_end() -> None:
    batches = [ROWS.take(slice(i, i + 10)) for i in range(0, 30, 10)]
    assert [len(found) for found in whole(batches, 10)] == [10, 10, 10]
    assert [len(found) for found in whole(batches, 11)] == [20, 10]


def test_open_sessions_come_last() -> None:
    # The first session has no end, the others have.
    rows = ROWS.replace(terminated=ROWS["terminated"] & (np.arange(30) != 4))
    (found,) = whole([rows], 1000)
    assert found["session_id"][::5].tolist() == [f"s0-{n}" for n in (1, 2, 3, 4, 5, 0)]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ([0, 1, 3, 4], "session 's0-0' has no row for step 2"),
        ([1, 2, 3, 4], "session 's0-0' has no row for step 0"),
        ([0, 1, 1, 2, 3, 4], "session 's0-0' has two rows for step 1"),
    ],
)
def test_gaps_and_doubles_are_refused(kept: list[int], message: str) -> None:
    with pytest.raises(LogError, match=f"{message}; `python -m offline.check DIR --fix"):
        list(whole([ROWS.take(np.array([*kept, *range(5, 30)]))], 10))


def test_a_log_gives_whole_sessions(tmp_path: Path) -> None:
    def by_step(rows: Rows) -> Rows:
        return rows.take(np.argsort(rows["step"], kind="stable"))

    with LogWriter(tmp_path, HEADER) as writer:
        writer.write(by_step(ROWS))
    log = open_log(tmp_path)
    (found,) = log.sessions(1000, tuple(COLUMNS))
    assert equal(found, ROWS)
    (found,) = log.sessions(1000, ("reward",))
    assert set(found.columns) == {"reward", "session_id", "step", "terminated", "truncated"}
