"""What is read from a log and a policy, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from algorithms.core.agent import Exploration
from envs.history import History, Term
from envs.spec import FeatureSpec, number
from offline.judge.binding import Wanted, bind
from offline.judge.target import target_of
from offline.log import LogError
from tests.offline.judge.made import HEADER, HISTORY, SPEC, by_score, logged, made


def test_two_sessions(tmp_path: Path) -> None:
    # The policy draws c, b, a with weights 3, 2, 1 and without replacement.
    rows = made([2, 1], [[2, 1], [0, 2], [1, 0]], reward=np.array([1, 2, 4], np.float32))
    log = logged(tmp_path, rows)
    bound = bind(log, [target_of(by_score(2), log.header)])
    assert bound.offsets.tolist() == [0, 2, 3]
    assert bound.reward.tolist() == [1, 2, 4]
    assert_allclose(np.exp(bound.behaviour), [[1 / 3, 1 / 2]] * 3, rtol=1e-6)
    expected = [[3 / 6, 2 / 3], [1 / 6, 3 / 5], [2 / 6, 1 / 4]]
    assert_allclose(np.exp(bound.targets[0].slots), expected, rtol=1e-6)
    assert bound.counts.arms == {("", "random"): (3, 2, {"0"})}


def test_eligibility_and_pins_are_the_logs(tmp_path: Path) -> None:
    # a is not eligible: c of 3 + 2. Then a is pinned to the first slot: c of 3 + 2 in the
    # second. Then b is pinned to the second: a of 1 + 3 in the first.
    never = -1
    rows = made(
        [1, 1, 1],
        [[2, 1], [0, 2], [0, 1]],
        mask=np.array([[0, 1, 1], [1, 1, 1], [1, 1, 1]], np.bool_),
        pinned=np.array([[never, never], [0, never], [never, 1]]),
        slot_log_propensities=np.log(np.array([[0.5, 1], [1, 0.5], [0.5, 1]], np.float32)),
    )
    log = logged(tmp_path, rows)
    bound = bind(log, [target_of(by_score(2), log.header)])
    expected = [[3 / 5, 1], [1, 3 / 5], [1 / 4, 1]]
    assert_allclose(np.exp(bound.targets[0].slots), expected, rtol=1e-6)
    assert bound.stated is not None and bound.stated.mismatch == 0


def test_epsilon_and_temperature_replace_the_policys_own(tmp_path: Path) -> None:
    log = logged(tmp_path, made([1, 1], [[2], [0]]))

    def chances(epsilon: float | None, temperature: float | None) -> list[float]:
        target = target_of(by_score(1), log.header, None, epsilon, temperature)
        return np.exp(bind(log, [target]).targets[0].slots[:, 0]).tolist()

    assert_allclose(chances(None, None), [3 / 6, 1 / 6], rtol=1e-6)
    assert_allclose(chances(0.3, None), [0.7 * 3 / 6 + 0.1, 0.7 / 6 + 0.1], rtol=1e-6)
    assert_allclose(chances(None, 0.5), [9 / 14, 1 / 14], rtol=1e-6)  # squared weights
    assert_allclose(chances(0.3, 0.0), [0.8, 0.1], rtol=1e-6)


def test_another_history_is_computed_from_whole_sessions(tmp_path: Path) -> None:
    # Twice the clicks are added to the first candidate's log-weight: after one click its
    # weight is e^2, of 2 + 3 + e^2.
    rows = made(
        [3, 1],
        [[0], [0], [1], [0]],
        response=np.array([[[1, 0]], [[0, 0]], [[1, 0]], [[1, 0]]], np.float32),
    )
    log = logged(tmp_path, rows)
    other = History(SPEC, (Term("click", scale=2.0),))
    assert other.version != HISTORY.version
    found = bind(log, [target_of(by_score(1, history=other), log.header)])
    later = 5 + math.e**2
    expected = [1 / 6, math.e**2 / later, 2 / later, 1 / 6]
    assert_allclose(np.exp(found.targets[0].slots[:, 0]), expected, rtol=1e-6)
    # The log's own history is taken as it was logged: here as 0.
    same = bind(log, [target_of(by_score(1, history=HISTORY), log.header)])
    assert_allclose(np.exp(same.targets[0].slots[:, 0]), [1 / 6, 1 / 6, 2 / 6, 1 / 6], rtol=1e-6)


def test_slates_of_several_sizes(tmp_path: Path) -> None:
    header = HEADER
    with_one = made([1], [[2]], session_id=np.array(["t"], object))
    logged(tmp_path / "one", with_one, header)
    logged(tmp_path / "two", made([1], [[2, 1]]), header)
    from offline.log import open_log

    log = open_log([tmp_path / "one", tmp_path / "two"])
    target = replace(target_of(by_score(2), log.header), any_size=True)
    bound = bind(log, [target])
    assert_allclose(np.exp(bound.targets[0].slots), [[1 / 2, 1], [1 / 2, 2 / 3]], rtol=1e-6)
    assert_allclose(np.exp(bound.behaviour), [[1 / 3, 1], [1 / 3, 1 / 2]], rtol=1e-6)
    assert bound.lacking["slot_reward"] == "the log's slates have several sizes"
    with pytest.raises(LogError, match=r"shows slates of 2, but the log has slates of 1"):
        bind(log, [target_of(by_score(2), log.header)])


def test_sessions_without_an_end_are_left_out(tmp_path: Path) -> None:
    rows = made([2, 2], [[2], [1], [0], [1]])
    ended = rows["terminated"].copy()
    ended[3] = False
    log = logged(tmp_path, rows.replace(terminated=ended))
    bound = bind(log, [target_of(by_score(1), log.header)])
    assert (len(bound.reward), bound.counts.open_sessions, bound.counts.open_rows) == (2, 1, 2)


def test_arms_are_told_apart_and_chosen(tmp_path: Path) -> None:
    arms = np.array(["new", "new", "old"], object)
    policies = np.array(["slateq", "slateq", "random"], object)
    versions = np.array(["1", "2", "0"], object)
    rows = made([2, 1], [[2], [1], [0]], arm=arms, policy=policies, policy_version=versions)
    log = logged(tmp_path, rows)
    target = target_of(by_score(1), log.header)
    both = bind(log, [target])
    assert both.counts.arms == {
        ("new", "slateq"): (2, 1, {"1", "2"}),
        ("old", "random"): (1, 1, {"0"}),
    }
    one = bind(log, [target], Wanted(arm="old"))
    assert (len(one.reward), one.counts.skipped) == (1, 2)
    with pytest.raises(LogError, match=r"has no arm 'none'; its arms are: 'new', 'old'"):
        bind(log, [target], Wanted(arm="none"))


def test_slots_rewards_follow_from_the_response(tmp_path: Path) -> None:
    # The reward is what was watched of the clicked item: 5 in the second slot, 2 in the first.
    rows = made(
        [1, 1],
        [[2, 1], [0, 2]],
        response=np.array([[[0, 7], [1, 5]], [[1, 2], [0, 3]]], np.float32),
        reward=np.array([5, 2], np.float32),
    )
    log = logged(tmp_path, rows)
    target = target_of(by_score(2), log.header)
    assert bind(log, [target]).slates["slot_reward"].tolist() == [[0, 5], [2, 0]]
    rows = rows.replace(reward=np.array([5, 3], np.float32))
    bound = bind(logged(tmp_path / "other", rows), [target])
    assert "slot_reward" not in bound.slates
    assert "no column of the response adds up" in bound.lacking["slot_reward"]


def test_marginals_and_moments_of_slates(tmp_path: Path) -> None:
    # P(second slot is b) = 1/6 * 2/5 (after a) + 3/6 * 2/3 (after c) = 2/5.
    log = logged(tmp_path, made([1], [[2, 1]]))
    bound = bind(log, [target_of(by_score(2), log.header)])
    assert_allclose(np.exp(bound.slates["behaviour_marginals"]), [[1 / 3, 1 / 3]], rtol=1e-6)
    found = np.exp(bound.targets[0].slates["target_marginals"])
    assert_allclose(found, [[1 / 2, 2 / 5]], rtol=1e-6)
    same = made([1], [[2, 1]], log_weights=np.log(np.array([[1, 2, 3]], np.float32)))
    slots = np.log(np.array([[3 / 6, 2 / 3]], np.float32))
    same = same.replace(
        epsilon=np.zeros(1),
        temperature=np.ones(1),
        slot_log_propensities=slots,
        log_propensity=slots.sum(1),
    )
    bound = bind(logged(tmp_path / "same", same), [target_of(by_score(2), log.header)])
    assert_allclose(bound.targets[0].slates["pseudo_inverse"], [1], rtol=1e-6)


def test_inputs_of_the_models(tmp_path: Path) -> None:
    log = logged(tmp_path, made([2], [[2], [1]], user=np.array([[5], [7]], np.float32)))
    bound = bind(log, [target_of(by_score(1), log.header)])
    assert bound.inputs is not None and bound.targets[0].means is not None
    # State: age, whether there was a slate before, history, step, log(1 + step); then the item's
    # score, then its products with the state.
    ln2, ln3 = math.log(2), math.log(3)
    state = np.array([[5, 0, 0, 0, 0], [7, 1, 0, 1, ln2]])
    shown = np.array([[ln3], [ln2]])
    mean = np.full((2, 1), 2 / 6 * ln2 + 3 / 6 * ln3)
    for found, score in ((bound.inputs, shown), (bound.targets[0].means, mean)):
        assert_allclose(found, np.concatenate([state, score, state * score], 1), rtol=1e-5)


def test_propensities_that_are_not_the_distributions_are_noticed(tmp_path: Path) -> None:
    rows = made([1, 1], [[2], [1]])
    slots = rows["slot_log_propensities"].copy()
    slots[0] = math.log(0.9)
    rows = rows.replace(slot_log_propensities=slots, log_propensity=slots.sum(1))
    log = logged(tmp_path, rows)
    stated = bind(log, [target_of(by_score(1), log.header)]).stated
    assert stated is not None and stated.mismatch == 0.5
    assert_allclose(stated.chance, np.full((2, 3), 1 / 3), rtol=1e-6)
    assert stated.shown.tolist() == [2, 1]


def test_rows_without_propensities_are_refused(tmp_path: Path) -> None:
    rows = made([1, 1], [[2], [1]])
    nan = np.array([np.nan, rows["log_propensity"][1]], np.float32)
    rows = rows.replace(
        propensity_source=np.array(["none", "exact"], object),
        log_propensity=nan,
        slot_log_propensities=nan[:, None],
    )
    log = logged(tmp_path, rows)
    with pytest.raises(LogError, match=r"^1 of 2 rows were logged without propensities; estimate"):
        bind(log, [target_of(by_score(1), log.header)])


def test_policies_for_other_features_are_refused() -> None:
    spec = FeatureSpec(user=(number("height"),), candidate=SPEC.candidate, response=SPEC.response)
    with pytest.raises(
        LogError, match=r"'mine' expects the user features height \(1\), but the log has age \(1\)"
    ):
        target_of(by_score(1, spec=spec), HEADER, "mine")


def test_impossible_exploration_is_refused() -> None:
    with pytest.raises(ValueError, match=r"epsilon is 2"):
        target_of(by_score(1), HEADER, None, 2.0)
    assert target_of(by_score(1), HEADER, None, 0.5).exploration == Exploration(0.5, 1.0)
