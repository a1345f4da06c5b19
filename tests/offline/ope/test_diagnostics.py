from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from offline.ope.diagnostics import calibration, overlap


def test_overlap_by_hand() -> None:
    # Weights 1, 1, 2, 4: sum 8, squares 22; standard deviation sqrt(2), error sqrt(2) / 2.
    found = overlap(np.log([1.0, 4.0, 1.0, 2.0]))
    assert found.sessions == 4
    assert found.effective == pytest.approx(64 / 22)
    assert found.largest == pytest.approx((0.5, 0.25, 0.125, 0.125))
    assert found.top_share == pytest.approx(0.5)  # one session is the top 1 %
    assert found.mean == pytest.approx(2)
    assert found.mean_error == pytest.approx(math.sqrt(2) / 2)


def test_the_top_1_percent_is_rounded_up() -> None:
    found = overlap(np.log([10.0, 20.0, *[0.5] * 148]))
    assert found.top_share == pytest.approx(30 / (30 + 74))


def test_the_top_1_percent_of_300_sessions_are_three() -> None:
    found = overlap(np.log([10.0, 20.0, 30.0, *[0.5] * 297]))
    assert found.top_share == pytest.approx(60 / (60 + 148.5))
    assert len(found.largest) == 5


def test_equal_weights_are_as_good_as_the_sessions() -> None:
    found = overlap(np.zeros(50))
    assert (found.effective, found.mean, found.mean_error) == pytest.approx((50, 1, 0))


def test_weights_beyond_float64_have_an_effective_size() -> None:
    assert overlap(np.array([5000.0, 5000.0, 0.0])).effective == pytest.approx(2)
    assert overlap(np.array([-5000.0, -5000.0])).mean == 0


def test_no_weight_is_no_overlap() -> None:
    found = overlap(np.array([-np.inf, -np.inf]))
    assert (found.effective, found.mean, found.largest) == (0, 0, ())


def test_calibration_by_hand() -> None:
    # 0.2 five times, shown twice; 0.7 four times, shown twice.
    stated = np.array([0.2] * 5 + [0.7] * 4)
    shown = np.array([1, 1, 0, 0, 0, 1, 1, 0, 0], bool)
    found = calibration(stated, shown, bins=2)
    assert_allclose(found.stated, [0.2, 0.7])
    assert_allclose(found.observed, [0.4, 0.5])
    assert_allclose(found.count, [5, 4])
    assert found.error == pytest.approx((5 * 0.2 + 4 * 0.2) / 9)
    # sqrt(0.2 * 0.8 / 5) = 0.178885 and sqrt(0.7 * 0.3 / 4) = 0.229129.
    assert found.worst == pytest.approx(0.2 / 0.178885, abs=1e-5)


def test_true_propensities_are_calibrated_and_sharpened_ones_are_not() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(5000, 4))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    drawn = (true.cumsum(1) < generator.random((5000, 1))).sum(1)
    shown = drawn[:, None] == np.arange(4)
    sharper = true**2 / (true**2).sum(1, keepdims=True)
    assert calibration(true, shown).worst < 4
    assert calibration(sharper, shown).worst > 10
    assert len(calibration(true, shown, bins=5).count) == 5


def test_what_was_certain_must_have_been_shown() -> None:
    assert calibration(np.ones(3), np.array([True, True, False])).worst == math.inf
    assert calibration(np.ones(3), np.ones(3, bool)).worst == 0


@pytest.mark.parametrize(
    ("stated", "shown", "message"),
    [
        (np.zeros(3), np.zeros(2, bool), "stated has shape"),
        (np.zeros(0), np.zeros(0, bool), "stated has shape"),
        (np.array([0.5, 1.5]), np.zeros(2, bool), "go from 0.5 to 1.5"),
        (np.array([0.5, np.nan]), np.zeros(2, bool), "they lie from 0 to 1"),
    ],
)
def test_calibration_refuses(stated: np.ndarray, shown: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibration(stated, shown)
