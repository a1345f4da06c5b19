"""What must hold whatever the numbers are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.ope import ESTIMATORS, Logged, estimate, estimator

SLATES = [name for name, each in ESTIMATORS.items() if each.scope == "slates"]
ONE_STEP = [name for name, each in ESTIMATORS.items() if each.scope == "one step"]
SESSIONS = [name for name, each in ESTIMATORS.items() if each.scope == "sessions"]
WEIGHTED_MEANS = ["snips", "wis"]


def random_log(seed: int, one_step: bool, scale: float = 1.0, on_policy: bool = False) -> Logged:
    """A few sessions; predictions and rewards are in the unit `scale`."""
    generator = np.random.default_rng(seed)
    length = np.ones(5, int) if one_step else generator.integers(1, 5, size=5)
    rows = int(length.sum())
    behaviour = np.log(generator.uniform(0.05, 0.9, size=(rows, 2)))
    target = behaviour if on_policy else np.log(generator.uniform(0.05, 0.9, size=(rows, 2)))
    slot_reward = scale * generator.normal(size=(rows, 2))
    return Logged(
        slot_reward.sum(1),
        np.cumsum([0, *length]),
        0.9,
        behaviour_slots=behaviour,
        target_slots=target,
        behaviour_marginals=behaviour,
        target_marginals=target,
        slot_reward=slot_reward,
        pseudo_inverse=np.ones(rows) if on_policy else generator.normal(size=rows),
        q=scale * generator.normal(size=rows),
        v=scale * generator.normal(size=rows),
        slot_q=scale * generator.normal(size=(rows, 2)),
        slot_v=scale * generator.normal(size=(rows, 2)),
    )


def cases(test: object) -> object:
    every = [(name, True) for name in ESTIMATORS] + [(name, False) for name in SESSIONS]
    return pytest.mark.parametrize(("name", "one_step"), every)(test)


@cases
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 100))
def test_values_have_the_unit_of_the_reward(
    name: str, one_step: bool, seed: int, scale: float
) -> None:
    once = estimate(estimator(name)(random_log(seed, one_step)))
    scaled = estimate(estimator(name)(random_log(seed, one_step, scale)))
    assert scaled == pytest.approx(scale * once, rel=1e-9, abs=1e-9)


@cases
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_weights_of_1_give_the_mean_return(name: str, one_step: bool, seed: int) -> None:
    log = random_log(seed, one_step, on_policy=True)
    # A model that is right: q is the discounted rest of the session, and v too.
    ends = np.repeat(log.offsets[1:], np.diff(log.offsets))
    rest = np.array(
        [
            sum(0.9 ** (later - row) * log.reward[later] for later in range(row, end))
            for row, end in enumerate(ends)
        ]
    )
    slots = log.slot_reward
    assert slots is not None
    to_go = slots[:, ::-1].cumsum(1)[:, ::-1]
    log = replace(log, q=rest, v=rest, slot_q=to_go, slot_v=to_go)
    mean = estimate(estimator("logged")(log))
    assert mean == pytest.approx(rest[log.offsets[:-1]].mean(), abs=1e-12)
    assert estimate(estimator(name)(log)) == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("name", WEIGHTED_MEANS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.floats(-100, 100))
def test_weighted_means_move_with_the_reward(name: str, seed: int, shift: float) -> None:
    log = random_log(seed, one_step=True)
    moved = replace(log, reward=log.reward + shift)
    before, after = (estimate(estimator(name)(each)) for each in (log, moved))
    assert after == pytest.approx(before + shift, abs=1e-9)


@pytest.mark.parametrize("name", ["dr", "sdr", "wdr"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.floats(-100, 100))
def test_doubly_robust_moves_with_reward_and_model(name: str, seed: int, shift: float) -> None:
    log = random_log(seed, one_step=True)
    assert log.q is not None and log.v is not None
    moved = replace(log, reward=log.reward + shift, q=log.q + shift, v=log.v + shift)
    before, after = (estimate(estimator(name)(each)) for each in (log, moved))
    assert after == pytest.approx(before + shift, abs=1e-9)


@cases
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_rows_does_not_matter(name: str, one_step: bool, seed: int) -> None:
    log = random_log(seed, one_step)
    length = np.diff(log.offsets)
    session = np.repeat(np.array(["e", "d", "c", "b", "a"]), length)
    step = np.concatenate([np.arange(each) for each in length])
    order = np.random.default_rng(seed).permutation(log.rows)
    columns = {
        key: value[order]
        for key, value in vars(log).items()
        if isinstance(value, np.ndarray) and key != "offsets"
    }
    mixed = Logged.from_rows(session[order], step[order], discount=0.9, **columns)
    expected = estimate(estimator(name)(log))
    assert estimate(estimator(name)(mixed)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_every_estimator_has_a_line_and_a_scope() -> None:
    assert len(ESTIMATORS) == len(SLATES) + len(ONE_STEP) + len(SESSIONS) == 19
    for each in ESTIMATORS.values():
        assert each.summary and len(each.summary) < 80
        normalised = each(random_log(0, one_step=True)).weighted is not None
        assert normalised == each.normalised
