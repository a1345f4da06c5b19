"""Two sessions at discount 0.5.

The first has weights 2 and 0.5 step by step, so products 2 and 1, and rewards 1
and 4. The second has the one weight 0.5 and reward 6.
"""

from __future__ import annotations

import numpy as np
import pytest

from offline.ope import Logged, estimate, estimator

COLUMNS = {
    "behaviour": np.log([0.25, 0.5, 0.5]),
    "target": np.log([0.5, 0.25, 0.25]),
    "q": np.array([2.0, 3.0, 4.0]),
    "v": np.array([1.0, 2.0, 5.0]),
}
LOG = Logged(np.array([1.0, 4.0, 6.0]), np.array([0, 2, 3]), 0.5, **COLUMNS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("logged", (1 + 0.5 * 4 + 6) / 2),
        # First: 2 * 1 + 0.5 * 1 * 4 = 4; second: 0.5 * 6 = 3.
        ("pdis", 3.5),
        # Whole weights 1 and 0.5, returns 3 and 6.
        ("wis", (1 * 3 + 0.5 * 6) / 1.5),
        # Step 0: (2 * 1 + 0.5 * 6) / 2.5; step 1: 0.5 * (1 * 4 + 0.5 * 0) / (1 + 0.5).
        ("wpdis", 2 + 2 / 1.5),
        ("fqe", (1 + 5) / 2),
        # Errors: 1 + 0.5 * 2 - 2 = 0; 0.5 * (4 - 3) = 0.5; 6 - 4 = 2.
        # First: 1 + 2 * 0 + 1 * 0.5 = 1.5; second: 5 + 0.5 * 2 = 6.
        ("sdr", 3.75),
        # 3 + (2 * 0 + 0.5 * 2) / 2.5 + (1 * 0.5 + 0.5 * 0) / 1.5.
        ("wdr", 3 + 0.4 + 0.5 / 1.5),
    ],
)
def test_values_by_hand(name: str, expected: float) -> None:
    assert estimate(estimator(name)(LOG)) == pytest.approx(expected, abs=1e-12)


def test_long_sessions_neither_over_nor_underflow() -> None:
    # 3,000 steps of log-ratio -1 or 1: products from e^-3000 to e^0, or up to e^400 and back.
    steps = 3000
    there = np.append(np.ones(400), -np.ones(steps - 400))
    log = Logged(
        np.append(np.zeros(2 * steps - 1), 1.0),
        np.array([0, steps, 2 * steps]),
        behaviour=np.full(2 * steps, -2.0),
        target=np.append(there, there) - 2.0,
    )
    assert estimate(estimator("wis")(log)) == pytest.approx(0.5)
    assert estimate(estimator("wpdis")(log)) == pytest.approx(0.5)


def test_a_step_that_the_target_never_takes_ends_the_weights() -> None:
    # The second session loses its weight at its first step, the third row.
    log = Logged(
        np.array([1.0, 1.0, 1.0, 1.0, 1.0]),
        np.array([0, 2, 4, 5]),
        behaviour=np.log([0.5] * 5),
        target=np.array([0.0, 0.0, -np.inf, 0.0, np.log(0.5)]),
    )
    # Weights 2, 4; 0, 0; 1.
    assert estimate(estimator("pdis")(log)) == pytest.approx((6 + 0 + 1) / 3)
    assert estimate(estimator("wis")(log)) == pytest.approx((4 * 2 + 1 * 1) / 5)
    assert estimate(estimator("wpdis")(log)) == pytest.approx(1 + 4 / 5)
