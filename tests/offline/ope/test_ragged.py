from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from offline.ope.ragged import discounts, running, shifted, steps, sums

OFFSETS = np.array([0, 3, 4, 6])
VALUES = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0])


def test_sums_within_sessions() -> None:
    assert_array_equal(steps(OFFSETS), [0, 1, 2, 0, 0, 1])
    assert_array_equal(sums(VALUES, OFFSETS), [6, 10, 50])
    assert_array_equal(running(VALUES, OFFSETS), [1, 3, 6, 10, 20, 50])
    assert_array_equal(shifted(VALUES, OFFSETS), [2, 3, 0, 0, 30, 0])
    assert_array_equal(discounts(OFFSETS, 0.5), [1, 0.5, 0.25, 1, 1, 0.5])
    assert_array_equal(discounts(OFFSETS, 1.0), np.ones(6))


def test_never_stays_within_its_session() -> None:
    values = np.array([1.0, -np.inf, 3.0, 10.0, -np.inf, 30.0])
    assert_array_equal(running(values, OFFSETS), [1, -np.inf, -np.inf, 10, -np.inf, -np.inf])


def test_running_sums_do_not_lose_digits_over_a_long_log() -> None:
    offsets = np.arange(0, 1_000_001, 2)
    found = running(np.full(1_000_000, 0.1), offsets)
    assert_allclose(found, np.tile([0.1, 0.2], 500_000), rtol=1e-12)
