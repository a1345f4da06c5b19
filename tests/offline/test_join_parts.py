"""The parts of joining, on columns small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs.registry import make_simulator
from offline.join import moment
from offline.joining.chains import (
    MISSING,
    NONE,
    Kept,
    Sessions,
    by_time,
    chosen_sessions,
    cut_sessions,
    find,
    keep,
    originals,
    parents,
)
from offline.joining.winners import Counts, Responses, choose
from offline.log import LogError
from offline.log.rewards import check_reward, rewards


def array(*values: float) -> np.ndarray:
    return np.array(values)


def flags(text: str) -> list[bool]:
    return [letter == "x" for letter in text]


def test_places_of_keys() -> None:
    assert find(array(30, 10, 20), array(10, 11, 30, 99, 0)).tolist() == [1, -1, 0, -1, -1]
    assert find(array(), array(1, 2)).tolist() == [-1, -1]


def test_the_earliest_of_rows_with_one_id_is_the_original() -> None:
    assert originals(array(7, 8, 7, 7), array(5, 1, 4, 4)).tolist() == flags(".xx.")
    assert originals(array(), array()).tolist() == []


def test_rows_before() -> None:
    session, step = array(1, 1, 1, 2, 2), array(0, 1, 3, 0, 1)
    identity, previous = array(10, 11, 13, 20, 21), array(99, 10, 12, 13, 11)
    # Row 0 names a row of a session before the gap; row 2's is not there; row 4's is of
    # another session.
    assert parents(session, step, identity, previous).tolist() == [NONE, 0, MISSING, NONE, MISSING]


def test_of_a_branch_the_side_that_goes_on_is_kept() -> None:
    # 0 -> 1 -> 3 -> 4, and 0 -> 2 (earlier than 1, but nothing follows).
    step, time = array(0, 1, 1, 2, 3), array(0.0, 2.0, 1.0, 3.0, 4.0)
    kept = keep(np.zeros(5, int), step, time, array(NONE, 0, 0, 1, 3))
    assert kept.kept.tolist() == flags("xx.xx")
    assert kept.branched.tolist() == flags("..x..")
    assert not kept.lost.any()


def test_of_two_sides_that_go_on_the_earliest_is_kept() -> None:
    # 0 -> 1 -> 3 and 0 -> 2 -> 4, the second of them first.
    step, time = array(0, 1, 1, 2, 2), array(0.0, 2.0, 1.0, 3.0, 4.0)
    kept = keep(np.zeros(5, int), step, time, array(NONE, 0, 0, 1, 2))
    assert kept.kept.tolist() == flags("x.x.x")
    assert kept.branched.tolist() == flags(".x.x.")


def test_two_beginnings_are_branches_too() -> None:
    kept = keep(array(4, 4, 5), array(0, 0, 0), array(2.0, 1.0, 0.0), array(NONE, NONE, NONE))
    assert kept.kept.tolist() == flags(".xx")


def test_what_follows_a_missing_row_is_lost() -> None:
    # Step 2 is not there: 3 and 4 hang in the air.
    kept = keep(np.zeros(4, int), array(0, 1, 3, 4), np.arange(4.0), array(NONE, 0, MISSING, 2))
    assert kept.kept.tolist() == flags("xx..")
    assert kept.lost.tolist() == flags("..xx")


@given(st.integers(1, 40), st.randoms(use_true_random=False))
def test_every_row_has_one_fate_and_sessions_have_no_gaps(size: int, luck) -> None:
    session = np.array([luck.randrange(3) for _ in range(size)])
    step = np.array([luck.randrange(4) for _ in range(size)])
    identity, time = np.arange(size), np.array([float(luck.randrange(9)) for _ in range(size)])
    previous = np.array([luck.randrange(-1, size) for _ in range(size)])
    kept = keep(session, step, time, parents(session, step, identity, previous))
    assert (kept.kept.astype(int) + kept.branched + kept.lost == 1).all()
    for one in range(3):
        steps = np.sort(step[kept.kept & (session == one)])
        assert steps.tolist() == list(range(len(steps)))
        # Where there is a beginning at all, something of the session is kept.
        assert bool(len(steps)) == bool((step[session == one] == 0).any())


def everything(count: int) -> Kept:
    return Kept(np.ones(count, bool), np.zeros(count, bool), np.zeros(count, bool))


def test_sessions_end_after_the_gap_and_are_cut_at_the_end() -> None:
    session, step = array(1, 2, 1, 2), array(0, 0, 1, 1)
    time = array(0.0, 50.0, 10.0, 90.0)
    found = cut_sessions(session, step, time, everything(4), gap=30.0, until=100.0)
    # Session 1: last at 10, over at 40. Session 2: idle for 40, so it ends at 50, and another
    # begins at 90, of which nobody knows at 100 whether it goes on.
    assert found.order.tolist() == [0, 2, 1, 3]
    assert found.begins.tolist() == [0, 2, 3]
    assert found.part.tolist() == [0, 0, 1]
    assert found.terminated.tolist() == [True, True, False]


def test_a_pause_as_long_as_the_gap_does_not_end_a_session() -> None:
    columns = array(1, 1), array(0, 1), array(0.0, 30.0)
    found = cut_sessions(*columns, everything(2), gap=30.0, until=60.0)
    assert found.begins.tolist() == [0]
    assert found.terminated.tolist() == [False]


def test_a_session_that_misses_a_row_did_not_end_there() -> None:
    kept = Kept(np.array(flags("x.x")), np.zeros(3, bool), np.array(flags(".x.")))
    columns = array(1, 1, 2), array(0, 2, 0), array(0.0, 2.0, 1.0)
    found = cut_sessions(*columns, kept, gap=10.0, until=1000.0)
    assert found.terminated.tolist() == [False, True]


def test_sessions_in_the_order_of_their_beginnings() -> None:
    time = array(5.0, 6.0, 1.0, 2.0, 9.0)
    found = Sessions(
        array(0, 1, 2, 3, 4), array(0, 2, 4), array(0, 1, 2), np.array([True, False, True])
    )
    ordered = by_time(found, time)
    assert ordered.order.tolist() == [2, 3, 0, 1, 4]
    assert ordered.begins.tolist() == [0, 2, 4]
    assert (ordered.part.tolist(), ordered.terminated.tolist()) == ([1, 0, 2], [False, True, True])
    at_once = by_time(
        Sessions(array(2, 0, 1), array(0, 1), array(0, 0), np.array(flags("xx"))), np.zeros(3)
    )
    assert at_once.order.tolist() == [0, 1, 2]
    some = chosen_sessions(found, np.array([True, False, True]))
    assert some.order.tolist() == [0, 1, 4]
    assert some.begins.tolist() == [0, 2]


def responses(*rows: tuple[int, float, int]) -> Responses:
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return Responses(*(np.array(column) for column in columns))


def test_feedback_wins_and_of_several_the_last() -> None:
    tokens = responses((10, 1.0, 6), (11, 1.0, 6), (11, 2.0, 6), (10, 9.0, 6))
    feedback = responses((10, 5.0, 6), (10, 4.0, 6))
    found = choose(array(10, 11, 12), array(6, 6, 6), tokens, feedback, until=100.0)
    # 10: the feedback at 5, though a token came at 9. 11: the token at 2. 12: nothing.
    assert found.number.tolist() == [0, 2, NONE]
    assert found.feedback.tolist() == [True, False, False]
    assert found.tokens == Counts(used=1, superseded=3)
    assert found.feedbacks == Counts(used=1, superseded=1)


def test_of_equally_late_ones_the_one_written_last_wins() -> None:
    feedback = responses((10, 5.0, 6), (10, 5.0, 6))
    found = choose(array(10), array(6), responses(), feedback, until=100.0)
    assert found.number.tolist() == [1]


def test_what_belongs_to_nothing_or_does_not_fit_or_came_too_late() -> None:
    feedback = responses((99, 1.0, 6), (10, 2.0, 4), (10, 8.0, 6), (10, 1.0, 6))
    found = choose(array(10), array(6), responses(), feedback, until=7.0)
    assert found.number.tolist() == [3]
    assert found.feedbacks == Counts(used=1, orphans=1, misfits=1, late=1)


def test_rewards_by_name() -> None:
    spec = make_simulator("interest_evolution", 1).spec
    response = np.zeros((2, 3, spec.response_size), np.float32)
    click, watched = (spec.response_slice(name).start for name in ("click", "watch_time"))
    response[0, 1, click], response[0, 1, watched] = 1, 3.5
    response[0, 2, watched] = 2.0  # not clicked
    response[1, :2, click], response[1, :2, watched] = 1, 4.0  # two clicks
    assert rewards("clicked_watchtime_reward", spec, response).tolist() == [3.5, 8.0]
    assert rewards("total_clicks_reward", spec, response).tolist() == [1.0, 2.0]
    assert rewards("watch_time", spec, response).tolist() == [5.5, 8.0]
    with pytest.raises(LogError, match="'regret' is no reward that these responses tell"):
        check_reward("regret", spec)
    with pytest.raises(LogError, match="name one of clicked_watchtime_reward"):
        check_reward("clicked_engagement_reward", spec)
    with pytest.raises(LogError):
        check_reward("cluster_id", spec)  # a vector is no reward


@pytest.mark.parametrize("name", ["interest_evolution", "boredom", "interest_exploration"])
def test_rewards_are_those_of_the_worlds(name: str) -> None:
    simulator = make_simulator(name, 50, seed=1)
    simulator.reset()
    step = simulator.step(torch.arange(simulator.slate_size).repeat(50, 1))
    found = rewards(simulator.reward_name, simulator.spec, step.response.numpy())
    assert found.tolist() == step.reward.tolist()
    assert found.any()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000", 1_700_000_000.0),
        ("1700000000.5", 1_700_000_000.5),
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14T22:13:20", 1_700_000_000.0),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000.0),
    ],
)
def test_moments(text: str, seconds: float) -> None:
    assert moment(text) == seconds
