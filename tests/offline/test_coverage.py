"""How far logs cover policies, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from algorithms.core.agent import Decision, Exploration
from algorithms.policy import Policy
from envs.history import History, Term
from envs.simulator import Observation
from offline.coverage import Coverage, coverage_of, sampled
from offline.log import LogError, LogWriter, Rows, concatenate, open_log
from tests.offline.judge.made import HEADER, SPEC, ByScore, by_score, logged, made

GREEDY = Exploration()


def each(count: int, **columns: np.ndarray) -> Rows:
    """Sessions of one step in which a, b and c were shown in turn."""
    return made([1] * count, [[n % 3] for n in range(count)], **columns)


def test_weights_by_hand(tmp_path: Path) -> None:
    # Weights 0.5, 1 and 1.5: (1 + 2 + 3)^2 / (1 + 4 + 9) = 36 / 14 of 3 rows.
    found = coverage_of(logged(tmp_path, each(300)), by_score(1))
    assert found.rows == 300 and found.known == 1 and found.never == 0
    assert found.effective == pytest.approx(300 / 3 * 36 / 14, rel=1e-5)
    assert found.effective_share == pytest.approx(36 / 42, rel=1e-5)
    assert found.top_share == pytest.approx(3 * 1.5 / 300, rel=1e-5)  # 3 of 300 rows
    assert found.agreement == pytest.approx(1 / 3)
    assert found.warning() is None


def test_a_policy_acts_as_it_explores_or_greedily(tmp_path: Path) -> None:
    log = logged(tmp_path, each(300))
    assert coverage_of(log, by_score(1), greedy=True).effective == pytest.approx(100)
    assert coverage_of(log, by_score(1, GREEDY)).effective == pytest.approx(100)


def test_best_slates_are_those_of_agents_that_explore_by_their_ranks(tmp_path: Path) -> None:
    class Curious(ByScore):
        def exploit(self, observation: Observation, slate_size: int) -> Decision:
            return Decision(-observation.candidates[:, :, 0], None, {})

    policy = Policy(Curious(SPEC, History(SPEC, ()), 1, {}), exploration=GREEDY)
    log = logged(tmp_path, made([1] * 4, [[2], [2], [2], [0]]))
    assert coverage_of(log, policy).agreement == 0.75
    assert coverage_of(log, policy, greedy=True).agreement == 0.25


def test_few_rows_that_count_are_told(tmp_path: Path) -> None:
    found = coverage_of(logged(tmp_path, each(30)), by_score(1, GREEDY))
    assert found.warning() == (
        "the log covers this policy poorly: of 30 rows it says as much about the policy as 10 of "
        "the policy's own"
    )


def test_weight_in_few_rows_is_told(tmp_path: Path) -> None:
    # One row in 200 was logged with a thousandth of the usual propensity.
    slots = np.log(np.full((200, 1), 1 / 3, np.float32))
    slots[2] -= np.log(1000)
    rows = each(200, slot_log_propensities=slots)
    found = coverage_of(logged(tmp_path, rows), by_score(1))
    assert found.top_share is not None and found.top_share > 0.8
    warning = found.warning()
    assert warning is not None and "of the weight lies in 1 % of them" in warning


def test_choices_that_the_log_never_shows(tmp_path: Path) -> None:
    # The policy likes c; half of the rows follow another's greedy choice, a, without exploring.
    half = np.arange(200) < 100
    slates = np.where(half, 0, np.arange(200) % 3)[:, None]
    rows = made(
        [1] * 200,
        slates.tolist(),
        slot_log_propensities=np.where(half, 0, -np.log(3))[:, None].astype(np.float32),
        epsilon=np.where(half, 0.0, 1.0),
        log_weights=np.where(half[:, None], [1.0, 0.0, 0.0], 0.0).astype(np.float32),
    )
    found = coverage_of(logged(tmp_path / "a", rows), by_score(1))
    assert found.never == 0.5
    warning = found.warning()
    assert warning is not None and "in 50.0% of the rows it never shows" in warning
    # Without the distribution only what was shown with certainty is known.
    unstated = rows.replace(
        epsilon=np.full(200, np.nan),
        temperature=np.full(200, np.nan),
        log_weights=np.full((200, 3), np.nan, np.float32),
    )
    shown = int((slates[100:] == 2).sum())
    found = coverage_of(logged(tmp_path / "b", unstated), by_score(1))
    assert found.never == pytest.approx(100 / (100 + shown))


def test_a_distribution_tells_what_could_be_shown(tmp_path: Path) -> None:
    # At temperature 0 without epsilon only the best of the log-weights, b, can be shown.
    rows = made(
        [1] * 4,
        [[1]] * 4,
        slot_log_propensities=np.full((4, 1), -0.1, np.float32),
        epsilon=np.zeros(4),
        log_weights=np.tile(np.array([0, 1, 0], np.float32), (4, 1)),
    )
    assert coverage_of(logged(tmp_path, rows), by_score(1)).never == 1


def test_without_propensities_only_agreement_is_known(tmp_path: Path) -> None:
    nan = np.full(30, np.nan, np.float32)
    rows = each(30).replace(
        propensity_source=np.full(30, "none", object),
        log_propensity=nan,
        slot_log_propensities=nan[:, None],
    )
    found = coverage_of(logged(tmp_path, rows), by_score(1))
    assert (found.known, found.effective, found.top_share, found.never) == (0, None, None, None)
    assert found.warning() == (
        "the log has no propensities, so it cannot be known how far it covers the policy; its "
        "first item is the policy's choice in 33.3% of the rows"
    )


def test_a_target_that_shows_nothing_of_the_log(tmp_path: Path) -> None:
    rows = made([1] * 5, [[0]] * 5)
    found = coverage_of(logged(tmp_path, rows), by_score(1, GREEDY))
    assert (found.effective, found.top_share, found.agreement) == (0, None, 0)
    assert found.warning() is not None


def test_another_history_is_computed(tmp_path: Path) -> None:
    # A click on a makes it the policy's choice.
    response = np.zeros((2, 1, 2), np.float32)
    response[0, 0, 0] = 1
    log = logged(tmp_path, made([2], [[0], [0]], response=response))
    other = History(SPEC, (Term("click", scale=9.0),))
    assert coverage_of(log, by_score(1, GREEDY, other)).agreement == 0.5


def test_a_sample_is_bounded_and_from_several_shards(tmp_path: Path) -> None:
    for first in range(0, 12_000, 3000):
        session = np.array([f"s{n}" for n in range(first, first + 3000)], object)
        with LogWriter(tmp_path, HEADER, name=f"part-{first}") as writer:
            writer.write(each(3000).replace(session_id=session))
    log = open_log(tmp_path)
    assert len(log.shards) == 4
    rows = concatenate(list(sampled(log, 6000)))
    shards = np.array([int(name[1:]) // 3000 for name in rows["session_id"]])
    assert len(rows) == 6000 and len(set(shards.tolist())) == 3
    assert coverage_of(log, by_score(1), rows=2500).rows == 2500
    other = concatenate(list(sampled(log, 2000, seed=1)))
    assert (other["session_id"] != rows["session_id"][:2000]).any()


def test_rows_in_the_middle_of_sessions_are_left_out(tmp_path: Path) -> None:
    rows = made([3, 2], [[0], [1], [2], [0], [1]])
    log = logged(tmp_path, rows.take(np.array([4, 2, 0, 3])))
    found = concatenate(list(sampled(log, 10)))
    # Session s1 is there in full, of s0 only the first step.
    assert found["session_id"].tolist() == ["s1", "s1", "s0"]
    assert found["step"].tolist() == [0, 1, 0]
    with pytest.raises(LogError, match="no session from its first step on"):
        coverage_of(logged(tmp_path / "b", rows.take(np.array([1, 2]))), by_score(1))


def test_plain_data() -> None:
    found = Coverage(10, 1.0, 5.0, 0.5, 0.1, None, 0.2)
    assert found.to_json()["effective"] == 5
    assert replace(found, effective=500.0).warning() is None
    assert_allclose(found.agreement, 0.2)
