from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from offline.ope import Contributions, Logged, Refusal, estimator
from offline.ope.contributions import Weighted, estimate, influence, resample
from offline.ope.intervals import (
    bootstrap,
    empirical_bernstein,
    percentile,
    resampled,
    student_t,
)

MEAN = Contributions(np.array([1.0, 2.0, 3.0, 6.0]))


def ratio(log_weight: list[float], value: list[float]) -> Contributions:
    count = len(value)
    terms = Weighted(np.array(log_weight), np.array(value), np.arange(count + 1))
    return Contributions(np.zeros(count), terms)


def test_student_t_by_hand() -> None:
    # Mean 3, variance (4 + 1 + 0 + 9) / 3, t of 3 degrees at 97.5 % is 3.182446.
    half = 3.182446 * math.sqrt(14 / 3) / 2
    found = student_t(MEAN)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=1e-5)


def test_student_t_of_a_ratio_by_hand() -> None:
    # Weights 1 and 3, values 2 and 6: 20 / 4 = 5. Influences 5 + w (x - 5) / 2:
    # 3.5 and 6.5; t of 1 degree at 95 % is 6.313752; half = 6.313752 * 2.12132 / 1.41421.
    found = ratio([0.0, math.log(3)], [2.0, 6.0])
    assert_allclose(influence(found), [3.5, 6.5])
    interval = student_t(found, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((5 - 9.470628, 5 + 9.470628), abs=1e-5)


def test_differences_are_paired() -> None:
    worse = Contributions(MEAN.base - 0.5)
    for interval in (student_t(MEAN, against=worse), bootstrap(MEAN, against=worse)):
        assert (interval.low, interval.high) == pytest.approx((0.5, 0.5), abs=1e-9)


def test_resampled_ratios_are_normalised_anew() -> None:
    counts = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    found = resample(ratio([0.0, math.log(3)], [2.0, 6.0]), counts)
    assert_allclose(found, [2, 5, 6])


def test_resamples_without_weight_are_no_numbers() -> None:
    found = resample(ratio([0.0, -np.inf], [2.0, 6.0]), np.array([[0.0, 2.0], [1.0, 1.0]]))
    assert np.isnan(found[0]) and found[1] == 2
    with pytest.raises(Refusal, match="50% of the resampled logs hold no session"):
        percentile(found)


def test_the_bootstrap_draws_sessions_with_replacement() -> None:
    # Of two sessions, a resample holds 0, 1 or 2 of the second: means 0, 1, 2 with 1/4, 1/2, 1/4.
    values = resampled([Contributions(np.array([0.0, 2.0]))], 40_000, seed=3)[0]
    shares = [(values == value).mean() for value in (0, 1, 2)]
    assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.015)  # five standard errors of 0.0025


def test_the_bootstrap_has_the_spread_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(Contributions(values), level=0.8, resamples=4000)
    # 1.2816 standard deviations to each side.
    spread = 1.2816 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - spread, abs=0.008)
    assert found.high == pytest.approx(values.mean() + spread, abs=0.008)


def test_the_bootstrap_follows_its_seed_and_not_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resampled([MEAN], 50, seed=1)[0]
    assert_allclose(resampled([MEAN], 50, seed=1)[0], whole)
    assert not np.allclose(resampled([MEAN], 50, seed=2)[0], whole)
    monkeypatch.setattr("offline.ope.intervals._CHUNK", 12)
    assert_allclose(resampled([MEAN], 50, seed=1)[0], whole)


def test_blocks_of_sessions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    offsets = np.array([0, 3, 4, 9, 11, 12])
    log = Logged(generator.normal(size=12), offsets, 0.9, behaviour=np.full(12, -2.0),
                 target=-3 * generator.random(12))  # fmt: skip
    counts = generator.multinomial(5, [0.2] * 5, size=7).astype(float)
    found = estimator("wpdis")(log)
    whole = estimate(found), influence(found), resample(found, counts)
    monkeypatch.setattr("offline.ope.contributions._BLOCK", 10)
    for before, after in zip(whole, (estimate(found), influence(found), resample(found, counts)),
                             strict=True):  # fmt: skip
        assert_allclose(after, before)


def test_empirical_bernstein_by_hand() -> None:
    # Mean 0.5, variance 1/3, n = 4, ln(2 / 0.05) = 3.688879 for each side of 90 %:
    # sqrt(2 * 1/3 * 3.688879 / 4) + 7 * 2 * 3.688879 / 9 = 0.784100 + 5.738257.
    values = Contributions(np.array([0.0, 0.0, 1.0, 1.0]))
    found = empirical_bernstein(values, -1.0, 1.0, level=0.9)
    assert (found.low, found.high) == pytest.approx((0.5 - 6.522357, 0.5 + 6.522357), abs=1e-5)


@pytest.mark.parametrize(
    ("contributions", "low", "high", "message"),
    [
        (MEAN, 0.0, math.inf, "needs finite ones, declared before looking"),
        (MEAN, 6.0, 1.0, "needs finite ones"),
        (MEAN, 0.0, 5.0, "sessions contribute from 1 to 6, outside the declared bounds 0 and 5"),
        (ratio([0.0, 0.0], [1.0, 2.0]), 0.0, 5.0, "self-normalised weights are none"),
        (Contributions(np.array([1.0])), 0.0, 5.0, "the log has one session"),
    ],
)
def test_empirical_bernstein_refuses(
    contributions: Contributions, low: float, high: float, message: str
) -> None:
    with pytest.raises(Refusal, match=message):
        empirical_bernstein(contributions, low, high)


def test_a_single_session_has_no_interval() -> None:
    for interval in (student_t, bootstrap):
        with pytest.raises(Refusal, match="the log has one session"):
            interval(Contributions(np.array([1.0])))


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_levels_are_probabilities(level: float) -> None:
    with pytest.raises(ValueError, match=r"it lies between 0 and 1, such as 0\.95"):
        student_t(MEAN, level)


def test_one_resample_is_none() -> None:
    with pytest.raises(ValueError, match="resamples is 1; it must be at least 2"):
        bootstrap(MEAN, resamples=1)
