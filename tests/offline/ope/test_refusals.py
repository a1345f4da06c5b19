from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from offline.ope import Logged, Refusal, contributions_of, estimate, estimator
from offline.ope.columns import SOURCES
from offline.ope.ratios import check_candidates, session_log_weight, uncovered_share
from offline.ope.registry import ESTIMATORS, fitting

HALF = np.log([0.5, 0.5])


def log(**columns: Any) -> Logged:
    given = {"reward": [1.0, 2.0], "behaviour": HALF, "target": HALF}
    return Logged.one_step(**{**given, **columns})


@pytest.mark.parametrize("name", ["ips", "snips", "clipped", "pdis", "wis", "wpdis"])
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": "none"}, "the log's propensity source is 'none'"),
        ({"behaviour": [0.5, -1.0]}, "behaviour of row 0 is 0.5, a probability above 1"),
        ({"behaviour": [-1.0, -np.inf]}, "the propensity of row 1 is 0, yet the row was logged"),
        ({"behaviour": [-1.0, np.nan]}, "behaviour of row 1 is missing"),
        ({"target": [np.nan, -1.0]}, "target of row 0 is missing"),
        ({"target": [-np.inf, -np.inf]}, "the target would have shown nothing of what was logged"),
        # A deterministic log, where the target would choose otherwise.
        ({"behaviour": [0.0, 0.0]}, "in 100.0% of the rows the log shows one thing with certainty"),
        (
            {"behaviour": [0.0, -1.0], "target": [np.log(0.9), -1.0]},
            "5.0% of the target's choices would be others",
        ),
        ({"behaviour": None}, "needs the columns behaviour, which this log lacks"),
    ],
)
def test_importance_sampling_refuses(name: str, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        estimator(name)(log(**columns))


def test_a_deterministic_log_speaks_for_its_own_policy() -> None:
    same = log(behaviour=[0.0, 0.0], target=[0.0, 0.0])
    assert estimate(estimator("ips")(same)) == 1.5
    assert uncovered_share(np.zeros(2), np.zeros(2)) == 0


def test_weights_that_no_float_holds_are_refused() -> None:
    far = log(behaviour=[-800.0, -1.0], target=[0.0, -1.0])
    with pytest.raises(Refusal, match=r"the largest importance weight is exp\(800\)"):
        estimator("ips")(far)


def test_normalised_weights_all_0_at_a_step_are_refused() -> None:
    # Both sessions take a first step of the target's, and neither a second one.
    columns = {"behaviour": np.log([0.5] * 4), "target": [-1.0, -np.inf, -1.0, -np.inf]}
    dying = Logged(np.ones(4), np.array([0, 2, 4]), **columns)
    assert np.isneginf(session_log_weight(dying)[[1, 3]]).all()
    with pytest.raises(Refusal, match="from step 1 on the target would have gone on with none"):
        estimate(estimator("wpdis")(dying))
    with pytest.raises(Refusal, match="none of the logged sessions to its end"):
        estimate(estimator("wis")(dying))
    assert np.isfinite(estimate(estimator("pdis")(dying)))


@pytest.mark.parametrize("name", [n for n, e in ESTIMATORS.items() if e.scope != "sessions"])
def test_estimators_of_one_step_refuse_longer_sessions(name: str) -> None:
    longer = Logged(np.ones(3), np.array([0, 2, 3]))
    with pytest.raises(Refusal, match=f"'{name}' judges sessions of one step, and 3 rows in 2"):
        estimator(name)(longer)


@pytest.mark.parametrize("name", [n for n, e in ESTIMATORS.items() if e.needs])
def test_every_estimator_names_the_columns_that_it_lacks(name: str) -> None:
    needs = ", ".join(ESTIMATORS[name].needs)
    with pytest.raises(Refusal, match=f"'{name}' needs the columns {needs}, which this log lacks"):
        estimator(name)(Logged.one_step([1.0, 2.0]))


def test_models_need_no_propensities() -> None:
    predicted = Logged.one_step([1.0, 2.0], source="none", q=[0.0, 0.0], v=[3.0, 5.0])
    assert estimate(estimator("dm")(predicted)) == estimate(estimator("fqe")(predicted)) == 4


def test_a_slot_after_an_impossible_one_is_no_lack_of_support() -> None:
    # Two items in two slots: the second slot is certain, and impossible for the target
    # where the first is.
    columns = {
        "behaviour_slots": [[np.log(0.5), 0.0], [np.log(0.5), 0.0]],
        "target_slots": [[0.0, 0.0], [-np.inf, -np.inf]],
    }
    found = estimator("sips")(Logged.one_step([1.0, 2.0], **columns))
    assert estimate(found) == 1.0  # (2 * 1 + 0 * 2) / 2


SLOTS = {
    "behaviour_slots": [[np.log(0.5), np.log(0.5)], [np.log(0.5), np.log(0.5)]],
    "slot_reward": [[1.0, 0.0], [1.0, 1.0]],
    "slot_q": np.zeros((2, 2)),
    "slot_v": np.zeros((2, 2)),
}


@pytest.mark.parametrize("name", ["ips", "sips", "rips", "cascade_dr"])
def test_slates_that_the_target_never_begins_are_refused(name: str) -> None:
    never = Logged.one_step([1.0, 2.0], target_slots=[[-np.inf, 0.0]] * 2, **SLOTS)
    with pytest.raises(Refusal, match="the target would have shown nothing of what was logged"):
        estimator(name)(never)


def test_slates_that_the_target_begins_but_never_ends_are_refused_where_whole_ones_count() -> None:
    begun = Logged.one_step([1.0, 2.0], target_slots=[[0.0, -np.inf]] * 2, **SLOTS)
    with pytest.raises(Refusal, match="the target would have shown nothing of what was logged"):
        estimator("sips")(begun)
    assert estimate(estimator("rips")(begun)) == 2.0  # first slots with weight 2


@pytest.mark.parametrize("name", ["ips", "snips", "sips"])
def test_a_slot_that_the_log_shows_with_certainty_is_no_base_for_another(name: str) -> None:
    # The whole slate is uncertain, but its first slot is not, and the target differs there.
    columns = {
        "behaviour_slots": np.log([[1.0, 0.5], [1.0, 0.5]]),
        "target_slots": np.log([[0.5, 0.5], [0.5, 0.5]]),
    }
    with pytest.raises(Refusal, match=r"in 50\.0% of the rows the log shows one thing"):
        estimator(name)(Logged.one_step([1.0, 2.0], **columns))


def test_the_pseudo_inverse_needs_no_logged_slate_of_the_target() -> None:
    # The target's slate never occurs, but its items do, each in its slot.
    columns = {"behaviour": HALF, "target": [-np.inf, -np.inf], "pseudo_inverse": [1.5, -0.5]}
    assert estimate(estimator("pi")(Logged.one_step([3.0, 5.0], **columns))) == 1.0
    with pytest.raises(Refusal, match="the propensity of row 0 is 0, yet the row was logged"):
        estimator("pi")(Logged.one_step([3.0, 5.0], **{**columns, "behaviour": [-np.inf, 0.0]}))
    with pytest.raises(Refusal, match="the log's propensity source is 'none'"):
        estimator("pi")(Logged.one_step([3.0, 5.0], **columns, source="none"))


def test_other_candidates_are_refused() -> None:
    ids = np.array([["a", "b"], ["c", "d"]])
    check_candidates(ids, ids.copy())
    with pytest.raises(Refusal, match="the candidates of row 1 are not those"):
        check_candidates(ids, np.array([["a", "b"], ["d", "c"]]))
    with pytest.raises(Refusal, match="the target chose among 1 candidates for 2 rows"):
        check_candidates(ids, ids[:, :1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": "guessed"}, f"source is 'guessed'; allowed are: {', '.join(SOURCES)}"),
        ({"discount": 0.0}, "discount is 0.0; it lies above 0"),
        ({"discount": 1.1}, "discount is 1.1; it lies above 0"),
        ({"reward": [1.0, np.nan]}, "reward of row 1 is nan; it must be a finite number"),
        ({"q": [np.inf, 1.0]}, "q of row 0 is inf"),
        ({"target": [0.0]}, r"target has shape \(1,\); expected \(2,\)"),
        ({"slot_reward": [[1.0]]}, r"slot_reward has shape \(1, 1\); expected \(2, 1\)"),
        (
            {"slot_q": np.zeros((2, 3)), "slot_v": np.zeros((2, 2))},
            r"slot_v has shape \(2, 2\); expected \(2, 3\)",
        ),
        ({"reward": []}, "rewards have shape"),
    ],
)
def test_columns_that_are_none(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log(**columns)


@pytest.mark.parametrize("offsets", [[0, 1], [1, 3], [0, 2, 2, 3], [0, 3, 1]])
def test_offsets_name_every_row_once(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets must rise from 0 to the number of rows, 3"):
        Logged(np.ones(3), np.array(offsets))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([0, 1, 1], "session b has two rows for step 1"),
        ([0, 0, 2], "session b has no row for the step after step 0"),
        ([0, 3, 4], "session b begins at step 3"),
        ([1, 0, 1], "session a begins at step 1"),
    ],
)
def test_rows_that_are_no_sessions(steps: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Logged.from_rows(["a", "b", "b"], steps, reward=[1.0, 2.0, 3.0])


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 sessions, 1 steps and 2 rewards are given"):
        Logged.from_rows(["a", "b"], [0], reward=[1.0, 2.0])


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown estimator 'snip'; did you mean 'snips'"):
        estimator("snip")
    with pytest.raises(ValueError, match="unknown estimator 'xyzzy'; there are: logged, ips"):
        contributions_of(log(), ["xyzzy"])


def test_all_that_fit_a_log() -> None:
    names = [each.name for each in fitting(log())]
    assert names == ["logged", "ips", "snips", "clipped", "pdis", "wis", "wpdis"]
    longer = Logged(np.ones(3), np.array([0, 2, 3]), behaviour=-np.ones(3), target=-np.ones(3))
    assert list(contributions_of(longer)) == ["logged", "pdis", "wis", "wpdis"]


def test_a_refusal_stands_in_for_its_estimate_only() -> None:
    found = contributions_of(log(), ["ips", "dr"])
    assert isinstance(found["dr"], Refusal)
    ips = found["ips"]
    assert not isinstance(ips, Refusal) and estimate(ips) == 1.5


def test_the_first_impossible_slot_counts_and_later_ones_do_not() -> None:
    # Row 0's first slot was certain and is not the target's: 1 of 4 slots is not covered,
    # though no whole slate was certain.
    behaviour = np.log([[1.0, 0.5], [0.5, 0.5]])
    target = np.array([[-np.inf, 0.0], [np.log(0.5), np.log(0.5)]])
    first = log(behaviour=None, target=None, behaviour_slots=behaviour, target_slots=target)
    with pytest.raises(Refusal, match=r"in 25\.0% of the rows .* there 25\.0% of the target's"):
        estimator("ips")(first)
    # The slot after an impossible one says nothing: nothing of the target's got there.
    later = log(
        behaviour=None,
        target=None,
        behaviour_slots=behaviour[:, ::-1],
        target_slots=np.array([[-np.inf, -np.inf], target[1]]),
    )
    assert estimate(estimator("ips")(later)) == pytest.approx(1.0)  # (0 + 1 * 2) / 2
