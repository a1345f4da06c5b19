"""Means, intervals and tests, against numbers worked by hand."""

import math

import numpy as np
import pytest

from algorithms.comparison.statistics import band, difference_by_seed, paired_difference, student


def test_an_interval_over_seeds_is_students() -> None:
    found = student(np.array([1.0, 2.0, 3.0]))
    # Standard deviation 1, and the table's t of two degrees is 4.303: 4.303 / sqrt(3) = 2.484.
    assert found.mean == 2.0
    assert (found.low, found.high) == (pytest.approx(-0.484, abs=1e-3), pytest.approx(4.484, 1e-3))


def test_one_seed_has_no_interval() -> None:
    found = student(np.array([4.0]))
    assert found.mean == 4.0
    assert math.isnan(found.low)


def test_a_difference_with_one_seed_is_the_paired_t_test_over_users() -> None:
    found = paired_difference(np.array([[3.0, 5.0, 7.0]]), np.array([[2.0, 3.0, 4.0]]))
    # Differences 1, 2, 3: mean 2, error 1 / sqrt(3) = 0.5774, t = 3.464 with two degrees of
    # freedom, for which p = 1 - t / sqrt(2 + t^2) = 1 - 3.464 / 3.742 = 0.0742.
    assert found.mean == 2.0
    assert (found.seeds_error, found.users_error) == (0.0, pytest.approx(0.5774, abs=1e-4))
    assert found.high == pytest.approx(2 + 4.3027 * 0.5774, abs=1e-3)
    assert found.low == pytest.approx(2 - 4.3027 * 0.5774, abs=1e-3)
    assert found.p_value == pytest.approx(0.0742, abs=1e-4)


def test_users_that_agree_leave_the_paired_t_test_over_seeds() -> None:
    first = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    found = paired_difference(first, np.zeros((1, 2)))
    assert found.per_seed == (1.0, 2.0, 3.0)
    assert (found.seeds_error, found.users_error) == (pytest.approx(0.5774, abs=1e-4), 0.0)
    assert found.high == pytest.approx(4.484, abs=1e-3)
    assert found.p_value == pytest.approx(0.0742, abs=1e-4)


def test_seeds_and_users_both_widen_the_interval() -> None:
    # Seeds' means 1 and 3, users' means 1 and 3: each variance of a mean is 2 / 2 = 1.
    found = paired_difference(np.array([[0.0, 2.0], [2.0, 4.0]]), np.zeros((2, 2)))
    assert found.mean == 2.0
    assert (found.seeds_error, found.users_error) == (1.0, 1.0)
    # Variance 2 with (1 + 1)^2 / (1 / 1 + 1 / 1) = 2 degrees of freedom.
    assert found.high == pytest.approx(2 + 4.3027 * math.sqrt(2), abs=1e-3)
    # t = sqrt(2), p = 1 - 1.4142 / sqrt(2 + 2) = 0.2929
    assert found.p_value == pytest.approx(0.2929, abs=1e-4)


def test_pairing_takes_away_what_users_share() -> None:
    users = np.array([[100.0, 0.0, 50.0, 7.0]])
    found = paired_difference(users + 1, users)
    assert (found.mean, found.low, found.high, found.p_value) == (1.0, 1.0, 1.0, 0.0)
    same = paired_difference(users, users)
    assert (same.mean, same.p_value) == (0.0, 1.0)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    # Seeds, users and both together vary; 400 comparisons of 5 seeds and 50 users.
    luck = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        seeds, users = luck.normal(0, 2, (5, 1)), luck.normal(0, 5, (1, 50))
        first = 3 + seeds + users + luck.normal(0, 10, (5, 50))
        found = paired_difference(first, np.zeros((1, 50)))
        inside += found.low < 3 < found.high
    # Two standard errors around 95 %, and wider because of what is counted twice.
    assert 0.93 < inside / 400 <= 1.0


def test_values_a_seed_leave_the_paired_t_test_over_seeds() -> None:
    found = difference_by_seed(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    # 1, 2 and 3, as above.
    assert found.per_seed == (1.0, 2.0, 3.0)
    assert (found.seeds_error, found.users_error) == (pytest.approx(0.5774, abs=1e-4), 0.0)
    assert found.high == pytest.approx(4.484, abs=1e-3)
    assert found.p_value == pytest.approx(0.0742, abs=1e-4)
    alone = difference_by_seed(np.array([2.0]), np.array([1.0]))
    assert alone.mean == 1.0 and math.isnan(alone.low)


def test_users_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        paired_difference(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="no pairs"):
        paired_difference(np.zeros((2, 3)), np.zeros((3, 3)))


def test_a_band_is_over_the_steps_that_all_seeds_have() -> None:
    first = (np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 4.0]))
    second = (np.array([0.0, 2.0, 2.5]), np.array([0.0, 4.0, 5.0]))
    steps, mean, low, high = band([first, second])
    assert steps.tolist() == [1.0, 2.0]
    # The second is 2 at step 1: means (0 + 2) / 2 and (2 + 4) / 2; deviation sqrt(2), error 1,
    # and t of one degree is 12.706.
    assert mean.tolist() == [1.0, 3.0]
    assert low == pytest.approx(mean - 12.706, abs=1e-3)
    assert high == pytest.approx(mean + 12.706, abs=1e-3)


def test_a_band_leaves_out_what_is_missing() -> None:
    steps, mean, low, _ = band([(np.array([1.0, 2.0]), np.array([math.nan, 5.0]))])
    assert (steps.tolist(), mean.tolist(), low.tolist()) == ([2.0], [5.0], [5.0])
    assert len(band([(np.array([1.0]), np.array([math.nan]))])[0]) == 0
